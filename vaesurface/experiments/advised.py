"""What helps here? The board's word on a diagnosed VAE, or on an exact surface.

>>> from vaesurface import data
>>> found = of_problem(data.antipodal(2), latent=1, alpha=0.5, gamma=None, beta=1.0)
>>> found.case.kind.name, found.case.ratio
('LOCAL', 2.0)
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface import diagnose, theory
from vaesurface.cure import like, told
from vaesurface.diagnose import Collapse

__all__ = ["Found", "of_file", "of_problem", "words"]


class Found(NamedTuple):
    """A case, and what lines to change need to know.

    case: as the board knows it.
    label: what it is, in words.
    d, k: features and latents.
    leading: eigenvalue of what is not reconstructed.
    gamma, beta: as they were.
    instead: what the diagnosis advises, where the board knows nothing like it.
    """

    case: like.Case
    label: str
    d: int
    k: int
    leading: float
    gamma: float
    beta: float
    instead: str = ""


def of_file(path: Path) -> Found:
    """Of arrays that were exported (`diagnose.load`)."""
    diagnosis = diagnose.load(path)
    return Found(
        case=like.diagnosed(diagnosis),
        label=diagnosis.label,
        d=diagnosis.d,
        k=len(diagnosis.kl),
        leading=float(diagnosis.residual[0]),
        gamma=diagnosis.gamma,
        beta=diagnosis.beta,
        instead=diagnosis.change,
    )


def of_problem(X: np.ndarray, latent: int, alpha: float, gamma: float | None, beta: float) -> Found:
    """Of collapse on an exact surface, by what theory knows of it."""
    values = np.asarray(theory.eigenvalues(X))
    level = beta * (float(values.mean()) if gamma is None else gamma)
    ratio = float(values[0]) / level
    if ratio <= 1:
        kind, label = Collapse.GAMMA, "no eigenvalue of the data is above beta gamma"
    elif alpha > 0:
        radius = float(theory.collapse_radius(X, alpha, gamma, beta).radius)
        kind = Collapse.LOCAL
        label = f"collapse is a strict local minimum, lowest within rows of {radius:.4g}"
    else:
        kind, label = Collapse.NONE, "collapse is a saddle: every descent leaves it"
    case = like.Case(kind, deep=False, learned=gamma is None, ratio=ratio)
    return Found(
        case, label, d=X.shape[1], k=latent, leading=float(values[0]), gamma=level / beta, beta=beta
    )


def words(found: Found, framework: str) -> dict[str, Any]:
    """What is said: label, sentences, and lines to change, "" where there are none."""
    advice = like.advice(found.case)
    name = advice.cure if advice is not None else ""
    names = ("d", "k", "leading", "gamma", "beta")
    size: dict[str, Any] = {name: getattr(found, name) for name in names}
    changes = told.lines(name, framework, **size) if name else ""
    if found.case.kind == Collapse.GAMMA:
        changes = _lower(found, changes, framework, size)
    instead = [found.instead] if advice is None or not changes else []
    sentences = [*told.said(found.case, advice), *instead]
    return {
        "label": found.label,
        "case": found.case._asdict() | {"kind": found.case.kind.name},
        "said": [sentence for sentence in sentences if sentence],
        "advice": None if advice is None else advice._asdict(),
        "framework": framework,
        "names": told.NAMES,
        "lines": changes,
    }


def _lower(found: Found, changes: str, framework: str, size: dict[str, Any]) -> str:
    """Lines where beta gamma is too large: lower the one that is, beta first, for at beta = 1 a
    latent may pay as gamma is.
    """
    if found.beta > 1.0 and found.gamma < found.leading:
        return told.lines("lower beta", framework, **size)
    lower = told.lines("lower gamma", framework, **size)
    if found.beta > 1.0:
        lower = f"{told.lines('lower beta', framework, **size)}\n{lower}"
    return f"{changes}\n\n# or, with gamma held:\n{lower}" if changes else lower
