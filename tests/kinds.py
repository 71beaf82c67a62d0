"""Does a diagnosis recognize each of the paper's five kinds of posterior collapse? Models made to
show them, and a table.

Kinds (iii) and (iv) need decoders of their own: `CovarianceVAE`, whose variance is a function of
the latents, and `AutoregressiveVAE`, which sees the datum's earlier coordinates. `specimens` and
`networks` are models whose kind is known by how they were made, `diagnosed` asks for it, of the
problem and of what an .npz holds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, diagnose, energy, optimize, theory, vae
from vaesurface.diagnose import Collapse
from vaesurface.diagnose.export import OPTIONAL, REQUIRED
from vaesurface.problem import Autoencoder, Params, Problem
from vaesurface.vae import network

__all__ = [
    "AutoregressiveVAE",
    "CovarianceVAE",
    "Row",
    "Specimen",
    "descended",
    "diagnosed",
    "networks",
    "specimens",
    "table",
    "trained",
    "walk",
]

ADAM = optimize.adam(steps=1500, learning_rate=0.02)  # one object, so that one program serves all
GAUSS_HERMITE_NODES = 10  # the outermost is 4.9 prior deviations out
HIDDEN_UNITS = 8  # of each of `CovarianceVAE`'s two networks

Network = tuple[tuple[Array, Array], ...]  # layers as pairs of weight and bias


# Decoders of their own


class CovarianceParams(NamedTuple):
    """Two networks of one hidden layer, and posteriors of one latent.

    mean_net: z to the decoder's mean.
    variance_net: z to its log variance.
    mean: (n, 1).
    log_std: (n, 1).
    """

    mean_net: Network
    variance_net: Network
    mean: Array
    log_std: Array


@partial(jax.tree_util.register_dataclass, data_fields=["X", "floor"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class CovarianceVAE(Problem):
    """A VAE with one latent whose decoder has N(m(z), v(z) I), v >= exp(floor) gammabar;
    expectations by fixed quadrature. Without the floor its energy has no lower bound.

    X: (n, d), data.
    floor: (), of the log variance, from that of the data on.
    """

    X: Array
    floor: ArrayLike = -12.0

    @property
    def center(self) -> Array:
        """(d,), the data's mean."""
        return self.X.mean(axis=0)

    def loss(self, params: CovarianceParams) -> Array:
        """The energy, the expectation over the posterior by Gauss and Hermite's nodes."""
        points, weights = np.polynomial.hermite_e.hermegauss(GAUSS_HERMITE_NODES)
        nodes, shares = jnp.asarray(points), jnp.asarray(weights / weights.sum())
        # (nodes, n, 1)
        z = params.mean[None] + jnp.exp(params.log_std)[None] * nodes[:, None, None]
        log_gamma = self.log_variance(params, z)
        error = jnp.sum((self.X[None] - _network(params.mean_net, z)) ** 2, axis=2)
        likelihood = error * jnp.exp(-log_gamma) + self.X.shape[1] * log_gamma
        terms = jnp.tensordot(shares, likelihood, axes=1)
        return jnp.mean(terms + energy.divergence(params.mean, params.log_std)[:, 0])

    def init(self, key: Array, scale: ArrayLike = 1.0) -> CovarianceParams:
        """Datum 0 alone where the variance falls off, as the degenerate optimum has it."""
        n = len(self.X)
        # Every hidden unit switches between 6 and 7, far out where the prior has no mass.
        noise = jax.random.normal(key, (2, HIDDEN_UNITS))
        switch = 6.5 + 0.1 * jnp.asarray(scale) * noise
        steep = 3.0 * jnp.ones(HIDDEN_UNITS)
        half, share = 0.5 * (self.X[0] - self.center), jnp.full((HIDDEN_UNITS, 1), 1 / HIDDEN_UNITS)
        return CovarianceParams(
            mean_net=((steep, -3.0 * switch[0]), (share * half[None], self.center + half)),
            variance_net=((steep, -3.0 * switch[1]), (-share, -jnp.ones(1))),
            mean=jnp.zeros((n, 1)).at[0].set(8.0),
            log_std=jnp.zeros((n, 1)).at[0].set(-1.0),
        )

    def autoencoder(self, params: CovarianceParams) -> Autoencoder:
        """With gamma (n,) at the posterior means."""
        return Autoencoder(
            data=self.X,
            mean=params.mean,
            log_std=params.log_std,
            decode=partial(_network, params.mean_net),
            gamma=jnp.exp(self.log_variance(params, params.mean)),
        )

    def log_variance(self, params: CovarianceParams, z: Array) -> Array:
        """(...) for latents (..., 1)."""
        level = jnp.log(energy.gammabar(self.X))
        above = _network(params.variance_net, z)[..., 0] - self.floor
        return level + self.floor + jax.nn.softplus(above)


