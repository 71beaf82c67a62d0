"""Which of the paper's five kinds of posterior collapse does a trained VAE show, why is that
believed, what would change it?

Dai, Wang & Wipf, ICML 2020, section 3: (i) superfluous latents, (ii) gamma or beta too large, (iii)
infinite density on few data, (iv) a decoder that needs no latents, (v) a bad local optimum. Doors:
`collapse` for a problem of this package, where other starts can be tried; `trained` for an
encoder and a decoder in JAX, `functions` for those of any framework; `arrays` and `load` for what
one exports; `convention` says which gamma and beta stand for a loss as it was written.

>>> from vaesurface import data, diagnose, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1, gamma=0.5)
>>> diagnosis = diagnose.trained(problem.autoencoder(problem.collapsed()))
>>> diagnosis.label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
>>> diagnosis.evidence["affine"]
'closed form for affine decoders: the best one (at gamma = 0.5, beta = 1) keeps
1 latents and is 0.8069 nats per datum lower'
"""

from typing import TYPE_CHECKING

from vaesurface import late
from vaesurface.diagnose.convention import Convention, convention
from vaesurface.diagnose.doors import arrays, functions, load
from vaesurface.diagnose.terms import Collapse, Search, Spike
from vaesurface.diagnose.verdict import Diagnosis

if TYPE_CHECKING:
    from vaesurface.diagnose.problems import collapse, exported, trained

__all__ = [
    "Collapse",
    "Convention",
    "Diagnosis",
    "Search",
    "Spike",
    "arrays",
    "collapse",
    "convention",
    "exported",
    "functions",
    "load",
    "trained",
]

LATE = {"problems": "collapse exported trained"}
__getattr__ = late.names(__name__, LATE)
