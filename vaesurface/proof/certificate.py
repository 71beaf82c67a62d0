"""What is a certificate, and how is it kept?

A claim and the numbers that prove it, in JSON. The numbers are doubles and mean just that; the
checksum guards against accidents, the proof against all else.

>>> from vaesurface import data
>>> from vaesurface.proof.balls import arithmetic
>>> X, settings = data.antipodal(d=2), Settings(latent=1, alpha=0.5, gamma=None, beta=1.0)
>>> with arithmetic():
...     certificate = seal(ray.NAME, X, settings, ray.prove(X, settings))
>>> certificate.checksum == checksum(certificate)
True
>>> print(certificate.statement)
At alpha = 0.5, beta = 1.0, gamma learned, latents: 1: the energy has no lower bound: on a ray of
rank 1, energy <= 5.25 + 1.0 log gamma for all gamma <= 1.
"""

import hashlib
import json
import os
from typing import Any, NamedTuple

import numpy as np

from vaesurface import data, files
from vaesurface.glance import brief
from vaesurface.proof import collapse, point, ray
from vaesurface.proof.form import Settings
from vaesurface.refusal import complaint, reading

__all__ = ["CLAIMS", "FORMAT", "Certificate", "checksum", "load", "save", "seal", "sourced"]

FORMAT = 1  # of the file; another once the same numbers claim something else
CLAIMS = {module.NAME: module for module in (point, collapse, ray)}


@brief("statement", "settings", "numbers", "data", "checksum", title="claim")
class Certificate(NamedTuple):
    """A claim, and the numbers that `verify` needs to prove it; plain Python data.

    claim: "stationary point", "collapsed minimum" or "unbounded below".
    version: of the format.
    data: `data.digest` of X.
    settings: `Settings`: latent, alpha, gamma (None: learned), beta, and what makes it another VAE
        than the paper's: activation, likelihood and their numbers.
    numbers: of a stationary point, center and half_width of a box (0 for what is held at zero) and
        inertia (negative, flat, positive) over all parameters; of collapse, the box, radius being
        the norm of the weight's rows; of no lower bound, bias as fractions, pivots (columns of the
        data), rank, and energy <= constant + slope log gamma.
    checksum: SHA-256 of all the rest.
    source, limit: where X was read, a name or a path, and how many of its first rows (None: all of
        them), as `data.load` takes them; None where nobody said. A hint: what counts is the digest.
    """

    claim: str
    version: int
    data: str
    settings: dict[str, Any]
    numbers: dict[str, Any]
    checksum: str
    source: str | None = None
    limit: int | None = None

    @property
    def statement(self) -> str:
        """What is proved if `verify` says so, in one sentence.

        Numbers are printed in full: rounded, they would say more than is proved.
        """
        settings = Settings(**self.settings)
        claim = CLAIMS[self.claim].statement(settings, self.numbers)
        return f"At {settings.said()}: {claim}"


def seal(claim: str, X: np.ndarray, settings: Settings, numbers: dict[str, Any]) -> Certificate:
    """The certificate of a claim that those numbers prove."""
    certificate = Certificate(
        claim=claim,
        version=FORMAT,
        data=data.digest(X),
        settings=settings.written(),
        numbers=numbers,
        checksum="",
    )
    return certificate._replace(checksum=checksum(certificate))


def sourced(certificate: Certificate, source: str, limit: int | None = None) -> Certificate:
    """The same certificate, which says where its data are too, so that `vaesurface verify` finds
    them.
    """
    told = certificate._replace(source=source, limit=limit)
    return told._replace(checksum=checksum(told))


def checksum(certificate: Certificate) -> str:
    """SHA-256 of all of a certificate but its checksum. Raises ValueError for what JSON cannot
    hold.
    """
    rest = list(_kept(certificate._replace(checksum="")).values())
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def save(certificate: Certificate, path: str | os.PathLike) -> None:
    """Write a certificate as JSON, all at once or not at all."""
    files.write(path, _text(certificate))


def load(path: str | os.PathLike) -> Certificate:
    """Read a certificate. Raises ValueError unless the file is, to the letter, as `save` writes
    it, FileNotFoundError where there is none.
    """
    remedy = "certify again"
    with reading("a certificate", remedy, path):
        text = files.content(path, files.JSON).decode("utf-8")
        certificate = Certificate(**json.loads(text))
        if _text(certificate) != text:
            got = f"{path}, which was changed"
            raise complaint("a certificate as it was saved", got, remedy)
        return certificate


def _text(certificate: Certificate) -> str:
    return json.dumps(_kept(certificate), indent=1, allow_nan=False) + "\n"


def _kept(certificate: Certificate) -> dict[str, Any]:
    """What a file has: no source where there is none, as in those of earlier versions."""
    fields = certificate._asdict()
    if certificate.source is None and certificate.limit is None:
        del fields["source"], fields["limit"]
    return fields
