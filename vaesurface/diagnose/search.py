"""What happens where a VAE's problem is there to try things with? Starts, switches, a learned
gamma, no noise at all.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface import optimize, stationary
from vaesurface.diagnose.diagnosis import ACTIVE, Search
from vaesurface.diagnose.export import Export
from vaesurface.energy import VAEParams
from vaesurface.optimize import Optimizer
from vaesurface.problem import Params, Problem, compiled, recipe_of

STARTS = 6  # random ones
JITTERS = 2  # perturbations of the parameters
JITTER = 0.1  # their size, in root mean squares of each array of parameters
SIZES = (
    1.0,
    3.0,
)  # of a column switched on, in those of the best affine one: thresholds swallow part of it
ADAM = optimize.adam(steps=2000, learning_rate=0.01)  # one object, so that one program serves all


def search(
    problem: Problem,
    params: Params,
    given: Export,
    active: np.ndarray,
    key: Array,
    starts: int = STARTS,
    optimizer: Optimizer | None = None,
    hessian: bool = False,
) -> Search:
    """Try a problem with init and autoencoder; given: its export at params; active (k,): latents
    that are not switched on.
    """
    optimizer = optimizer or ADAM
    on = _switched_on(params, given, active)
    energies, actives = _descended(problem, params, on, key, starts, optimizer)
    best = int(np.nanargmin(energies))
    energy = float(problem.loss(params))
    dropped = math.nan
    if problem.restrict is not None:
        dropped = float(compiled(_restricted, problem, params, jnp.asarray(active))) - energy
    revived, revived_active = _revived(problem, params, on, key, starts, optimizer)
    own, fresh = math.nan, math.nan
    if problem.deterministic is not None:
        errors = np.asarray(
            compiled(_autoencoder, problem, params, key, count=starts, optimizer=optimizer)
        )
        own, fresh = float(errors[0]), float(np.nanmin(errors[1:]))
    minimum, ray_active = math.nan, -1
    if problem.theory is not None:
        minimum, slope = (float(a) for a in compiled(_known, problem, params))
        ray_active = round((given.x.shape[1] - slope) / given.beta) if minimum == -math.inf else -1
    return Search(
        energy=energy,
        dropped=dropped,
        polished=float(energies[0]),
        polished_active=int(actives[0]),
        best=float(energies[best]),
        best_active=int(actives[best]),
        starts=len(energies),
        revived=revived,
        revived_active=revived_active,
        own=own,
        fresh=fresh,
        minimum=minimum if math.isfinite(minimum) else math.nan,
        ray_active=ray_active,
        point=stationary.analyze(problem, params).label if hessian else "",
    )


def _restricted(problem: Any, params: Params, keep: Array) -> Array:
    return problem.loss(problem.restrict(params, keep))


def _known(problem: Any, params: Params) -> tuple[Array, Array]:
    """The global minimum, and the slope of the energy in log gamma along a ray to -inf."""
    known = problem.theory(params, 0.0)
    return known.minimum, known.slope


def _autoencoder(
    problem: Any, params: Params, key: Array, count: int, optimizer: Optimizer
) -> Array:
    """Squared errors that the deterministic autoencoder ends with, from the parameters and from
    random ones.
    """
    loss = problem.deterministic().loss
    return jax.lax.map(
        lambda start: optimizer(loss, start).loss, _stack(params, _random(problem, key, count))
    )


def _descended(
    problem: Problem, params: Params, on: Params, key: Array, starts: int, optimizer: Optimizer
) -> tuple[np.ndarray, np.ndarray]:
    """Energies of the ends and their numbers of active latents; first the one from the parameters
    as they are.
    """
    energies, nats = compiled(_runs, problem, params, on, key, count=starts, optimizer=optimizer)
    return np.asarray(energies), np.asarray(nats >= ACTIVE).sum(axis=1)


def _runs(
    problem: Any, params: Params, on: Params, key: Array, count: int, optimizer: Optimizer
) -> tuple[Array, Array]:
    def run(start):
        end = optimizer(problem.loss, start)
        return end.loss, 0.5 * problem.information(end.params)

    more = [_jittered(params, key), _random(problem, key, count)] + ([] if on is None else [on])
    return jax.lax.map(run, _stack(params, *more))


def _revived(
    problem: Problem, params: Params, on: Params, key: Array, starts: int, optimizer: Optimizer
) -> tuple[float, int]:
    """Lowest energy and its number of active latents with gamma learned and beta = 1; NaN and -1
    where that changes nothing.
    """
    recipe = recipe_of(problem)
    if recipe is None or not {"gamma", "beta"} <= recipe[1].keys():
        return math.nan, -1
    make, given = recipe
    if given["gamma"] is None and given["beta"] <= 1.0:
        return math.nan, -1
    free = make(**given | {"gamma": None, "beta": jnp.ones_like(given["beta"])})
    if given["gamma"] is not None:
        level = jnp.log(given["gamma"])
        params = params._replace(log_gamma=level)
        on = None if on is None else on._replace(log_gamma=jnp.broadcast_to(level, len(SIZES)))
    energies, actives = _descended(free, params, on, key, starts, optimizer)
    best = int(np.nanargmin(energies))
    return float(energies[best]), int(actives[best])


def _stack(params: Params, *more: Params) -> Params:
    """One point and others that are stacked already."""
    return jax.tree.map(lambda first, *rest: jnp.concatenate([first[None], *rest]), params, *more)


def _random(problem: Any, key: Array, count: int) -> Params:
    return jax.vmap(lambda k: problem.init(k, 1.0))(jax.random.split(key, count))


def _jittered(params: Params, key: Array) -> Params:
    """The parameters with noise, JITTERS times: what leaves a saddle or a plateau behind."""
    leaves, form = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
    sizes = [JITTER * jnp.sqrt(jnp.mean(leaf**2) + JITTER**2) for leaf in leaves]

    def draw(k, a):
        return jax.random.normal(k, (JITTERS, *a.shape), a.dtype)

    return jax.tree.unflatten(
        form, [a[None] + s * draw(k, a) for s, k, a in zip(sizes, keys, leaves, strict=True)]
    )


def _switched_on(params: Params, given: Export, active: np.ndarray) -> Params:
    """Inactive latents on the leading principal directions of the residual, where a latent has a
    column of its own; stacked by size. None where it has not.
    """
    if not isinstance(params, VAEParams):
        return None
    residual = given.x - given.reconstruction
    residual = residual - residual.mean(axis=0)
    off = np.flatnonzero(~active)[: residual.shape[1]]
    _, singular, directions = np.linalg.svd(residual, full_matrices=len(residual) < len(off))
    values = np.zeros(len(off))
    values[: len(singular)] = singular[: len(off)] ** 2 / len(residual)
    values = np.maximum(values, 1e-12 * values[0])
    ratio = np.minimum(given.beta * given.gamma / values, 0.5)
    points = []
    for size in SIZES:
        changed = {name: np.array(getattr(params, name)) for name in ("weight", "mean", "log_std")}
        changed["weight"][:, off] = (
            size * np.sqrt(values * (1.0 - ratio)) * directions[: len(off)].T
        )
        changed["mean"][:, off] = residual @ directions[: len(off)].T / np.sqrt(values)
        changed["log_std"][:, off] = 0.5 * np.log(ratio)
        points.append(VAEParams(**params._asdict() | changed))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *points)
