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

SAME = 1e-9  # relative difference of eigenvalues that rounding leaves


class Found(NamedTuple):
    """A case, and what lines to change need to know.

    case: as the board knows it.
    label: what it is, in words.
    model: for the lines.
    instead: what the diagnosis advises, where the board knows nothing like it.
    mixed: whether that is more than what the board knows: latents are of several kinds, or a
        learned gamma has no optimum.
    """

    case: like.Case
    label: str
    model: told.Model
    instead: str = ""
    mixed: bool = False


def of_file(path: Path) -> Found:
    """Of arrays that were exported (`diagnose.load`)."""
    diagnosis = diagnose.load(path)
    model = told.Model(
        d=diagnosis.d,
        k=len(diagnosis.kl),
        leading=float(diagnosis.residual[0]),
        gamma=diagnosis.gamma,
        beta=diagnosis.beta,
        learned=not diagnosis.fixed,
        error=diagnosis.error,
        gammabar=diagnosis.gammabar,
    )
    known = {*diagnosis.present} - {Collapse.NONE, Collapse.UNDECIDED}
    return Found(
        case=like.diagnosed(diagnosis),
        label=diagnosis.label,
        model=model,
        instead=diagnosis.change,
        mixed=len(known) > 1 or diagnosis.unbounded,
    )


def of_problem(X: np.ndarray, latent: int, alpha: float, gamma: float | None, beta: float) -> Found:
    """Of collapse on an exact surface, by what theory knows of it."""
    values = np.asarray(theory.eigenvalues(X))
    variance, leading = float(values.mean()), float(values[0])
    level = variance if gamma is None else gamma
    kind, label = _by_theory(X, alpha, gamma, beta, leading / (beta * level))
    free = theory.affine_optimum(values, latent, None, min(beta, 1.0))
    unbounded = kind == Collapse.GAMMA and gamma is not None and not free.gamma > 0
    case = like.Case(
        kind=kind,
        deep=False,
        learned=gamma is None,
        ratio=leading / (beta * level),
        beta=beta,
        weighted=kind == Collapse.GAMMA and (gamma is None or (beta > 1.0 and leading > gamma)),
        optimal=alpha == 0,
        unlike=like.UNBOUNDED if unbounded else "",
    )
    model = told.Model(
        d=X.shape[1],
        k=latent,
        leading=leading,
        gamma=level,
        beta=beta,
        learned=gamma is None,
        error=variance,
        gammabar=variance,
        alpha=alpha,
        optimum=float(theory.affine_optimum(values, latent, gamma, beta).gamma),
    )
    return Found(case=case, label=label, model=model)


def _by_theory(
    X: np.ndarray, alpha: float, gamma: float | None, beta: float, ratio: float
) -> tuple[Collapse, str]:
    """The kind of collapse, and what it is in words; ratio: as `like.Case` has it."""
    if ratio <= 1 + SAME and gamma is None and beta <= 1:
        return Collapse.SUPERFLUOUS, "all eigenvalues of the data are equal: no affine latent pays"
    if ratio <= 1:
        return Collapse.GAMMA, "no eigenvalue of the data is above beta gamma"
    if alpha > 0:
        radius = float(theory.collapse_radius(X, alpha, gamma, beta).radius)
        words = f"collapse is a strict local minimum, lowest within rows of {radius:.4g}"
        return Collapse.LOCAL, words
    return Collapse.NONE, "collapse is a saddle: almost every descent leaves it"


def words(found: Found, framework: str) -> dict[str, Any]:
    """What is said: label, sentences, and lines to change, "" where there are none."""
    advice = like.advice(found.case)
    name = advice.cure if advice is not None else ""
    changes = told.lines(name, framework, found.model) if name else ""
    if found.case.kind == Collapse.GAMMA:
        name, changes = _of_gamma(found, name, changes, framework)
    sentences = told.said(found.case, advice)
    if advice is None or not changes:
        sentences.append(found.instead)
    elif found.mixed:
        sentences.append(f"The diagnosis says more: {found.instead}")
    return {
        "label": found.label,
        "case": found.case._asdict() | {"kind": found.case.kind.name},
        "said": [sentence for sentence in sentences if sentence],
        "advice": None if advice is None else advice._asdict(),
        "framework": framework,
        "names": told.names(changes, name),
        "lines": changes,
    }


def _of_gamma(found: Found, name: str, changes: str, framework: str) -> tuple[str, str]:
    """Lines where beta gamma is too large: lower the one that is, beta first, for at beta = 1 a
    latent may pay as gamma is. Of other likelihoods there is only beta.
    """
    model, unlike = found.model, found.case.unlike
    if found.case.weighted or (unlike and unlike != like.UNBOUNDED):
        return "beta = 1", told.lines("beta = 1", framework, model) if model.beta > 1.0 else ""
    beta = f"# with beta = 1, not {model.beta:g}:\n" if model.beta > 1.0 else ""
    lower = told.lines("lower gamma", framework, model)
    if not changes:
        return "lower gamma", f"{beta}{lower}"
    return name, f"{beta}{changes}\n\n# or, with gamma held:\n{lower}"
