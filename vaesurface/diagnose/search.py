"""What happens where a VAE's problem is there to try things with? Starts, switches, a learned
gamma, no noise at all.

>>> from vaesurface import data, vae
>>> from vaesurface.diagnose.problems import exported
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1, gamma=0.5)
>>> params = problem.collapsed()
>>> ends = search(problem, params, exported(problem, params), np.array([False]), jax.random.key(0))
>>> ends.best_active, ends.best < ends.energy  # a start that uses the latent ends lower
(1, True)
"""

import math
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface import optimize, stationary
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.terms import ACTIVE_NATS, Search
from vaesurface.energy import VAEParams, information
from vaesurface.optimize import Optimizer
from vaesurface.problem import Params, Problem

__all__ = ["STARTS", "search"]

STARTS = 6  # random ones
JITTERS = 2  # perturbations of the parameters
JITTER_SIZE = 0.1  # in root mean squares of each array of parameters
# Sizes of a column that is switched on, in those of the best affine one: thresholds swallow part.
COLUMN_SIZES = (1.0, 3.0)
# Where a direction of the residual has less than twice beta gamma, a latent is switched on with
# this ratio of beta gamma to variance: at 1 and above the affine column is zero.
LARGEST_RATIO = 0.5
NO_VARIANCE = 1e-12  # of the leading direction's: what directions beyond the rank count as
ADAM = optimize.adam(steps=2000, learning_rate=0.01)


def search(
    problem: Problem,
    params: Params,
    export: Export,
    active: np.ndarray,
    key: Array,
    starts: int = STARTS,
    optimizer: Optimizer = ADAM,
    hessian: bool = False,
) -> Search:
    """Try a problem that has init and autoencoder, from parameters and from `starts` random starts.

    export: of the problem at params; active: (k,), latents that are not switched on; hessian: ask
    for the label of the parameters as a stationary point.
    """
    switched = _switched_on(params, export, active)
    energies, actives = _ends(problem, params, switched, key, starts, optimizer)
    best = int(np.nanargmin(energies))
    energy = float(problem.loss(params))
    revived, revived_active = _revived(problem, params, switched, key, starts, optimizer)
    own, fresh = _autoencoders(problem, params, key, starts, optimizer)
    minimum, ray_active = _optimum(problem, params, export)
    return Search(
        energy=energy,
        dropped=_dropped(problem, params, active) - energy,
        polished=float(energies[0]),
        polished_active=int(actives[0]),
        best=float(energies[best]),
        best_active=int(actives[best]),
        starts=len(energies),
        revived=revived,
        revived_active=revived_active,
        own=own,
        fresh=fresh,
        minimum=minimum,
        ray_active=ray_active,
        point=stationary.analyze(problem, params).label if hessian else "",
    )


# The problem as it is


def _dropped(problem: Problem, params: Params, active: np.ndarray) -> float:
    """Energy with all latents but `active` (k,) switched off, NaN where they cannot be."""
    if not problem.has("restrict"):
        return math.nan
    return float(_restricted_loss(problem, params, jnp.asarray(active)))


@jax.jit
def _restricted_loss(problem: Problem, params: Params, keep: Array) -> Array:
    return problem.loss(problem.restrict(params, keep))


def _optimum(problem: Problem, params: Params, export: Export) -> tuple[float, int]:
    """The global minimum, NaN where it is not known or not finite, and the number of latents that a
    ray to -inf uses, -1 where there is none.

    Along a ray the energy falls by (d - beta r) log gamma, r the latents used.
    """
    minimum, slope = (float(a) for a in _minimum_and_slope(problem, params))
    if minimum == -math.inf:
        return math.nan, round((export.x.shape[1] - slope) / export.beta)
    return minimum if math.isfinite(minimum) else math.nan, -1


@jax.jit
def _minimum_and_slope(problem: Problem, params: Params) -> tuple[Array, Array]:
    """The global minimum, and the slope of the energy in log gamma along a ray to -inf; NaN where
    unknown.
    """
    theory = problem.theory(params)
    unknown = jnp.asarray(jnp.nan)
    return (unknown, unknown) if theory is None else (theory.minimum, theory.slope)


def _autoencoders(
    problem: Problem, params: Params, key: Array, starts: int, optimizer: Optimizer
) -> tuple[float, float]:
    """Squared errors per coordinate of the deterministic autoencoder, trained from the parameters
    and, the least, from random ones; NaN where the problem has none.
    """
    if not problem.has("deterministic"):
        return math.nan, math.nan
    errors = np.asarray(_autoencoder_errors(problem, params, key, starts, optimizer))
    return float(errors[0]), float(np.nanmin(errors[1:]))


@partial(jax.jit, static_argnames=("random_starts", "optimizer"))
def _autoencoder_errors(
    problem: Problem, params: Params, key: Array, random_starts: int, optimizer: Optimizer
) -> Array:
    """(1 + random_starts,), first that from the parameters."""
    loss = problem.deterministic().loss
    starts = _stack(params, _random(problem, key, random_starts))
    return jax.lax.map(lambda start: optimizer(loss, start).loss, starts)


# Its ends


