"""How far does one step along a curve of stationary points lead, and which values does it pass?

`stride` predicts along the tangent and comes back to the curve; where that is too far from the
prediction it raises `Lost`, and the step was too long. Lengths are arclengths, in a place's
weights.

>>> import jax.numpy as jnp
>>> from vaesurface.problem import Problem
>>> curve = Curve(lambda v: Problem(loss=lambda x: x**3 / 3 + v * x), jnp.array(0.1), scale=1.0)
>>> base = start_at(curve, np.array([0.1]), -0.01, sign=1.0)
>>> end = stride(curve, base, 0.2, np.array([-1.0, 1.0])).end.z
>>> print(end.round(3))  # past the fold
[-0.104 -0.011]
"""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Lost, Place

__all__ = ["Stride", "distance", "normalized", "passed", "start_at", "stride", "unit_tangent"]

# Largest distance of a step's end from its prediction, over the step's length.
MOST_BENT = 0.25
# Smallest cosine between the tangents at a step's ends.
ALIGNED = 0.9
# Part of a step: a requested value that is passed nearer to the step's base is the base's own.
BASES_OWN = 1e-8


class Stride(NamedTuple):
    """One step, with row . base.tangent = row . end.tangent = 1.

    base: where it begins.
    end: where it leads.
    row: (p + 1,), across which places on the way are corrected.
    span: row . (end.z - base.z), its length.
    bent: distance of the end from the prediction, over span.
    flat: number of directions that are flat all along.
    """

    base: Place
    end: Place
    row: np.ndarray
    span: float
    bent: float
    flat: int

    def at(self, sigma: float) -> np.ndarray:
        """The cubic through both ends along their tangents, with row . (z - base.z) = sigma."""
        u = sigma / self.span
        along = (1 - u) ** 2 * self.base.tangent + u * (u - 1) * self.end.tangent
        return self.base.z + sigma * along + u**2 * (3 - 2 * u) * (self.end.z - self.base.z)


def start_at(curve: Curve, x: ArrayLike, value: float, sign: float) -> Place:
    """The stationary point near x at a value, with the tangent towards larger values (sign = 1) or
    smaller ones (-1). Raises Lost.
    """
    z = np.append(x, value)
    place = corrector.correct(curve, z, corrector.upright(z))
    return place._replace(tangent=unit_tangent(place, sign * place.tangent))


def unit_tangent(place: Place, tangent: np.ndarray) -> np.ndarray:
    """A tangent at length one."""
    return tangent / np.sqrt(np.sum(place.weights * tangent**2))


def normalized(place: Place) -> Place:
    """The same with its tangent at length one."""
    return place._replace(tangent=unit_tangent(place, place.tangent))


def distance(place: Place, a: np.ndarray, b: np.ndarray) -> float:
    """Between a and b (p + 1,), in a place's weights."""
    return float(np.sqrt(np.sum(place.weights * (a - b) ** 2)))


def stride(curve: Curve, base: Place, length: float, values: np.ndarray) -> Stride:
    """A step of that length along the tangent and back to the curve, not beyond the ends of the
    requested range. Raises Lost where that is too long.
    """
    row = base.weights * base.tangent
    target, plane = base.z + length * base.tangent, row
    edge = np.clip(target[-1], values.min(), values.max())
    if edge != target[-1]:
        target = base.z + (edge - base.z[-1]) / base.tangent[-1] * base.tangent
        target[-1], plane = edge, corrector.upright(target)
    end = corrector.back(curve, base, target, plane)
    span = float(row @ (end.z - base.z))
    cosine = float(row @ unit_tangent(base, end.tangent))
    if not (span > 0 and abs(cosine) >= ALIGNED):
        raise Lost
    end = end._replace(tangent=end.tangent / (row @ end.tangent))
    bent = distance(base, end.z, base.z + span * base.tangent) / span
    if not bent <= MOST_BENT:
        raise Lost
    flat = max(int(np.sum(np.abs(place.eigenvalues) <= place.width)) for place in (base, end))
    return Stride(base=base, end=end, row=row, span=span, bent=bent, flat=flat)


def passed(curve: Curve, step: Stride, values: np.ndarray) -> list[tuple[float, Place]]:
    """Where in a step the value is a requested one: distances from its base and places, in order.

    Raises Lost where correction leads off the step.
    """
    met = []
    for value in np.unique(values):
        if value == step.end.z[-1]:
            met.append((step.span, step.end))
        else:
            met += [_met(curve, step, value, u) for u in _crossings(step, value)]
    return sorted(met, key=lambda pair: pair[0])


def _crossings(step: Stride, value: float) -> np.ndarray:
    """Parts u in (0, 1) of a step at which the cubic's value is a requested one."""
    base, end = step.base.z[-1], step.end.z[-1]
    drift = step.span * step.base.tangent[-1], step.span * step.end.tangent[-1]
    cubic = np.array(
        [2 * (base - end) + sum(drift), 3 * (end - base) - 2 * drift[0] - drift[1], drift[0], base]
    )
    roots = np.roots(cubic - np.array([0.0, 0.0, 0.0, value]))
    is_real = np.abs(roots.imag) <= BASES_OWN
    return roots.real[is_real & (roots.real > BASES_OWN) & (roots.real < 1)]


def _met(curve: Curve, step: Stride, value: float, u: float) -> tuple[float, Place]:
    """The place of a value on the curve, near part u of a step, and its distance from the base."""
    target = step.at(u * step.span)
    target[-1] = value
    place = corrector.back(curve, step.base, target, corrector.upright(target))
    sigma = float(step.row @ (place.z - step.base.z))
    within = 0 < sigma < step.span
    if not (within and distance(place, place.z, step.at(sigma)) <= MOST_BENT * step.span):
        raise Lost
    return sigma, place
