"""Does a diagnosis recognize each of the paper's five kinds of posterior collapse? Models made to
show them, and a table.

Kinds (iii) and (iv) need decoders of their own: `covariance_vae`, whose variance is a function of
the latents, and `autoregressive_vae`, which sees the datum's earlier coordinates. `specimens` makes
models whose kind is known by how they were made, `diagnosed` asks for it, of the problem and of
what an .npz holds.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, diagnose, energy, optimize, theory, vae
from vaesurface.diagnose import Collapse
from vaesurface.diagnose.export import OPTIONAL, REQUIRED
from vaesurface.problem import Autoencoder, Params, Problem, compiled
from vaesurface.vae import network

ADAM = optimize.adam(steps=1500, learning_rate=0.02)
NODES = 10  # of Gauss-Hermite quadrature: the outermost is 4.9 prior deviations out
WIDTH = 8  # hidden units of each of its two networks


class CovarianceParams(NamedTuple):
    """Two networks of one hidden layer, z -> mean and z -> log variance, as pairs of (weight,
    bias), and posteriors (n, 1).
    """

    mean_net: tuple[tuple[Array, Array], ...]
    variance_net: tuple[tuple[Array, Array], ...]
    mean: Array
    log_std: Array


class AutoregressiveParams(NamedTuple):
    """before (d, d): what coordinate r takes from earlier ones, its strictly lower triangle; the
    rest as in `VAEParams`.
    """

    before: Array
    weight: Array
    bias: Array
    log_gamma: Array
    mean: Array
    log_std: Array


def covariance_vae(X: ArrayLike, floor: ArrayLike = -12.0) -> Problem:
    """A VAE with one latent whose decoder has N(m(z), v(z) I), v >= exp(floor) gammabar;
    expectations by fixed quadrature.

    Without the floor its energy has no lower bound. `init` puts datum 0 alone where the decoder's
    variance falls off, as its degenerate optimum does.
    """
    Z = jnp.asarray(X)
    n, d = Z.shape
    center = Z.mean(axis=0)
    level = jnp.log(jnp.mean((Z - center[None]) ** 2))
    points, weights = np.polynomial.hermite_e.hermegauss(NODES)
    nodes, shares = jnp.asarray(points), jnp.asarray(weights / weights.sum())

    def network(layers: tuple[tuple[Array, Array], ...], z: Array) -> Array:
        """Outputs (..., out) for latents (..., 1)."""
        (first, offset), (second, bias) = layers
        flat = jax.vmap(lambda one: jnp.tanh(one * first + offset) @ second + bias)(
            z.reshape(-1, 1)
        )
        return flat.reshape(*z.shape[:-1], -1)

    def decode(params: CovarianceParams, z: Array) -> Array:
        return network(params.mean_net, z)

    def log_variance(params: CovarianceParams, z: Array) -> Array:
        return level + floor + jax.nn.softplus(network(params.variance_net, z)[..., 0] - floor)

    def loss(params: CovarianceParams) -> Array:
        z = (
            params.mean[None] + jnp.exp(params.log_std)[None] * nodes[:, None, None]
        )  # (nodes, n, 1)
        log_gamma = log_variance(params, z)
        error = jnp.sum((Z[None] - decode(params, z)) ** 2, axis=2)
        terms = jnp.tensordot(shares, error * jnp.exp(-log_gamma) + d * log_gamma, axes=1)
        return jnp.mean(terms + energy.divergence(params.mean, params.log_std)[:, 0])

    def init(key: Array, scale: ArrayLike = 1.0) -> CovarianceParams:
        # Every hidden unit switches between 6 and 7, far out where the prior has no mass.
        steep, at = (
            3.0 * jnp.ones(WIDTH),
            6.5 + 0.1 * jnp.asarray(scale) * jax.random.normal(key, (2, WIDTH)),
        )
        half, share = 0.5 * (Z[0] - center), jnp.full((WIDTH, 1), 1.0 / WIDTH)
        mean_net = (steep, -3.0 * at[0]), (share * half[None], center + half)
        variance_net = (steep, -3.0 * at[1]), (-share, -jnp.ones(1))
        mean = jnp.zeros((n, 1)).at[0].set(8.0)
        return CovarianceParams(mean_net, variance_net, mean, jnp.zeros((n, 1)).at[0].set(-1.0))

    def autoencoder(params: CovarianceParams) -> Autoencoder:
        gamma = jnp.exp(log_variance(params, params.mean))
        return Autoencoder(Z, params.mean, params.log_std, lambda z: decode(params, z), gamma)

    def recipe():
        return (covariance_vae, {"X": Z, "floor": jnp.asarray(floor, float)})

    return Problem(loss, init, information=_information, autoencoder=autoencoder, recipe=recipe)


def autoregressive_vae(X: np.ndarray, latent: int, beta: float = 1.0) -> Problem:
    """A VAE whose decoder has mean W z + A x + b, A strictly lower triangular: x_r sees x_j, j < r.
    Its energy is exact.

    On data that are linear in their own past with equal innovations the best one has W = 0: then A
    alone makes the likelihood what no Gaussian can exceed, log det Sigma + d.
    """
    Z = jnp.asarray(X)
    d = Z.shape[1]
    center = Z.mean(axis=0)

    def predict(params: AutoregressiveParams, z: Array, x: Array) -> Array:
        seen = (x - jnp.broadcast_to(center, x.shape)) @ jnp.tril(params.before, -1).T
        return z @ params.weight.T + seen + jnp.broadcast_to(params.bias, x.shape)

    def error(params: AutoregressiveParams, mean: Array, log_std: Array, x: Array) -> Array:
        return jnp.sum((x - predict(params, mean, x)) ** 2) + jnp.sum(
            params.weight**2 @ jnp.exp(2.0 * log_std)
        )

    def loss(params: AutoregressiveParams) -> Array:
        errors = jax.vmap(lambda *local: error(params, *local))(params.mean, params.log_std, Z)
        kl = jnp.sum(energy.divergence(params.mean, params.log_std), axis=1)
        return jnp.mean(errors * jnp.exp(-params.log_gamma) + beta * kl) + d * params.log_gamma

    def init(key: Array, scale: ArrayLike = 1.0) -> AutoregressiveParams:
        start = vae.threshold_vae(X, latent, 0.0).init(key, scale)  # type: ignore[misc]
        return AutoregressiveParams(jnp.zeros((d, d)), *start)

    def autoencoder(params: AutoregressiveParams) -> Autoencoder:
        def decode(z: Array) -> Array:
            """The most likely datum: every coordinate at its mean, given the earlier ones."""
            ahead = z @ params.weight.T + (params.bias - center)[None]
            return (
                center[None] + jnp.linalg.solve(jnp.eye(d) - jnp.tril(params.before, -1), ahead.T).T
            )

        return Autoencoder(
            Z,
            params.mean,
            params.log_std,
            decode,
            jnp.exp(params.log_gamma),
            beta=beta,
            error=lambda *local: error(params, *local),
            predict=lambda z, x: predict(params, z, x),
        )

    return Problem(loss, init, information=_information, autoencoder=autoencoder)


def _information(params: Any) -> Array:
    return jnp.mean(energy.divergence(params.mean, params.log_std), axis=0) - 1.0


class Specimen(NamedTuple):
    """A model of known kind. name; kind; problem and params."""

    name: str
    kind: Collapse
    problem: Problem
    params: Params


class Row(NamedTuple):
    """One model's diagnosis: as a problem, and from what an .npz with all keys, or with the
    required ones alone, holds.
    """

    name: str
    kind: Collapse
    problem: Collapse
    exported: Collapse
    required: Collapse

    @property
    def right(self) -> bool:
        """The problem's diagnosis is right, and no other one is wrong; undecided is not."""
        return self.problem == self.kind and {self.exported, self.required} <= {
            self.kind,
            Collapse.UNDECIDED,
        }


