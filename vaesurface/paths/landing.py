"""Where does one land, downhill, when a branch of minima ends in a fold?

>>> import jax.numpy as jnp
>>> from vaesurface.paths.branch import follow
>>> from vaesurface.problem import Problem
>>> make = lambda v: Problem(loss=lambda x: x**4 / 4 - x**2 / 2 - v * x)
>>> branch = follow(make, jnp.array(-1.3), v=[-0.9, 0.9], jump=True)
>>> print([f"{event.kind} at x = {event.params:.6f}" for event in branch.events])
['fold at x = -0.577350', 'jump at x = 1.154701']
"""

from collections.abc import Iterator

import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface.paths.corrector import Curve, Lost, Place
from vaesurface.paths.events import Event, EventKind
from vaesurface.paths.stride import start_at
from vaesurface.problem import Params
from vaesurface.stationary.descent import descend

__all__ = ["jumped", "landed"]

# Parts of the span: how far beyond a fold the way down is looked for, no farther than it must.
BEYOND_FOLD = (1e-6, 1e-5, 1e-4, 1e-3)
# Saddles passed at most on the way down.
SADDLES_PASSED = 20


def landed(curve: Curve, values: np.ndarray, fold: Event, base: Place) -> Place:
    """The minimum that descent leads to from the fold of a step from base, at the fold's value.

    values: requested ones, beyond whose range it is not looked for. Or a saddle, where descent was
    caught by one at every distance beyond the fold. Raises Lost where nothing is lower.
    """
    sign = 1.0 if base.tangent[-1] > 0 else -1.0
    saddles: list[Place] = []
    for place in _downhill(curve, values, fold, sign):
        if not (np.any(place.eigenvalues < -place.width) or np.any(place.own < 0)):
            return place
        saddles.append(place)
    if not saddles:
        raise Lost
    return saddles[0]


def _downhill(curve: Curve, values: np.ndarray, fold: Event, sign: float) -> Iterator[Place]:
    """Stationary points lower than a fold, by more than rounding, that descent from beyond it leads
    to: sign says on which side in the value that is.
    """
    for part in BEYOND_FOLD:
        beyond = float(np.clip(fold.value + sign * part * curve.scale, values.min(), values.max()))
        bottom = _bottom(curve, beyond, fold.params)
        for value in (fold.value, beyond) if bottom is not None else ():
            try:
                place = start_at(curve, ravel_pytree(bottom)[0], value, sign)
            except Lost:
                continue
            noise = curve.problem(value).rounding(curve.params(place.z[:-1]))
            if fold.loss - place.loss > noise:
                yield place


def _bottom(curve: Curve, value: float, params: Params) -> Params | None:
    """Where descent leads at a fixed value, on from saddles and from falling rows at zero; None
    where to nothing stationary.
    """
    reached = descend(curve.problem(value), params, saddles=SADDLES_PASSED)
    return reached.params if reached.converged else None


def jumped(curve: Curve, fold: Event, place: Place) -> Event:
    """The jump from a fold to where descent has landed."""
    return fold._replace(
        kind=EventKind.JUMP,
        value=float(place.z[-1]),
        params=curve.params(place.z[:-1]),
        loss=float(place.loss),
        drop=fold.loss - float(place.loss),
    )
