"""Which branches of stationary points cross another one, and where do they set out?

>>> import jax.numpy as jnp
>>> from vaesurface.paths.branch import follow
>>> from vaesurface.problem import Problem
>>> make = lambda v: Problem(loss=lambda x: x**4 / 4 - v * x**2 / 2)  # x = 0, and x^2 = v
>>> trunk = follow(make, jnp.array(0.0), v=[-1.0, 1.0])
>>> (start,) = switch(make, trunk.events[0])
>>> print(f"{start.value / start.params**2:.6f}")
1.000000
"""

from typing import NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Lost, MakeProblem, Place
from vaesurface.paths.events import Event, EventKind
from vaesurface.problem import Params
from vaesurface.stationary import tally

__all__ = ["Start", "switch"]

DIRECTIONS_TRIED = 12  # besides the axes, where a kernel has more than one dimension
TURNS = 4  # of a direction to where it has led
ASTRAY = 3  # times the amplitude: a correction that leads farther has led to another branch


class Start(NamedTuple):
    """A point on a branch: follow(make_problem, start, name=[start.value, ...], direction=1), and
    with -1.

    value: of the hyper-parameter.
    params: the stationary point.
    loss: its energy.
    """

    value: float
    params: Params
    loss: float


def switch(make_problem: MakeProblem, event: Event, amplitude: float = 0.01) -> list[Start]:
    """Points on the branches that cross the followed one at a branch point, lowest energy first,
    one for each branch.

    Solutions of H dx + (d gradient / d value) dv = 0 are the kernel and one more; what of them is
    across the followed branch is where to look: amplitude (in arclength) along such a direction is
    held fixed while all else is corrected. Where the kernel has more than one dimension, twelve
    directions are tried besides its axes, each turned to where it led, and the ends told apart up
    to the latents' symmetry. Raises ValueError for an event of another kind.
    """
    if event.kind != EventKind.BRANCH_POINT:
        raise ValueError(
            f"expected a branch point, got a {event.kind}; no other branch crosses there"
        )
    curve = Curve(make_problem, event.params, event.scale)
    z = np.append(ravel_pytree(event.params)[0], event.value)
    place = corrector.examine(curve, z, corrector.upright(z))
    places = _ends(curve, place, _across(curve, place, event), amplitude)
    if not places:
        return []
    losses = np.array([end.loss for end in places])
    params = [curve.params(end.z[:-1]) for end in places]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    return [
        Start(value=float(places[i].z[-1]), params=params[i], loss=float(losses[i]))
        for i, *_ in tally.distinct(curve.problem(event.value), losses, stacked)
    ]


def _across(curve: Curve, place: Place, event: Event) -> np.ndarray:
    """Orthonormal directions (m, p + 1), in units of arclength, that branches through a branch
    point may take but the followed one does not.

    They span the kernel and (-H^+ drive, 1), less its part in the kernel, and are orthogonal to
    the followed branch's tangent there.
    """
    kernel = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(event.kernel))
    flat = np.abs(place.eigenvalues) <= place.width
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, place.eigenvalues))
    inverse = np.append(inverse, 1.0 / place.own)
    response = -corrector.solved(curve, place.z, place.drive, inverse)
    response -= kernel.T @ (kernel @ response)
    roots = np.sqrt(place.weights)
    still = np.column_stack([kernel, np.zeros(len(kernel))])
    basis = np.linalg.qr((np.vstack([still, np.append(response, 1.0)]) * roots).T)[0]
    along = np.append(ravel_pytree(event.tangent)[0], event.rate) * roots
    return np.linalg.svd((along @ basis)[None])[2][1:] @ basis.T


def _ends(curve: Curve, place: Place, across: np.ndarray, amplitude: float) -> list[Place]:
    """Where directions across the followed branch lead; of both ways along a single one the first
    that leads anywhere.
    """
    single = len(across) == 1
    random = np.random.default_rng(0).normal(size=(DIRECTIONS_TRIED, len(across)))
    tries = np.array([[1.0], [-1.0]]) if single else np.vstack([np.eye(len(across)), random])
    ends: list[Place] = []
    for direction in tries:
        if single and ends:
            break
        try:
            ends.append(_crossing(curve, place, across, direction, amplitude))
        except Lost:
            continue
    return ends


def _crossing(
    curve: Curve, place: Place, across: np.ndarray, direction: np.ndarray, amplitude: float
) -> Place:
    """Where a branch through a place, in a direction (m,) of those across the followed one, has
    come to at some amplitude. Raises Lost.
    """
    roots = np.sqrt(place.weights)
    for _ in range(TURNS):
        direction = direction / np.linalg.norm(direction)
        aim = direction @ across
        end = corrector.correct(curve, place.z + amplitude * aim / roots, aim * roots)
        offset = (end.z - place.z) * roots
        if not np.linalg.norm(offset) <= ASTRAY * amplitude:
            raise Lost
        direction = across @ offset
    return end