def _network(layers: Network, z: Array) -> Array:
    """Outputs (..., out) for latents (..., 1): one hidden layer of tanh."""
    (first, offset), (second, bias) = layers

    def output(one: Array) -> Array:
        return jnp.tanh(one * first + offset) @ second + bias

    outputs = jax.vmap(output)(z.reshape(-1, 1))
    return outputs.reshape(*z.shape[:-1], -1)


class AutoregressiveParams(NamedTuple):
    """As `VAEParams`, and what a coordinate takes from the datum's earlier ones.

    before: (d, d), of which the strictly lower triangle counts.
    """

    before: Array
    weight: Array
    bias: Array
    log_gamma: Array
    mean: Array
    log_std: Array


@partial(jax.tree_util.register_dataclass, data_fields=["X", "beta"], meta_fields=["latent"])
@dataclass(frozen=True, eq=False)
class AutoregressiveVAE(Problem):
    """A VAE whose decoder has mean W z + A (x - xbar) + b, A strictly lower triangular: x_r sees
    x_j, j < r. Its energy is exact.

    On data that are linear in their own past with equal innovations the best one has W = 0: then A
    alone makes the likelihood what no Gaussian can exceed, log det Sigma + d.

    X: (n, d), data.
    latent: k.
    beta: (), weight of the KL part.
    """

    X: Array
    latent: int
    beta: ArrayLike = 1.0

    @property
    def center(self) -> Array:
        """(d,), the data's mean."""
        return self.X.mean(axis=0)

    def loss(self, params: AutoregressiveParams) -> Array:
        """The energy."""
        errors = jax.vmap(partial(self.error, params))(params.mean, params.log_std, self.X)
        kl = jnp.sum(energy.divergence(params.mean, params.log_std), axis=1)
        likelihood = errors * jnp.exp(-params.log_gamma)
        return jnp.mean(likelihood + self.beta * kl) + self.X.shape[1] * params.log_gamma

    def init(self, key: Array, scale: ArrayLike = 1.0) -> AutoregressiveParams:
        """That of the affine model; coordinates do not see each other."""
        start = vae.threshold_vae(self.X, self.latent, 0.0).init(key, scale)
        d = self.X.shape[1]
        return AutoregressiveParams(before=jnp.zeros((d, d)), **start._asdict())

    def autoencoder(self, params: AutoregressiveParams) -> Autoencoder:
        """With `predict`: the decoder sees more than latents."""
        return Autoencoder(
            data=self.X,
            mean=params.mean,
            log_std=params.log_std,
            decode=partial(self.decode, params),
            gamma=jnp.exp(params.log_gamma),
            beta=self.beta,
            error=partial(self.error, params),
            predict=partial(self.predict, params),
        )

    def predict(self, params: AutoregressiveParams, z: Array, x: Array) -> Array:
        """Means (..., d) for latents (..., k) and data (..., d)."""
        earlier = (x - jnp.broadcast_to(self.center, x.shape)) @ self._lower(params).T
        return z @ params.weight.T + earlier + jnp.broadcast_to(params.bias, x.shape)

    def decode(self, params: AutoregressiveParams, z: Array) -> Array:
        """The most likely datum: every coordinate at its mean, given the earlier ones."""
        ahead = z @ params.weight.T + (params.bias - self.center)[None]
        coupling = jnp.eye(self.X.shape[1]) - self._lower(params)
        return self.center[None] + jnp.linalg.solve(coupling, ahead.T).T

    def error(self, params: AutoregressiveParams, mean: Array, log_std: Array, x: Array) -> Array:
        """Expected squared error of one datum: at the mean, and what noise adds through W."""
        at_mean = jnp.sum((x - self.predict(params, mean, x)) ** 2)
        return at_mean + jnp.sum(params.weight**2 @ jnp.exp(2.0 * log_std))

    def _lower(self, params: AutoregressiveParams) -> Array:
        return jnp.tril(params.before, -1)