def _ends(
    problem: Problem,
    params: Params,
    switched: Params,
    key: Array,
    starts: int,
    optimizer: Optimizer,
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (m,) of the ends of all starts and their numbers of active latents (m,); first of
    the one from the parameters as they are.
    """
    energies, nats = _runs(problem, params, switched, key, starts, optimizer)
    return np.asarray(energies), np.asarray(nats >= ACTIVE_NATS).sum(axis=1)


@partial(jax.jit, static_argnames=("random_starts", "optimizer"))
def _runs(
    problem: Problem,
    params: Params,
    switched: Params,
    key: Array,
    random_starts: int,
    optimizer: Optimizer,
) -> tuple[Array, Array]:
    """Energies (m,) of the ends and nats (m, k) of their latents."""

    def run(start: Params) -> tuple[Array, Array]:
        end = optimizer(problem.loss, start)
        vae = problem.autoencoder(end.params)
        return end.loss, 0.5 * information(vae.mean, vae.log_std)

    others = [_jittered(params, key), _random(problem, key, random_starts)]
    if switched is not None:
        others.append(switched)
    return jax.lax.map(run, _stack(params, *others))


def _revived(
    problem: Problem,
    params: Params,
    switched: Params,
    key: Array,
    starts: int,
    optimizer: Optimizer,
) -> tuple[float, int]:
    """Lowest energy and its number of active latents with gamma learned and beta = 1; NaN and -1
    where that changes nothing.
    """
    free = _freed(problem)
    if free is None:
        return math.nan, -1
    gamma = getattr(problem, "gamma", None)
    if gamma is not None:
        log_gamma = jnp.log(gamma)
        params = params._replace(log_gamma=log_gamma)
        if switched is not None:
            switched = switched._replace(log_gamma=jnp.broadcast_to(log_gamma, len(COLUMN_SIZES)))
    energies, actives = _ends(free, params, switched, key, starts, optimizer)
    best = int(np.nanargmin(energies))
    return float(energies[best]), int(actives[best])


def _freed(problem: Any) -> Problem | None:
    """The problem with gamma learned and beta = 1; None where that is the same problem, or where it
    has no such fields.
    """
    if not {"gamma", "beta"} <= _field_names(problem):
        return None
    if problem.gamma is None and problem.beta <= 1.0:
        return None
    return replace(problem, gamma=None, beta=jnp.ones_like(problem.beta))


def _field_names(value: Any) -> set[str]:
    return {field.name for field in fields(value)} if is_dataclass(value) else set()


# Its starts


def _stack(params: Params, *more: Params) -> Params:
    """One point and others that are stacked already."""
    return jax.tree.map(lambda first, *rest: jnp.concatenate([first[None], *rest]), params, *more)


def _random(problem: Any, key: Array, count: int) -> Params:
    """Random starts, stacked."""
    return jax.vmap(lambda k: problem.init(k, 1.0))(jax.random.split(key, count))


def _jittered(params: Params, key: Array) -> Params:
    """The parameters with noise, JITTERS times: what leaves a saddle or a plateau behind."""
    leaves, form = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
    return jax.tree.unflatten(
        form, [_with_noise(leaf, k) for leaf, k in zip(leaves, keys, strict=True)]
    )


def _with_noise(leaf: Array, key: Array) -> Array:
    """(JITTERS, ...), in units of the leaf's root mean square or, where it is zero, of
    JITTER_SIZE.
    """
    size = JITTER_SIZE * jnp.sqrt(jnp.mean(leaf**2) + JITTER_SIZE**2)
    return leaf[None] + size * jax.random.normal(key, (JITTERS, *leaf.shape), leaf.dtype)


def _switched_on(params: Params, export: Export, active: np.ndarray) -> Params:
    """Inactive latents on the leading principal directions of the residual, as the best affine
    columns are, where a latent has a column of its own; stacked by size. None where it has not.

    With lambda a direction's variance and r = beta gamma / lambda: column sqrt(lambda (1 - r))
    along it, posterior mean the residual's coordinate over sqrt(lambda), variance r.
    """
    if not isinstance(params, VAEParams):
        return None
    residual = export.x - export.reconstruction
    residual = residual - residual.mean(axis=0)
    off = np.flatnonzero(~active)[: residual.shape[1]]
    variances, directions = _principal(residual, len(off))
    ratio = np.minimum(export.beta * export.gamma / variances, LARGEST_RATIO)
    columns = np.sqrt(variances * (1.0 - ratio)) * directions
    mean, log_std = np.array(params.mean), np.array(params.log_std)
    mean[:, off] = residual @ directions / np.sqrt(variances)
    log_std[:, off] = 0.5 * np.log(ratio)
    points = []
    for size in COLUMN_SIZES:
        weight = np.array(params.weight)
        weight[:, off] = size * columns
        changed: dict[str, Any] = {"weight": weight, "mean": mean, "log_std": log_std}
        points.append(params._replace(**changed))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *points)


def _principal(residual: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances (count,) of centered rows (n, d) along their leading principal directions, and
    these, (d, count).
    """
    n = len(residual)
    _, singular, directions = np.linalg.svd(residual, full_matrices=n < count)
    variances = np.zeros(count)
    variances[: len(singular)] = singular[:count] ** 2 / n
    return np.maximum(variances, NO_VARIANCE * variances[0]), directions[:count].T
