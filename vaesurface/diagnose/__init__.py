"""Which of the paper's five kinds of posterior collapse does a trained VAE show, why is that
believed, what would change it?

Dai, Wang & Wipf, ICML 2020, section 3: (i) superfluous latents, (ii) gamma or beta too large, (iii)
infinite density on few data, (iv) a decoder that needs no latents, (v) a bad local optimum. Doors:
`collapse` for a problem of this package, where other starts can be tried; `functions` and `trained`
for an encoder and a decoder in JAX; `arrays` and `load` for what any framework exports;
`convention` says which gamma and beta stand for a loss as it was written.

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1, gamma=0.5)
>>> diagnosis = trained(problem.autoencoder(problem.collapsed()))
>>> diagnosis.label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
>>> diagnosis.evidence["affine"]
'closed form for affine decoders: the best one (at gamma = 0.5, beta = 1) keeps
1 latents and is 0.8069 nats per datum lower'
"""

from vaesurface.diagnose.convention import Convention, convention
from vaesurface.diagnose.doors import arrays, collapse, exported, functions, load, trained
from vaesurface.diagnose.terms import Collapse, Search, Spike
from vaesurface.diagnose.verdict import Diagnosis

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
