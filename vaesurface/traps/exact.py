"""Which traps have an exact energy? Softly thresholded decoders, over a few alphas.

At every alpha > 0 the collapsed point is a strict local minimum (`theory.collapse_radius`,
`proof.certify`), however much lower the energy is elsewhere. One surface, affine and with a gamma
that is too large, collapses at its global minimum: there no way down can help.

>>> for trap in exact()[:4]:
...     print(f"{trap.name}: radius {trap.radius:.3g}, barrier {trap.barrier:.2g}")
antipodal, alpha = 0.2: radius 0.148, barrier 0.00036
antipodal, alpha = 0.5: radius 0.371, barrier 0.0024
antipodal, alpha = 1: radius 0.741, barrier 0.011
gaussian, alpha = 0.5: radius 0.163, barrier 0.00013
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import data, optimize, paths, stationary, theory, vae
from vaesurface.diagnose.terms import Collapse
from vaesurface.problem import Params
from vaesurface.refusal import complaint
from vaesurface.traps.trap import Trap, ratio

__all__ = ["exact", "lower", "measured_barrier"]

RAY = 0.1  # by how much a place on a ray is lower than collapse
DESCENT = optimize.adam(3000)


class _Known(NamedTuple):
    """What takes a search to know, of one alpha.

    barrier: height of the lowest pass found out of collapse, by `measured_barrier`.
    optimum: the lowest energy found, by Adam (4,000 steps) from 60 random starts of each of three
        scales and from 60 at each of two distances from the affine optimum.
    """

    barrier: float
    optimum: float


class _Family(NamedTuple):
    """Traps of one shape.

    X: (n, d), the data.
    latent: k.
    scale: of plain starts.
    known: (gamma, alpha) -> what a search has found; None where collapse is the global minimum.
    """

    X: np.ndarray
    latent: int
    scale: float
    known: dict[tuple[float | None, float], _Known | None]


UNBOUNDED = -math.inf


def _families() -> dict[str, _Family]:
    """`antipodal` is the trap of Proposition 4.1, whose energy has no lower bound; `gaussian` has
    gamma held, `digits` learned.
    """
    return {
        "antipodal": _Family(
            X=data.antipodal(d=2),
            latent=1,
            scale=0.3,
            known={
                (None, 0.2): _Known(0.00036288054858, UNBOUNDED),
                (None, 0.5): _Known(0.00236176231651, UNBOUNDED),
                (None, 1.0): _Known(0.0114534836492, UNBOUNDED),
            },
        ),
        "gaussian": _Family(
            X=data.gaussian(24, [4.0, 2.0, 1.0, 0.5], seed=0),
            latent=2,
            scale=0.1,
            known={
                (0.5, 0.5): _Known(0.000132147115828, 7.9039922709),
                (0.5, 1.0): _Known(0.000490559056361, 8.0885719898),
                (0.5, 2.0): _Known(0.00153204730583, 8.3809781563),
                (6.0, 0.0): None,
            },
        ),
        "digits": _Family(
            X=data.load("digits-4x4", limit=40),
            latent=2,
            scale=0.1,
            known={
                (None, 0.1): _Known(0.00044294718613, -42.8360933177),
                (None, 0.3): _Known(0.00370786423564, -42.7144605894),
            },
        ),
    }


def exact(*names: str) -> list[Trap]:
    """Those of some families, by default of all, by alpha; `problem` is a `vae.threshold_vae`.

    Raises ValueError for other names, RuntimeError without float64.
    """
    found = _families()
    if unknown := sorted({*names} - found.keys()):
        expected = f"families out of {', '.join(found)}"
        raise complaint(expected, ", ".join(unknown), "choose some")
    return [
        _trap(name, family, gamma, alpha, known)
        for name, family in found.items()
        if not names or name in names
        for (gamma, alpha), known in family.known.items()
    ]


def _trap(
    name: str, family: _Family, gamma: float | None, alpha: float, known: _Known | None
) -> Trap:
    problem: Any = vae.threshold_vae(family.X, family.latent, alpha, gamma)
    collapsed = problem.collapsed()
    level = float(problem.loss(collapsed))
    affine = _affine_optimum(family, gamma)
    shared: dict[str, Any] = {
        "family": name,
        "problem": problem,
        "scale": family.scale,
        "collapsed": collapsed,
        "energy": level,
        "ratio": ratio(family.X, gamma),
        "affine": affine,
    }
    if known is None:
        return Trap(
            name=f"{name}, alpha = {alpha:g}, gamma = {gamma:g}",
            kind=Collapse.GAMMA,
            verdict="global minimum",
            radius=math.inf,
            barrier=math.inf,
            optimum=float(theory.global_minimum(family.X, family.latent, gamma)),
            known="exact: collapse, no eigenvalue is above gamma",
            **shared,
        )
    bounded = known.optimum > UNBOUNDED
    return Trap(
        name=f"{name}, alpha = {alpha:g}",
        kind=Collapse.LOCAL,
        verdict="strict local minimum",
        radius=float(theory.collapse_radius(family.X, alpha, gamma).radius),
        barrier=known.barrier,
        optimum=known.optimum,
        known="best known" if bounded else "exact: no lower bound, along a ray",
        **shared,
    )


def _affine_optimum(family: _Family, gamma: float | None) -> Any:
    """Of alpha = 0, as parameters; None where the energy has no lower bound there."""
    if not math.isfinite(float(theory.global_minimum(family.X, family.latent, gamma))):
        return None
    points = theory.stationary_points(family.X, family.latent, gamma)
    return min(points, key=lambda point: point.loss).params


def measured_barrier(trap: Trap) -> paths.Barrier | None:
    """The lowest pass found out of a trap's collapsed point towards where the affine optimum
    descends to or, where there is none, down the ray.
    """
    return paths.barrier(trap.problem, trap.collapsed, lower(trap))


def lower(trap: Trap) -> Params:
    """A place below the collapsed point: where Adam leads from the affine optimum, refined; where
    there is no such optimum, the first place on the ray that is lower by `RAY`.
    """
    problem = trap.problem
    if trap.affine is not None:
        end = DESCENT(problem.loss, trap.affine).params
        return stationary.refine(problem, end).params
    ray = theory.unbounded_ray(problem.X, problem.latent, problem.alpha, problem.beta)
    gammas = jnp.exp(trap.collapsed.log_gamma) * 0.5 ** jnp.arange(1.0, 40.0)
    falls = jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), gammas) < trap.energy - RAY
    return ray.at(gammas[jnp.argmax(falls)])
