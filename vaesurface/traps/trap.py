"""What is known of a trap, and has a run from one of its starts ended in it?

>>> from vaesurface.traps.exact import exact
>>> trap = exact("antipodal")[1]
>>> print(trap.name, trap.verdict, f"{trap.radius:.3f}", trap.optimum)
antipodal, alpha = 0.5 strict local minimum 0.371 -inf
>>> end = judge(trap.problem, trap.collapsed)
>>> bool(end.collapsed), int(end.active)
(True, 0)
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface import theory
from vaesurface.diagnose.terms import ACTIVE_NATS, Collapse
from vaesurface.glance import brief
from vaesurface.problem import Params, Problem
from vaesurface.theory.collapse import is_trivial
from vaesurface.vae import ThresholdVAE

__all__ = ["End", "Trap", "families", "judge", "kept", "over", "ratio", "together"]

ULPS = 8.0  # of an energy, in which the same one, computed by two programs, may differ


@brief("kind", "energy", "radius", "barrier", "optimum", "problem", title="name")
class Trap(NamedTuple):
    """A problem with a collapsed point of which all that a benchmark asks is known.

    name: of the trap.
    family: of traps that one program serves.
    problem: the loss surface.
    scale: of plain starts, `problem.init(key, scale)`.
    kind: of collapse, by the paper.
    verdict: on the collapsed point.
    collapsed: that point.
    energy: there.
    radius: row norm of the weight up to which nothing is lower, certified
        (`theory.collapse_radius`; `proof.certify` proves it); inf where the point is a global
        minimum, 0 where nothing is certified.
    barrier: height of the lowest pass found out of it (`paths.barrier`); inf where nothing is
        lower, NaN where none is known.
    optimum: the lowest energy, -inf where there is no lower bound.
    known: by what right that is said.
    ratio: leading eigenvalue of the data's covariance over beta gamma at collapse: above one, an
        affine latent pays.
    affine: the affine model's optimum (alpha = 0) as parameters; None where there is none.
    """

    name: str
    family: str
    problem: Any
    scale: float
    kind: Collapse
    verdict: str
    collapsed: Params
    energy: float
    radius: float
    barrier: float
    optimum: float
    known: str
    ratio: float
    affine: Params | None = None

    @property
    def deep(self) -> bool:
        """Whether it is a network's."""
        return not isinstance(self.problem, ThresholdVAE)

    @property
    def learned(self) -> bool:
        """Whether gamma is."""
        return self.problem.gamma is None


@brief()
class End(NamedTuple):
    """Where a run has ended; numbers, so that it survives `vmap`.

    collapsed: (), every latent carries less than `diagnose.terms.ACTIVE_NATS`.
    active: (), the number of latents that carry so much.
    sure: (), of an exact energy: whether a collapsed end lies where the collapsed point is provably
        the lowest, and any other is below that point, whence no descent returns; of a network:
        whether its energy is a number.
    energy: (), there; NaN where a run has failed, which is then neither collapsed nor sure.
    """

    collapsed: Array
    active: Array
    sure: Array
    energy: Array


def judge(problem: Any, params: Params) -> End:
    """The verdict on the end of a run, on that problem."""
    nats = problem.information(params) / 2.0
    collapsed = jnp.all(nats < ACTIVE_NATS)
    energy = problem.loss(params)
    return End(
        collapsed=collapsed,
        active=jnp.sum(nats >= ACTIVE_NATS),
        sure=_is_sure(problem, params, collapsed, energy),
        energy=energy,
    )


def _is_sure(problem: Any, params: Params, collapsed: Array, energy: Array) -> Array:
    """`End.sure`; of networks nothing is certified."""
    if not isinstance(problem, ThresholdVAE):
        return jnp.isfinite(energy)
    # Behind a barrier, or XLA folds its zeros in circles.
    level = problem.loss(jax.lax.optimization_barrier(problem.collapsed()))
    settled = problem.settle(params)
    region = theory.collapse_radius(problem.X, problem.alpha, problem.gamma, problem.beta)
    short = jnp.linalg.norm(settled.weight, axis=1) <= region.radius
    widths = settled._replace(log_std=problem.widths(settled))
    trivial = is_trivial(widths, region, problem.center, short)
    if problem.gamma is None:
        trivial &= jnp.exp(params.log_gamma) >= region.gamma
    # At alpha = 0 there is no such region: collapse is the global minimum, to which runs come near
    # exponentially, or a saddle.
    lowest = _leading(problem.X) <= problem.beta * problem.gamma_of(problem.collapsed())
    near = jnp.where(problem.alpha > 0, trivial, lowest & (energy - level < ACTIVE_NATS))
    return jnp.where(collapsed, near, energy < level - problem.rounding(params))


def _leading(X: Array) -> Array:
    """() eigenvalue of the data's covariance."""
    return jnp.linalg.norm(X - X.mean(axis=0)[None], 2) ** 2 / len(X)


def kept(trap: Trap, ends: End, changed: bool = False) -> np.ndarray:
    """Which runs (m,) a trap has kept: they end with no active latent or no lower than the
    collapsed point: whatever their latents carry, it does not pay. Failed ones have not come out.

    changed: whether they ended on another surface, where only latents count.
    """
    energy = np.asarray(ends.energy)
    low = ~np.isnan(energy) if changed else energy < trap.energy
    return np.asarray(ends.collapsed) | ~low


def over(trap: Trap, ends: End) -> float:
    """Median energy of runs (m,) over the trap's optimum, failed ones aside: inf where that is
    -inf, 0 where rounding makes the difference, NaN where all have failed.
    """
    energies = np.asarray(ends.energy)
    if np.isnan(energies).all():
        return math.nan
    difference = float(np.nanmedian(energies) - trap.optimum)
    rounding = ULPS * float(np.finfo(energies.dtype).eps) * abs(trap.optimum)
    return 0.0 if abs(difference) <= rounding < math.inf else difference


def families(traps: Sequence[Trap]) -> dict[str, list[Trap]]:
    """Traps that one program serves, by the family's name."""
    found: dict[str, list[Trap]] = {}
    for trap in traps:
        found.setdefault(trap.family, []).append(trap)
    return found


def together(traps: Sequence[Trap]) -> tuple[Problem, Params | None]:
    """Problems and affine optima of a family, leading axis: traps."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trap.problem for trap in traps))
    optima = [trap.affine for trap in traps]
    if any(optimum is None for optimum in optima):
        return stacked, None
    return stacked, jax.tree.map(lambda *leaves: jnp.stack(leaves), *optima)


def ratio(X: np.ndarray, gamma: float | None, beta: float = 1.0) -> float:
    """Leading eigenvalue of the data's covariance over beta gamma at collapse."""
    values = np.asarray(theory.eigenvalues(X))
    level = beta * (float(values.mean()) if gamma is None else gamma)
    return float(values[0]) / level if level > 0 else math.inf
