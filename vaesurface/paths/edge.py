"""Where is the edge of a basin lowest, however badly a path over it is relaxed?

>>> import jax.numpy as jnp
>>> from vaesurface.paths.band import minimum_energy_path
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> ends = jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0])
>>> unrelaxed = minimum_energy_path(wells, *ends, max_steps=0)
>>> rim(wells, unrelaxed).saddle.label
'saddle of index 1'
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface import stationary
from vaesurface.paths.band import Path
from vaesurface.paths.climb import climb, require_few
from vaesurface.paths.passes import Transition, connect
from vaesurface.problem import Params, Problem, adopt
from vaesurface.stationary import model
from vaesurface.stationary.descent import LEAP, descend
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = ["rim"]

# Longest step of descents from beside an edge, in the parameters' sizes; always the same, so that
# they are a map.
STEADY = 0.2
WALK = 300  # such steps in which a descent is home, or never is
HOME = 1e-6  # distance from home, in the parameters' sizes, at which it is
NARROW = 1e-3  # distance in the parameters' sizes between the two sides of a bracket
PARTED = 30 * NARROW  # distance at which two descents have parted
APART = 20  # steps in which they do, or are taken to
ROUNDS = 12  # brackets at most
SEARCH = 60  # steps from a bracket to a saddle at most
MET = 1e-6  # relative difference of the heights of two saddles that are one


class _Basin(NamedTuple):
    """Of a minimum, home: what descends to it from above level belongs to it."""

    problem: Problem
    home: Params
    level: Array

    def gap(self, a: Params, b: Params) -> Array:
        """Between two places, in home's sizes."""
        return model.reach(self.problem, self.home, optax.tree.sub(a, b))

    def below(self, start: Params, steps: int) -> Params:
        """Where so many steady steps of descent lead."""
        return descend(
            self.problem, start, STEADY, max_steps=steps, level=self.level, steady=True
        ).params

    def holds(self, start: Params) -> Array:
        """Whether descent from a place returns home."""
        higher = self.problem.loss(start) >= self.level
        return higher and self.gap(self.below(start, WALK), self.home) <= HOME


def rim(problem: Problem, path: Path) -> Transition | None:
    """A saddle on the edge of the basin of the path's first end, and what it joins; None where none
    was met. Not for `jit`.

    Edge tracking (Itano and Toh, J. Phys. Soc. Jpn. 70, 703, 2001; Skufca, Yorke and Eckhardt,
    Phys. Rev. Lett. 96, 174101, 2006): between an image from which descent returns to the first end
    and one from which it does not the edge is bracketed by halving; both then descend until they
    part, which takes them along the edge to lower places, and it is bracketed anew. From every
    bracket a saddle is looked for as `saddle` does, until one is met twice or the edge has led down
    to it. The answer is the lowest of them with the first end on one side; the path need only lead
    out of the basin, however it does, and another path may lead to a lower one.
    """
    problem = adopt(problem)
    home = model.at(path.params, 0)
    require_few(problem, home)
    basin = _Basin(problem, home, problem.loss(home) - problem.rounding(home))
    bracket = _crossed(basin, path)
    if bracket is None:
        return None
    for point in sorted(_met(basin, *bracket), key=lambda point: float(point.loss)):
        joined = connect(problem, point)
        if min(basin.gap(model.at(joined.ends.params, i), home) for i in (0, 1)) <= HOME:
            return joined
    return None


def _crossed(basin: _Basin, path: Path) -> tuple[Params, Params] | None:
    """Two neighbors on the path, the first in the basin and the second not; None where all are."""
    inner, outer = 0, path.loss.size - 1
    if basin.holds(model.at(path.params, outer)):
        return None
    while outer - inner > 1:
        middle = (inner + outer) // 2
        held = basin.holds(model.at(path.params, middle))
        inner, outer = (middle, outer) if held else (inner, middle)
    return model.at(path.params, inner), model.at(path.params, outer)


def _met(basin: _Basin, a: Params, b: Params) -> list[StationaryPoint]:
    """Saddles of index 1 that brackets (a inside, b outside) of the edge lead to, lower and
    lower.
    """
    problem = basin.problem
    met: list[StationaryPoint] = []
    for _ in range(ROUNDS):
        a, b = _narrowed(basin, a, b)
        point = stationary.analyze(problem, climb(problem, a, LEAP, SEARCH, optax.tree.sub(b, a)))
        if point.kind == Kind.SADDLE and point.inertia.negative == 1:
            heights = [abs(point.loss - old.loss) <= MET * (old.loss - basin.level) for old in met]
            met.append(point)
            if any(heights) or _index(problem, a) <= 1:
                break
        for _ in range(APART):
            a, b = basin.below(a, 1), basin.below(b, 1)
            if basin.gap(a, b) > PARTED:
                break
    return met


def _narrowed(basin: _Basin, a: Params, b: Params) -> tuple[Params, Params]:
    """The bracket halved until it is narrow."""
    while basin.gap(a, b) > NARROW:
        middle = optax.tree.scale(0.5, optax.tree.add(a, b))
        a, b = (middle, b) if basin.holds(middle) else (a, middle)
    return a, b


@jax.jit
def _index(problem: Problem, params: Params) -> Array:
    """Number of negative eigenvalues, anywhere."""
    factors = model.methods(problem).factor(params)
    return jnp.sum(factors.eigenvalues < -factors.width)
