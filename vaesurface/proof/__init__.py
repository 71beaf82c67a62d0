"""Can it be proved? Certificates of stationary points, checked in ball arithmetic from nothing but
the data.

`certify` proves one of two claims, `certify_unbounded` a third; `verify` proves each again from the
certificate and the data X (n, d). Needs python-flint, and for verification no JAX.

>>> from vaesurface import data, vae
>>> X = data.antipodal(d=2)
>>> problem = vae.threshold_vae(X, latent=1, alpha=0.5)
>>> certificate = certify(problem, problem.collapsed())
>>> certificate.claim, verify(certificate, X).valid, verify(certificate, 2 * X).valid
('collapsed minimum', True, False)
"""

from vaesurface.proof.certificate import Certificate, load, save, sourced
from vaesurface.proof.form import Unproved
from vaesurface.proof.member import require_provable
from vaesurface.proof.prove import Verification, certify, certify_unbounded, verify

__all__ = [
    "Certificate",
    "Unproved",
    "Verification",
    "certify",
    "certify_unbounded",
    "load",
    "require_provable",
    "save",
    "sourced",
    "verify",
]
