"""Can it be proved? Certificates of stationary points, checked in ball arithmetic from nothing but
the data.

`certify` proves one of two claims, `certify_unbounded` a third; `verify` proves each again from the
certificate and the data X (n, d). A certificate's numbers are doubles and mean just that; its
checksum guards against accidents, the proof against all else. Needs python-flint, and for
verification no JAX.

>>> from vaesurface import data, vae
>>> X = data.antipodal(d=2)
>>> problem = vae.threshold_vae(X, latent=1, alpha=0.5)
>>> certificate = certify(problem, problem.collapsed())
>>> certificate.claim, verify(certificate, X).valid, verify(certificate, 2 * X).valid
('collapsed minimum', True, False)
"""

from vaesurface.proof.prove import (
    FORMAT,
    NEAR,
    PRIME,
    ROOM,
    SLACK,
    Certificate,
    Unproved,
    Verification,
    certify,
    certify_unbounded,
    load,
    save,
    verify,
)

__all__ = [
    "Certificate",
    "FORMAT",
    "NEAR",
    "PRIME",
    "ROOM",
    "SLACK",
    "Unproved",
    "Verification",
    "certify",
    "certify_unbounded",
    "load",
    "save",
    "verify",
]