def walk(n: int, d: int, keep: float, seed: int) -> np.ndarray:
    """Data (n, d) with x_r = keep x_(r-1) + e_r whose innovations have unit covariance, exactly."""
    rng = np.random.default_rng(seed)
    innovations = rng.standard_normal((n, d))
    innovations = np.sqrt(n) * np.linalg.qr(innovations - innovations.mean(axis=0)).Q
    mixing = np.tril(keep ** np.abs(np.subtract.outer(np.arange(d), np.arange(d))))
    return innovations @ mixing.T


# Models of known kind


class Specimen(NamedTuple):
    """A model of known kind.

    name: as the table has it.
    kind: by how it was made.
    problem: its surface.
    make: () to its parameters; some are trained.
    """

    name: str
    kind: Collapse
    problem: Problem
    make: Callable[[], Params]


def specimens() -> list[Specimen]:
    """Healthy models and collapsed ones, their kind known by construction: closed forms, or
    settings that leave no choice.

    Decoders are affine or softly thresholded, autoregressive, or have a variance that depends on
    the latents.
    """
    X = data.load("digits-4x4", limit=40)
    noisy = data.gaussian(40, [4.0, 2.0] + [0.05] * 14, seed=0)
    return [
        *_healthy(X),
        *_superfluous(noisy),
        *_gamma(X),
        *_covariance(X, noisy),
        *_own_past(),
        *_local(X),
    ]


def _healthy(X: np.ndarray) -> list[Specimen]:
    affine, soft = vae.threshold_vae(X, 3, 0.0), vae.threshold_vae(X, 3, 0.05)
    return [
        Specimen("affine, all latents in use", Collapse.NONE, affine, partial(_optimum, X, 3)),
        Specimen("soft threshold, trained", Collapse.NONE, soft, partial(trained, soft, 1.0)),
    ]


def _superfluous(noisy: np.ndarray) -> list[Specimen]:
    low = vae.threshold_vae(noisy, 3, 0.0)
    rank = vae.threshold_vae(_of_rank_two(), 3, 0.0)
    return [
        Specimen(
            "affine, 3 latents for 2 and noise",
            Collapse.SUPERFLUOUS,
            low,
            partial(_optimum, noisy, 3),
        ),
        Specimen(
            "affine, trained, 3 latents for rank 2",
            Collapse.SUPERFLUOUS,
            rank,
            partial(trained, rank, 1.0),
        ),
    ]


def _gamma(X: np.ndarray) -> list[Specimen]:
    made = [
        Specimen(
            f"affine, gamma = {gamma:g}",
            Collapse.GAMMA,
            vae.threshold_vae(X, 3, 0.0, gamma),
            partial(_optimum, X, 3, gamma),
        )
        for gamma in (1.0, 0.09)
    ]
    wide, heavy = vae.threshold_vae(X, 3, 0.05, 1.0), vae.threshold_vae(X, 3, 0.0, beta=8.0)
    return [
        *made,
        Specimen("soft threshold, gamma = 1", Collapse.GAMMA, wide, partial(trained, wide, 1.0)),
        Specimen("affine, beta = 8", Collapse.GAMMA, heavy, partial(trained, heavy, 0.1)),
    ]


def _covariance(X: np.ndarray, noisy: np.ndarray) -> list[Specimen]:
    made = []
    for name, Z in (("digits", X), ("Gaussian data", noisy)):
        spiked = CovarianceVAE(jnp.asarray(Z))
        made.append(
            Specimen(
                f"variance of the latents, {name}",
                Collapse.COVARIANCE,
                spiked,
                partial(trained, spiked, 1.0),
            )
        )
    return made


def _own_past() -> list[Specimen]:
    made = []
    for keep, beta in ((1.0, 1.0), (0.9, 1.3)):
        own_past = AutoregressiveVAE(jnp.asarray(walk(40, 10, keep, seed=0)), 2, beta)
        made.append(
            Specimen(
                f"autoregressive, x_r = {keep:g} x_(r-1) + e_r",
                Collapse.FLEXIBLE,
                own_past,
                partial(trained, own_past, 0.03),
            )
        )
    return made


def _local(X: np.ndarray) -> list[Specimen]:
    soft = vae.threshold_vae(X, 3, 0.05)

    def one_of_three() -> Params:
        one = soft.restrict(trained(soft, 1.0), jnp.array([True, False, False]))
        return descended(soft, one)

    return [
        Specimen("soft threshold, at collapse", Collapse.LOCAL, soft, soft.collapsed),
        Specimen("soft threshold, start 0.003", Collapse.LOCAL, soft, partial(trained, soft, 3e-3)),
        Specimen("soft threshold, 1 of 3 latents", Collapse.LOCAL, soft, one_of_three),
    ]


