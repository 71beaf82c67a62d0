"""Does a smooth function rise everywhere in a cone of directions? The conditions of nonlinear
programming at one point, for one piece of a loss.

For a function with gradient g and Hessian H where constraints a >= 0 with Jacobian A hold:

    first order     g = A' lambda for some lambda >= 0, else it falls along d with A d >= 0, g d < 0
    second order    d' (H - sum lambda_e H_e) d > 0 for all d != 0 with A d >= 0, and A_e d = 0
                    where lambda_e > 0

Both together make a strict local minimum, whatever the constraints' gradients (Fiacco & McCormick
1968; Nocedal & Wright, Numerical Optimization, theorem 12.6 needs no constraint qualification).

>>> wedge = np.array([[1.0, 0.0], [0.0, 1.0]])
>>> multipliers(np.array([1.0, 2.0]), wedge).weights
array([1., 2.])
>>> print(bending(np.array([[1.0, 3.0], [3.0, 1.0]]), wedge, 1e-12).rises)  # on the quadrant alone
True
>>> print(bending(np.array([[1.0, -3.0], [-3.0, 1.0]]), wedge, 1e-12).descent.round(3))
[0.707 0.707]
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy  # its modules load when used
from numpy import ndarray as Array

__all__ = [
    "Bending",
    "Multipliers",
    "bending",
    "cells",
    "inside",
    "is_empty",
    "multipliers",
    "unit_rows",
    "vanishing",
]

FACES = 8  # constraints up to which all faces of a cone are looked at: 2^8 of them
RANK = 1e-9  # relative singular value up to which rows, of length one, are dependent
VANISHING = 1e-12  # of the longest row: a gradient that is rounding
INSIDE = 1e-7  # how far into a cone, of rows of length one, a direction at most one must reach
EMPTY = 64 * float(np.finfo(float).eps)  # a combination of rows of length one that is zero
FEASIBLE = 1e-9  # by how much a direction of length one may leave a cone: rounding of eigenvectors


class Multipliers(NamedTuple):
    """g = A' weights + rest.

    weights: (m,), >= 0.
    rest: (p,); -rest is feasible, A rest <= 0, and g falls along it.
    """

    weights: Array
    rest: Array


class Bending(NamedTuple):
    """Of a quadratic form on a cone.

    rises: whether it is positive but at zero.
    descent: (p,), a direction in the cone along which it is negative, or None.
    """

    rises: bool
    descent: Array | None


def multipliers(gradient: Array, rows: Array) -> Multipliers:
    """Non-negative least squares. gradient (p,), rows (m, p)."""
    norm = float(np.linalg.norm(gradient))
    if not len(rows) or not norm > 0:
        return Multipliers(weights=np.zeros(len(rows)), rest=gradient)
    weights = norm * scipy.optimize.nnls(rows.T, gradient / norm, maxiter=100 * sum(rows.shape))[0]
    return Multipliers(weights=weights, rest=gradient - rows.T @ weights)


def inside(rows: Array) -> Array | None:
    """(p,), a direction deep inside the cone rows d >= 0, or None where it has no interior.

    rows (m, p) of length one; a linear program.
    """
    m, p = rows.shape
    if not m:
        return np.zeros(p)
    depth = np.append(np.zeros(p), -1.0)  # maximize t with rows d >= t
    sides = np.column_stack([-rows, np.ones(m)])
    found = scipy.optimize.linprog(
        depth, A_ub=sides, b_ub=np.zeros(m), bounds=[(-1, 1)] * p + [(None, 1)]
    )
    return found.x[:p] if found.status == 0 and -found.fun > INSIDE else None


def is_empty(rows: Array) -> bool:
    """Whether a cone rows d > 0 (m, p), of length one, is known to hold no direction.

    By Gordan's theorem it holds none if and only if y' rows = 0 for some y >= 0 that adds up to
    one. A thin cone has no such y, and no direction that `inside` can tell from its edges.
    """
    if not len(rows):
        return False
    target = np.append(np.zeros(rows.shape[1]), 1.0)
    stacked = np.vstack([rows.T, np.ones(len(rows))])
    return bool(scipy.optimize.nnls(stacked, target, maxiter=100 * sum(rows.shape))[1] <= EMPTY)


def unit_rows(rows: Array) -> tuple[Array, Array]:
    """Rows (m, p) at length one, and their lengths (m,); rows of rounding alone are zero."""
    lengths = np.linalg.norm(rows, axis=1)
    lengths = np.where(lengths > VANISHING * np.max(lengths, initial=0.0), lengths, 0.0)
    return rows / np.where(lengths > 0, lengths, 1.0)[:, None] * (lengths > 0)[:, None], lengths


def cells(rows: Array, most: int, programs: int) -> Array | None:
    """(c, m) bool, on which sides of planes rows d = 0 (m, p) the cells lie that they cut space
    into: True where rows d > 0.

    None where there are more than `most`, one is too thin to be told from none, or more linear
    programs are needed than allowed. One plane after the other cuts the cells that a direction
    inside is known of.
    """
    known = [(np.zeros(0, bool), np.zeros(rows.shape[1]))]
    for i, row in enumerate(rows):
        cut = []
        for sides, direction in known:
            own = bool(row @ direction > 0)
            for side in (own, not own):
                both = np.append(sides, side)
                signed = np.where(both, 1.0, -1.0)[:, None] * rows[: i + 1]
                deep = direction if np.all(signed @ direction > INSIDE) else inside(signed)
                programs -= deep is not direction
                if deep is not None:
                    cut.append((both, deep))
                elif not is_empty(signed):
                    return None
        known = cut
        if len(known) > most or programs < 0:
            return None
    return np.array([sides for sides, _ in known]).reshape(len(known), len(rows))


def bending(form: Array, rows: Array, band: float, tight: Array | None = None) -> Bending:
    """Of d' form d on the cone rows d >= 0, tight d = 0; eigenvalues up to band are no sign.

    Positive eigenvalues where the tight rows vanish suffice. Else the least value on directions
    of length one is taken inside some face of the cone, at an eigenvector of the form there.
    """
    p = len(form)
    basis = vanishing(tight, p)
    values = np.linalg.eigvalsh(basis.T @ form @ basis)
    if not len(values) or values[0] > band:
        return Bending(rises=True, descent=None)
    if len(rows) > FACES:
        return Bending(rises=False, descent=_lower(form, rows, basis, band)[0])
    certain = True
    for count in range(len(rows) + 1):
        for face in combinations(range(len(rows)), count):
            held = rows[list(face)] if tight is None else np.vstack([tight, rows[list(face)]])
            others = np.delete(rows, face, axis=0)
            descent, clear = _lower(form, others, vanishing(held, p), band)
            if descent is not None:
                return Bending(rises=False, descent=descent)
            certain &= clear
    return Bending(rises=certain, descent=None)


def vanishing(rows: Array | None, p: int) -> Array:
    """(p, q), an orthonormal basis of where rows (m, p) vanish."""
    return np.eye(p) if rows is None or not len(rows) else scipy.linalg.null_space(rows, rcond=RANK)


def _lower(form: Array, rows: Array, basis: Array, band: float) -> tuple[Array | None, bool]:
    """An eigenvector in the cone with a negative eigenvalue, and whether none that is not positive
    can be in it.
    """
    if not basis.shape[1]:
        return None, True
    values, vectors = np.linalg.eigh(basis.T @ form @ basis)
    vectors = basis @ vectors
    clear = True
    for i in np.flatnonzero(values <= band):
        alike = np.abs(values - values[i]) <= 10 * band
        v = vectors[:, i]
        sign = next((s for s in (1.0, -1.0) if np.all(s * rows @ v >= -FEASIBLE)), 0.0)
        if sign and values[i] < -band:
            return sign * v, False
        # Of equal eigenvalues some other combination may be in the cone.
        clear &= not sign and alike.sum() == 1
    return None, bool(clear)