def walk(n: int, d: int, keep: float, seed: int) -> np.ndarray:
    """Data (n, d) with x_r = keep x_(r-1) + e_r whose innovations have unit covariance, exactly."""
    rng = np.random.default_rng(seed)
    innovations = rng.standard_normal((n, d))
    innovations = np.sqrt(n) * np.linalg.qr(innovations - innovations.mean(axis=0)).Q
    mixing = np.tril(keep ** np.abs(np.subtract.outer(np.arange(d), np.arange(d))))
    return innovations @ mixing.T


def trained(
    problem: Problem, scale: float, seed: int = 0, optimizer: optimize.Optimizer = ADAM
) -> Params:
    """Where a run from a random start ends."""
    return compiled(_run, problem, jax.random.key(seed), jnp.asarray(scale), optimizer=optimizer)


def _run(problem: Any, key: Array, scale: Array, optimizer: optimize.Optimizer) -> Params:
    return optimizer(problem.loss, problem.init(key, scale)).params


def _descend(problem: Any, start: Params) -> Params:
    return ADAM(problem.loss, start).params


def _affine(X: np.ndarray, latent: int, gamma: float | None = None) -> Params:
    """The affine model's global optimum."""
    return min(theory.stationary_points(X, latent, gamma), key=lambda e: e.loss).params


