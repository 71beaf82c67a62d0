"""What is this point, beyond doubt? `certify` proves it and `verify` proves it again.

Neither rests on how the point was found, and verification on nothing but certificate and data.

>>> from vaesurface import data, vae
>>> X = data.antipodal(d=2)
>>> problem = vae.threshold_vae(X, latent=1, alpha=0.5)
>>> certificate = certify_unbounded(problem)
>>> certificate.claim, verify(certificate, X).valid, verify(certificate, 2 * X).reason
('unbounded below', True, 'the certificate is for other data')
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaesurface import data
from vaesurface.proof import collapse, point, ray
from vaesurface.proof.balls import arithmetic
from vaesurface.proof.certificate import CLAIMS, FORMAT, Certificate, checksum, seal
from vaesurface.proof.form import (
    PER_FEATURE,
    Settings,
    Unproved,
    checked_parameters,
    checked_settings,
    require_paper,
)
from vaesurface.proof.member import data_and_settings
from vaesurface.refusal import number, shown, whole

if TYPE_CHECKING:
    from vaesurface.energy import VAEParams
    from vaesurface.problem import Problem

__all__ = ["Verification", "certify", "certify_unbounded", "verify"]


class Verification(NamedTuple):
    """Whether a certificate holds.

    valid: whether the claim is proved.
    reason: what is proved, or why it is not.
    """

    valid: bool
    reason: str


def certify(
    problem: "Problem", params: "VAEParams", radius: float | None = None, index: int | None = None
) -> Certificate:
    """Prove what `params` is: the collapsed minimum (of a dead zone), or a stationary point of
    known inertia.

    problem: of `vae.threshold_vae` or `vae.elementwise_vae`, its posterior diagonal, and its
    energy in closed form or its decoder affine.

    radius: of the box in natural sizes (`problem.size`), or at the collapsed point the norm of the
    weight's rows; by default about the largest that can be proved. index: the number of negative
    eigenvalues to insist on. Rows of the weight without effect must be exactly zero, as
    `stationary.analyze` returns them; a stationary point's are then held there, and nothing is
    claimed of points where they are not. Raises Unproved (a ValueError) where there is no proof,
    ValueError for arguments that do not fit and for a problem of another energy.
    """
    X, settings = data_and_settings(problem)
    if not hasattr(params, "_asdict"):
        raise ValueError(
            f"expected parameters by name, got {shown(params)}; take those of the problem"
        )
    if index is not None:
        whole("index", index, least=0)
    if radius is not None:
        number("radius", radius, above=0.0)
        radius = float(radius)
    parameters = checked_parameters(X, settings, _by_name(params))
    sizes = {name: np.asarray(size) for name, size in _by_name(problem.size(params)).items()}
    with arithmetic():
        if _is_collapsed(X, settings, parameters, sizes):
            claim, numbers, negative = collapse.NAME, collapse.prove(X, settings, radius), 0
        else:
            claim, numbers = point.NAME, point.prove(X, settings, parameters, sizes, radius)
            negative = numbers["inertia"][0]
    certificate = seal(claim, X, settings, numbers)
    if index not in (None, negative):
        raise Unproved(
            f"expected index {index}, got a proof of another: {certificate.statement}; "
            f"ask for that, or for none"
        )
    return certificate


def certify_unbounded(problem: "Problem", bias: Iterable[Any] | None = None) -> Certificate:
    """Prove that with gamma learned the energy has no lower bound: on a ray along which the decoder
    reproduces the data.

    bias: (d,), numbers or fractions; by default the data's mean is tried, then their midrange.
    Raises Unproved (a ValueError) where this gives no proof, ValueError for a bias of another
    length and for a problem of another energy.
    """
    X, settings = data_and_settings(problem)
    with arithmetic():
        numbers = ray.prove(X, settings, bias)
    return seal(ray.NAME, X, settings, numbers)


def verify(certificate: Certificate, X: Any) -> Verification:
    """Prove the claim again for the data X (n, d); nothing in the certificate is taken on trust."""
    X = data.check(X)
    with arithmetic():
        try:
            refusal = _refusal(certificate, X)
            if refusal is not None:
                return Verification(valid=False, reason=refusal)
            settings = checked_settings(X, certificate.settings)
            CLAIMS[certificate.claim].check(X, settings, certificate.numbers)
            return Verification(valid=True, reason=certificate.statement)
        except Unproved as error:
            return Verification(valid=False, reason=f"no proof: {error}")
        except Exception as error:  # anything, on the way through a certificate that is none
            reason = f"not a certificate: {type(error).__name__}: {error}"
            return Verification(valid=False, reason=reason)


def _refusal(certificate: Certificate, X: np.ndarray) -> str | None:
    """Why there is nothing to prove: changed by accident, no claim that is known, or other data."""
    claim, version = certificate.claim, certificate.version
    if certificate.checksum != checksum(certificate):
        return "the certificate was changed: its checksum is another"
    if version != FORMAT or claim not in CLAIMS:
        return f"not a certificate of format {FORMAT}: {claim!r} in format {version!r}"
    if certificate.data != data.digest(X):
        return "the certificate is for other data"
    return None


def _by_name(params: "VAEParams") -> dict[str, Any]:
    """The parameters that there are, in a dict."""
    return {name: value for name, value in params._asdict().items() if value is not None}


def _is_collapsed(
    X: np.ndarray,
    settings: Settings,
    parameters: dict[str, np.ndarray],
    sizes: dict[str, np.ndarray],
) -> bool:
    """Whether parameters are the collapsed point of a dead zone: weight zero, and all else near
    W = 0, b = xbar, mu = 0, sigma = 1, gamma = gammabar. Raises Unproved for a likelihood whose
    collapsed point is another.
    """
    if not settings.dead or parameters["weight"].any():
        return False
    require_paper(settings, collapse.NAME, PER_FEATURE)
    collapsed = {name: np.zeros_like(value) for name, value in parameters.items()}
    collapsed["bias"] = X.mean(axis=0)
    if settings.gamma is None:
        axis = 0 if settings.likelihood == PER_FEATURE else None
        collapsed["log_gamma"] = np.log(np.mean((X - X.mean(axis=0)) ** 2, axis=axis))
    return point.distance(parameters, collapsed, sizes) <= point.DISPLACEMENT
