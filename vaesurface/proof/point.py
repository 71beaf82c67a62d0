"""Is there exactly one stationary point in a box, and of which inertia?

Existence and uniqueness are Krawczyk's test, the inertia is Sylvester's law, both for a Hessian
that is known entry by entry over the whole box. Some hundred parameters, for the Hessian is dense.
X is (n, d), parameters are dicts of arrays by the names of `energy.VAEParams`.

>>> from vaesurface import data, theory
>>> from vaesurface.proof.balls import arithmetic
>>> X, settings = data.antipodal(d=2), Settings(latent=1, alpha=0.0, gamma=0.5, beta=1.0)
>>> *_, best = theory.stationary_points(X, 1, gamma=0.5)
>>> parameters = {k: np.asarray(v) for k, v in best.params._asdict().items() if v is not None}
>>> with arithmetic():
...     prove(X, settings, parameters, sizes=dict.fromkeys(parameters, 1.0))["inertia"]
[0, 0, 8]
"""

from typing import Any

import numpy as np

from vaesurface.proof.balls import exactly, flint, midpoints
from vaesurface.proof.enclosure import enclose, live_rows, positions
from vaesurface.proof.form import (
    Settings,
    Unproved,
    checked_parameters,
    equal_integers,
    require_keys,
)

__all__ = ["DISPLACEMENT", "NAME", "check", "distance", "prove", "statement"]

NAME = "stationary point"
# natural sizes that a point may be away from the stationary point it stands for, as in `stationary`
DISPLACEMENT = 1e-3
# Parameters that a proof may have: several matrices of so many intervals squared, 100 bytes each.
LARGEST = 1000
NEWTON_STEPS = 20  # at most; near a stationary point, four or five reach rounding
NEWTON_RESOLUTION = 2.0**-52  # natural sizes: a smaller step is rounding
RADII = 10.0 ** -np.arange(1, 14)  # of boxes that are tried, in natural sizes, largest first


def statement(settings: Settings, numbers: dict[str, Any]) -> str:
    """What is proved, in words."""
    negative, flat, positive = numbers["inertia"]
    extreme = "strict local maximum" if negative else "strict local minimum"
    kind = f"saddle of index {negative}" if negative and positive else extreme
    rows = flat // settings.latent
    held = f" with {rows} row{'s' * (rows > 1)} of the weight held at zero" if rows else ""
    among = " among points with those at zero" if rows else ""
    widths = np.concatenate([np.ravel(part) for part in numbers["half_width"].values()])
    return (
        f"exactly one stationary point{held} is in the box of half widths "
        f"{min(widths[widths > 0].tolist())} and more around the center, a {kind}{among} "
        f"({negative} negative, {flat} flat, {positive} positive eigenvalues)."
    )


def prove(
    X: np.ndarray,
    settings: Settings,
    parameters: dict[str, np.ndarray],
    sizes: dict[str, Any],
    radius: float | None = None,
) -> dict[str, Any]:
    """Numbers of a proved stationary point: center, half widths and inertia.

    radius: of the box, in natural sizes of the parameters; by default the largest of `RADII` that
    can be proved. Raises Unproved where there is no proof.
    """
    _require_smooth(settings, parameters)
    live = live_rows(settings, parameters["weight"])
    at = positions(parameters, live)
    _require_few(at)
    center = _newton(X, settings, parameters, sizes, DISPLACEMENT if radius is None else radius)
    reason = ""
    for r in RADII if radius is None else [radius]:
        half = {name: np.where(at[name] < 0, 0.0, r * sizes[name]) for name in center}
        try:
            inertia = _inertia(X, settings, center, half)
        except Unproved as error:
            reason = str(error)
            continue
        return {"center": _plain(center), "half_width": _plain(half), "inertia": inertia}
    if radius is None:
        tried, remedy = "1e-1 to 1e-13", "certify another point"
    else:
        tried, remedy = str(radius), "choose a smaller radius, or none"
    raise Unproved(f"expected a box that can be proved, got radius {tried}: {reason}; {remedy}")


def check(X: np.ndarray, settings: Settings, numbers: dict[str, Any]) -> None:
    """Raises Unproved or ValueError unless the numbers prove a stationary point."""
    require_keys(numbers, "center", "half_width", "inertia")
    center = checked_parameters(X, settings, numbers["center"])
    half = checked_parameters(X, settings, numbers["half_width"])
    _require_smooth(settings, center)
    _require_few(positions(center, live_rows(settings, center["weight"])))
    inertia = _inertia(X, settings, center, half)
    if not equal_integers(numbers["inertia"], inertia):
        raise Unproved(f"the inertia is {inertia}, not {numbers['inertia']}")


def _require_smooth(settings: Settings, parameters: dict[str, np.ndarray]) -> None:
    """Raises Unproved where there is no Hessian."""
    at_zero = np.flatnonzero(~parameters["weight"].any(axis=1))
    if settings.cornered and len(at_zero):
        raise Unproved(
            f"expected no row of the weight at zero with activation {settings.activation}, got "
            f"row {at_zero[0]}: the energy has a corner there, and no Hessian; certify another "
            "point"
        )


def _require_few(at: dict[str, np.ndarray]) -> None:
    """Refuse a Hessian that memory does not hold. Raises Unproved."""
    count = sum(int(np.sum(where >= 0)) for where in at.values())
    if count > LARGEST:
        raise Unproved(
            f"expected at most {LARGEST} parameters of a stationary point, got {count}: its "
            "Hessian is a dense matrix of intervals; take fewer data or latents"
        )


def distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray], sizes: dict[str, Any]) -> float:
    """Largest difference of two points' parameters, in natural sizes."""
    return max(float(np.max(np.abs(a[name] - b[name]) / sizes[name])) for name in a)


def _newton(
    X: np.ndarray,
    settings: Settings,
    parameters: dict[str, np.ndarray],
    sizes: dict[str, Any],
    reach: float,
) -> dict[str, np.ndarray]:
    """Parameters where Newton's method ends, by midpoints; Unproved if further away than reach."""
    at = positions(parameters, live_rows(settings, parameters["weight"]))
    center, moved = parameters, 0.0
    for _ in range(NEWTON_STEPS):
        derivatives = enclose(X, settings, center)
        hessian, gradient = midpoints(derivatives.hessian), midpoints(derivatives.gradient)
        try:
            newton = np.linalg.solve(hessian, -gradient)
        except np.linalg.LinAlgError as error:
            raise Unproved(
                "expected an invertible Hessian, got a singular one; "
                "set rows without effect to zero"
            ) from error
        step = {name: np.where(at[name] < 0, 0.0, newton[at[name]]) for name in center}
        before, center = center, {name: center[name] + step[name] for name in center}
        moved = distance(center, parameters, sizes)
        # a NaN counts as having left
        if not moved <= 1 or distance(center, before, sizes) <= NEWTON_RESOLUTION:
            break
    if not moved <= reach:
        raise Unproved(
            f"expected a point within {reach:g} natural sizes of a stationary one, "
            f"got one that Newton's method moves by {moved:.1e}; refine it"
        )
    return center


def _inertia(
    X: np.ndarray, settings: Settings, center: dict[str, np.ndarray], half: dict[str, np.ndarray]
) -> list[int]:
    """Negative, flat and positive eigenvalues all over the box. Raises Unproved unless that holds
    one stationary point.

    At a dead zone the energy is flat to all orders in rows of the weight at zero: those are held,
    and all derivatives by them are zero.
    """
    live = live_rows(settings, center["weight"])
    at = positions(center, live)
    if not all(np.array_equal(np.sign(half[name]), at[name] >= 0) for name in half):
        raise Unproved("half widths must be positive, and zero for rows of the weight held at zero")
    scale = exactly(np.concatenate([half[name][at[name] >= 0] for name in center]))
    gradient = enclose(X, settings, center).gradient * scale
    hessian = enclose(X, settings, center, half).hessian * scale[:, None] * scale
    root, signs = _diagonalized(midpoints(hessian))
    A = flint.arb_mat(hessian.tolist())
    if not _is_contraction(A, gradient, root.T @ (signs[:, None] * root)):
        raise Unproved("Krawczyk's operator does not map the box into itself")
    if not _is_congruent(A, root, signs):
        raise Unproved("the signs of the Hessian's eigenvalues could change on the box")
    negative, positive = int((signs < 0).sum()), int((signs > 0).sum())
    return [negative, int((~live).sum()) * settings.latent, positive]


def _diagonalized(hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L (p, p) and signs (p,) with L H L' = diag(signs) to rounding, and so inv(H) = L' S L.

    With eigenvalues lambda and eigenvectors V of H, L is |lambda|^(-1/2) V'. Nothing rests on how
    good they are but whether the proof succeeds. Raises Unproved where H is singular to rounding.
    """
    if not np.isfinite(hessian).all():
        raise Unproved("second derivatives are not bounded on the box")
    values, vectors = np.linalg.eigh(hessian)
    signs = np.sign(values)
    with np.errstate(all="ignore"):
        root = (vectors / np.sqrt(np.abs(values))).T
        inverse = root.T @ (signs[:, None] * root)
    if not (np.isfinite(root).all() and np.isfinite(inverse).all()):
        raise Unproved("the Hessian is singular to rounding")
    return root, signs


def _is_contraction(A: Any, gradient: np.ndarray, inverse: np.ndarray) -> bool:
    """Krawczyk: whether (I - Y A) [-1, 1]^p - Y g is inside (-1, 1)^p, in half widths.

    Then the gradient, g (p,) at the center, has one zero in the box and no second one. A (p, p),
    the Hessian's enclosure over the box entry by entry, contains its mean along every segment in
    the box; any Y (p, p) does, and the inverse of A's midpoint is best.
    """
    Y, p = flint.arb_mat(inverse.tolist()), len(gradient)
    shift = (Y * flint.arb_mat([[g] for g in gradient])).entries()
    rest = (Y * A - flint.arb_mat(p, p, 1)).tolist()
    return all(sum(map(abs, row), abs(s)) < 1 for row, s in zip(rest, shift, strict=True))


def _is_congruent(A: Any, root: np.ndarray, signs: np.ndarray) -> bool:
    """Sylvester: whether ||L H L' - S|| < 1 in the maximum norm for all H in A, S = diag(signs).

    Then no H in A (p, p) is singular on the way to S, and all have the inertia of S.
    """
    L, S = flint.arb_mat(root.tolist()), flint.arb_mat(np.diag(signs).tolist())
    return all(sum(map(abs, row)) < 1 for row in (L * A * L.transpose() - S).tolist())


def _plain(parameters: dict[str, np.ndarray]) -> dict[str, Any]:
    """As lists of floats, which JSON holds to the last bit."""
    return {name: value.tolist() for name, value in parameters.items()}