def specimens(names: Sequence[str] | None = None) -> Iterator[Specimen]:
    """Healthy models and collapsed ones, their kind known by construction: closed forms, or
    settings that leave no choice.

    Decoders are affine or softly thresholded, autoregressive, or have a variance that depends on
    the latents. names: which ones, all by default; only those are trained.
    """
    X, G = data.load("digits-4x4", limit=40), data.gaussian(40, [4.0, 2.0] + [0.05] * 14, seed=0)
    affine, soft = vae.threshold_vae(X, 3, 0.0), vae.threshold_vae(X, 3, 0.05)
    low, rank = (
        vae.threshold_vae(G, 3, 0.0),
        vae.threshold_vae(data.gaussian(40, [4.0, 2.0] + [0.0] * 14, seed=0), 3, 0.0),
    )
    wide, heavy = vae.threshold_vae(X, 3, 0.05, 1.0), vae.threshold_vae(X, 3, 0.0, beta=8.0)

    def one_of_three() -> Params:
        start = soft.restrict(trained(soft, 1.0), jnp.array([True, False, False]))  # type: ignore[misc]
        return compiled(_descend, soft, start)

    made: list[tuple[str, Collapse, Problem, Callable[[], Params]]] = [
        ("affine, all latents in use", Collapse.NONE, affine, lambda: _affine(X, 3)),
        ("soft threshold, trained", Collapse.NONE, soft, lambda: trained(soft, 1.0)),
        ("affine, 3 latents for 2 and noise", Collapse.SUPERFLUOUS, low, lambda: _affine(G, 3)),
        (
            "affine, trained, 3 latents for rank 2",
            Collapse.SUPERFLUOUS,
            rank,
            lambda: trained(rank, 1.0),
        ),
    ]
    for gamma in (1.0, 0.09):
        at = partial(_affine, X, 3, gamma)
        made.append(
            (f"affine, gamma = {gamma:g}", Collapse.GAMMA, vae.threshold_vae(X, 3, 0.0, gamma), at)
        )
    made += [
        ("soft threshold, gamma = 1", Collapse.GAMMA, wide, lambda: trained(wide, 1.0)),
        ("affine, beta = 8", Collapse.GAMMA, heavy, lambda: trained(heavy, 0.1)),
    ]
    for name, Z in (("digits", X), ("Gaussian data", G)):
        spiked = covariance_vae(Z)
        made.append(
            (
                f"variance of the latents, {name}",
                Collapse.COVARIANCE,
                spiked,
                partial(trained, spiked, 1.0),
            )
        )
    for keep, beta in ((1.0, 1.0), (0.9, 1.3)):
        seen = autoregressive_vae(walk(40, 10, keep, seed=0), 2, beta=beta)
        name = f"autoregressive, x_r = {keep:g} x_(r-1) + e_r"
        made.append((name, Collapse.FLEXIBLE, seen, partial(trained, seen, 0.03)))
    made += [
        ("soft threshold, at collapse", Collapse.LOCAL, soft, soft.collapsed),  # type: ignore[list-item]
        ("soft threshold, start 0.003", Collapse.LOCAL, soft, lambda: trained(soft, 0.003)),
        ("soft threshold, 1 of 3 latents", Collapse.LOCAL, soft, one_of_three),
    ]
    for name, kind, problem, make in made:
        if names is None or name in names:
            yield Specimen(name, kind, problem, make())


def networks() -> Iterator[Specimen]:
    """The same with multilayer perceptrons, one hidden layer of 16 ReLUs in encoder and decoder,
    and the paper's trap.
    """
    trap = vae.threshold_vae(data.antipodal(d=2), 1, 0.1)
    yield Specimen("soft threshold, antipodal data", Collapse.LOCAL, trap, trap.collapsed())  # type: ignore[misc]
    X, G = data.load("digits-4x4", limit=40), data.gaussian(40, [4.0, 2.0] + [0.0] * 14, seed=0)
    make = partial(network.mlp_vae, depth=1, width=16)
    few, exact = network.antithetic(jax.random.key(0), 2, 16), network.gauss_hermite(4, 2)
    healthy, plenty = make(X, 2, nodes=few), make(G, 4, nodes=exact, depth=0)
    yield Specimen("perceptrons, trained", Collapse.NONE, healthy, trained(healthy, 1.0))
    yield Specimen(
        "affine networks, 4 latents for rank 2", Collapse.SUPERFLUOUS, plenty, trained(plenty, 1.0)
    )
    wide = make(X, 2, nodes=few, gamma=1.0)
    yield Specimen("perceptrons, gamma = 1", Collapse.GAMMA, wide, trained(wide, 1.0))
    yield Specimen("perceptrons, at collapse", Collapse.LOCAL, healthy, healthy.collapsed())  # type: ignore[misc]
    far = make(X, 2, nodes=few, depth=12, width=6)
    yield Specimen("perceptrons, 12 layers", Collapse.LOCAL, far, trained(far, 1.0))


def diagnosed(specimen: Specimen) -> Row:
    """All three diagnoses of a model."""
    problem = diagnose.collapse(specimen.problem, specimen.params, optimizer=ADAM)
    given = diagnose.exported(specimen.problem, specimen.params)._replace(affine=True)
    few, most = (
        {name: getattr(given, name) for name in names}
        for names in (REQUIRED, (*REQUIRED, *OPTIONAL))
    )
    kinds = problem.kind, diagnose.arrays(**most).kind, diagnose.arrays(**few, beta=given.beta).kind
    return Row(specimen.name, specimen.kind, *kinds)


def table(rows: Sequence[Row]) -> str:
    """As it is printed, a line per model."""
    roman = dict(zip(Collapse, ("none", "(i)", "(ii)", "(iii)", "(iv)", "(v)", "?"), strict=True))
    head = f"{'model':40} {'made':6} {'problem':8} {'all keys':9} {'five keys'}"
    lines = [
        f"{r.name:40} {roman[r.kind]:6} {roman[r.problem]:8} {roman[r.exported]:9} "
        f"{roman[r.required]}"
        for r in rows
    ]
    return "\n".join([head, *lines])