def networks() -> list[Specimen]:
    """The same with multilayer perceptrons, one hidden layer of 16 ReLUs in encoder and decoder,
    and the paper's trap.
    """
    trap = vae.threshold_vae(data.antipodal(d=2), 1, 0.1)
    X = data.load("digits-4x4", limit=40)
    perceptrons = partial(network.mlp_vae, depth=1, width=16)
    few = network.antithetic(jax.random.key(0), 2, 16)
    healthy = perceptrons(X, 2, nodes=few)
    plenty = perceptrons(_of_rank_two(), 4, nodes=network.gauss_hermite(4, 2), depth=0)
    wide = perceptrons(X, 2, nodes=few, gamma=1.0)
    deep = perceptrons(X, 2, nodes=few, depth=12, width=6)
    return [
        Specimen("soft threshold, antipodal data", Collapse.LOCAL, trap, trap.collapsed),
        Specimen("perceptrons, trained", Collapse.NONE, healthy, partial(trained, healthy, 1.0)),
        Specimen(
            "affine networks, 4 latents for rank 2",
            Collapse.SUPERFLUOUS,
            plenty,
            partial(trained, plenty, 1.0),
        ),
        Specimen("perceptrons, gamma = 1", Collapse.GAMMA, wide, partial(trained, wide, 1.0)),
        Specimen("perceptrons, at collapse", Collapse.LOCAL, healthy, healthy.collapsed),
        Specimen("perceptrons, 12 layers", Collapse.LOCAL, deep, partial(trained, deep, 1.0)),
    ]


def _of_rank_two() -> np.ndarray:
    return data.gaussian(40, [4.0, 2.0] + [0.0] * 14, seed=0)


def _optimum(X: np.ndarray, latent: int, gamma: float | None = None) -> Params:
    """The affine model's global optimum."""
    return min(theory.stationary_points(X, latent, gamma), key=lambda e: e.loss).params


def trained(problem: Problem, scale: float) -> Params:
    """Where a run from a random start ends."""
    return descended(problem, _start(problem, jnp.asarray(scale)))


@jax.jit
def _start(problem: Problem, scale: Array) -> Params:
    return problem.init(jax.random.key(0), scale)


@jax.jit
def descended(problem: Problem, start: Params) -> Params:
    return ADAM(problem.loss, start).params


# What a diagnosis says of them


class Row(NamedTuple):
    """What a model is, and what is said of it.

    name: the specimen's.
    kind: the specimen's.
    problem: of the problem, where other starts can be tried.
    exported: of what an .npz with all keys holds.
    required: of what an .npz with the required ones and beta holds.
    """

    name: str
    kind: Collapse
    problem: Collapse
    exported: Collapse
    required: Collapse

    @property
    def right(self) -> bool:
        """The problem's diagnosis is right, and no other one is wrong; undecided is not."""
        honest = {self.kind, Collapse.UNDECIDED}
        return self.problem == self.kind and {self.exported, self.required} <= honest


def diagnosed(specimen: Specimen) -> Row:
    """All three diagnoses of a model."""
    params = specimen.make()
    tried = diagnose.collapse(specimen.problem, params, optimizer=ADAM)
    export = diagnose.exported(specimen.problem, params)._replace(affine=True)
    required = {name: getattr(export, name) for name in REQUIRED}
    optional = {name: getattr(export, name) for name in OPTIONAL}
    return Row(
        name=specimen.name,
        kind=specimen.kind,
        problem=tried.kind,
        exported=diagnose.arrays(**required, **optional).kind,
        required=diagnose.arrays(**required, beta=export.beta).kind,
    )


def table(rows: Sequence[Row]) -> str:
    """As it is printed, a line per model."""
    roman = dict(zip(Collapse, ("none", "(i)", "(ii)", "(iii)", "(iv)", "(v)", "?"), strict=True))
    head = f"{'model':40} {'made':6} {'problem':8} {'all keys':9} {'five keys'}"
    lines = [
        f"{row.name:40} {roman[row.kind]:6} {roman[row.problem]:8} {roman[row.exported]:9} "
        f"{roman[row.required]}"
        for row in rows
    ]
    return "\n".join([head, *lines])
