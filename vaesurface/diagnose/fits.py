"""What does the best VAE that is affine in the natural parameter reach, under another likelihood?

Found numerically: no closed form is known. Every posterior is free, so an energy here is one that a
decoder has; whether a lower one exists is not known. What is fitted to one half of the data is
tried on the other as well: what lasts is no sampling noise.

>>> X = np.tile([[1.0] * 6, [0.0] * 6], (8, 1))
>>> int(best_affine(X, 2, "bernoulli", beta=1.0).whole.kept)
1
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from vaesurface import vae
from vaesurface.diagnose.halves import SEED_OF_SPLIT
from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.energy import VAEParams, information
from vaesurface.theory import Optimum
from vaesurface.theory.natural import columns, inverse_root, scaled
from vaesurface.vae import NaturalVAE

__all__ = ["Fits", "best_affine", "part"]

# Terms of the energy, nodes included, of which a fit takes as many data as it can: some 0.1 s.
TERMS = 3 * 2**19
# Data below which a fit of a categorical likelihood takes fewer latents, whose grid is smaller.
FEW_DATA = 200
# Nodes per dimension, of a fit and of the energy that is said of it: 6 are good to 1e-6 at a
# deviation of 1 of the natural parameter, and to 1e-3 at 2.
NODES_OF_FIT = {"bernoulli": 6, "poisson": 1, "categorical": 6}
MOST_LATENTS = {"bernoulli": 16, "poisson": 16, "categorical": 3}
FEWEST_LATENTS = 4  # of a fit to fewer, where there are so many: one program serves all
STEPS = 100  # of L-BFGS
RELATIVE = 1e-6  # fall of the energy per step, as a part of it, at which it ends
# Ratio of an eigenvalue to beta that a fit's columns start from where it is less: large enough to
# find what does not pay near the constant decoder.
LEAST_RATIO = 2.0
LARGEST_ROW = 3.0  # norm of a row of the weight at the start: rare pixels would be unbounded


class Fits(NamedTuple):
    """Best affine VAEs of `latent` latents, those beyond what is fitted being off.

    whole: of all data that were given. Its gamma is 1, without a meaning.
    lasting: fitted to one half of them, with posteriors for the other; both ways.
    """

    whole: Optimum
    lasting: Optimum


def part(x: np.ndarray, latent: int, likelihood: str) -> np.ndarray:
    """Rows (m,) that a fit takes: all of them, or a random part."""
    n, d = x.shape
    terms = d * _points(likelihood, _most(n, d, latent, likelihood))
    rows = min(n, max(2, TERMS // terms))
    return np.sort(np.random.default_rng(SEED_OF_SPLIT).permutation(n)[:rows])


def _points(likelihood: str, latent: int) -> int:
    """Nodes per coordinate of a fit."""
    nodes = NODES_OF_FIT[likelihood]
    return nodes**latent if likelihood == "categorical" else nodes


def _most(n: int, d: int, latent: int, likelihood: str) -> int:
    """Number of latents of a fit to data (n, d): fewer than there are where a grid would leave too
    few data.
    """
    count = min(latent, d, MOST_LATENTS[likelihood])
    while count > 1 and TERMS // (d * _points(likelihood, count)) < min(n, FEW_DATA):
        count -= 1
    return count


def best_affine(
    x: np.ndarray,
    latent: int,
    likelihood: str,
    beta: float,
    classes: int = 1,
    fitted: int | None = None,
    groups: np.ndarray | None = None,
) -> Fits:
    """Fit to the data (n, d), and to halves of them.

    fitted: number of latents that a decoder uses at most, all where it is not given; groups (n,):
    numbers of what is not to be split. All data are taken, see `part`; with many latents, of many
    numbers, a fit has fewer of them.
    """
    wanted = latent if fitted is None else max(FEWEST_LATENTS, fitted)
    number = _most(len(x), x.shape[1], min(latent, wanted), likelihood)
    grouped = x.reshape(len(x), -1, classes) if likelihood == "categorical" else x
    problem = vae.elementwise_vae(grouped, number, likelihood=likelihood, beta=beta)
    assert isinstance(problem, NaturalVAE)
    order = _shuffled(len(x), groups)
    half = len(x) // 2
    halves = [replace(problem, X=jnp.asarray(x[order[i : i + half]])) for i in (0, half)]
    starts = [_start(each) for each in halves]
    ends = [_descended(*each) for each in zip(halves, starts, strict=True)]
    crossed = [
        _descended(each, start._replace(weight=other.weight, bias=other.bias), held=True)
        for each, start, other in zip(halves, starts, reversed(ends), strict=True)
    ]
    whole = _descended(problem, _start(problem))
    off = beta * (latent - number)
    return Fits(
        whole=_optimum([_energy(problem, whole)], off),
        lasting=_optimum([_energy(*each) for each in zip(halves, crossed, strict=True)], off),
    )


def _shuffled(n: int, groups: np.ndarray | None) -> np.ndarray:
    """Rows at random, those of a group one after the other: a half has all of it, but for one
    group.
    """
    of_row = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    place = np.random.default_rng(SEED_OF_SPLIT).permutation(of_row.max() + 1)
    return np.argsort(place[of_row], kind="stable")


def _optimum(energies: list[tuple[float, np.ndarray]], off: float) -> Optimum:
    """Energies averaged, and the latents that carry something in all of them."""
    kept = min(int((nats >= ACTIVE_NATS).sum()) for _, nats in energies)
    energy = float(np.mean([value for value, _ in energies])) + off
    return Optimum(kept=jnp.asarray(kept), gamma=jnp.asarray(1.0), energy=jnp.asarray(energy))


def _energy(problem: NaturalVAE, params: VAEParams) -> tuple[float, np.ndarray]:
    """The energy as exactly as the problem has it, and nats per latent (k,)."""
    energy, nats = _energy_and_nats(problem, params)
    return float(energy), np.asarray(nats)


def _start(problem: NaturalVAE) -> VAEParams:
    """What the second-order form at the constant decoder says: in units of the data's deviations
    under it the decoder is Gaussian with gamma = 1, whose best columns and posteriors are known.

    With lambda a direction's eigenvalue and r = lambda / beta: column sqrt(lambda (1 - 1 / r)),
    posterior mean the datum's coordinate over sqrt(lambda) times sqrt(1 - 1 / r), variance 1 / r.
    """
    x, k = np.asarray(problem.X), problem.latent
    center = x.mean(axis=0)
    root = inverse_root(center[None], problem.likelihood, problem.classes)
    rows = scaled(x - center, root)
    if rows.shape[1]:
        _, singular, directions = np.linalg.svd(rows, full_matrices=len(x) < k)
    else:  # all rows are one
        singular, directions = np.zeros(0), np.zeros((0, 0))
    directions = np.pad(directions, ((0, max(0, k - len(directions))), (0, 0)))
    values = np.zeros(k)
    values[: len(singular)] = singular[:k] ** 2 / len(x)
    beta = float(problem.beta)
    ratio = np.maximum(values / beta, LEAST_RATIO)
    column = np.sqrt(beta * (ratio - 1.0))
    paying = min(k, rows.shape[1])
    weight = np.zeros((x.shape[1], k))
    weight[:, :paying] = columns(directions[:paying] * column[:paying, None], root)
    longest = np.linalg.norm(weight, axis=1, keepdims=True)
    scores = rows @ directions[:k].T / np.sqrt(beta * ratio)
    params = jax.tree.map(np.asarray, _collapsed(problem))
    return params._replace(
        weight=weight * np.minimum(1.0, LARGEST_ROW / np.maximum(longest, LARGEST_ROW)),
        mean=scores * np.sqrt(1.0 - 1.0 / ratio),
        log_std=np.broadcast_to(-0.5 * np.log(ratio), scores.shape),
    )


@jax.jit
def _collapsed(problem: NaturalVAE) -> VAEParams:
    return problem.collapsed()


@jax.jit
def _energy_and_nats(problem: NaturalVAE, params: VAEParams) -> tuple[Array, Array]:
    return problem.loss(params), 0.5 * information(params.mean, params.log_std)


@jax.jit
def _slope(problem: NaturalVAE, params: VAEParams) -> tuple[Array, VAEParams]:
    return jax.value_and_grad(problem.loss)(params)


def _descended(problem: NaturalVAE, start: VAEParams, held: bool = False) -> VAEParams:
    """Where L-BFGS leads with few nodes; held: the decoder stays as it is.

    Posteriors are in units of sqrt(n), in which the energy curves along them as it does along the
    decoder.
    """
    quick = problem.of_nodes(NODES_OF_FIT[problem.likelihood])
    unit = 1.0 * np.sqrt(len(start.mean))
    decoder = (start.weight, start.bias)
    local = (start.mean, start.log_std)
    leaves = [a / unit for a in local] if held else [*decoder, *(a / unit for a in local)]
    sizes = np.cumsum([a.size for a in leaves])[:-1]

    def params_of(vector: np.ndarray) -> VAEParams:
        parts = [
            a.reshape(leaf.shape) for a, leaf in zip(np.split(vector, sizes), leaves, strict=True)
        ]
        weight, bias = decoder if held else parts[:2]
        mean, log_std = parts[-2:]
        changed: dict[str, Any] = {"weight": weight, "bias": bias}
        return start._replace(**changed, mean=unit * mean, log_std=unit * log_std)

    def value_and_slope(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _slope(quick, params_of(vector))
        moved = [slope.mean, slope.log_std]
        parts = [unit * np.asarray(a).ravel() for a in moved]
        if not held:
            parts = [np.asarray(a).ravel() for a in (slope.weight, slope.bias)] + parts
        return float(value), np.concatenate(parts)

    first = np.concatenate([a.ravel() for a in leaves])
    options = {"maxiter": STEPS, "ftol": RELATIVE, "gtol": 0.0, "maxcor": 20}
    end = minimize(value_and_slope, first, jac=True, method="L-BFGS-B", options=options)
    return params_of(end.x)
