"""What is the energy of a VAE with another likelihood than the Gaussian?

The decoder says y + b with y = f_alpha(W z), of which `vae.likelihood` makes a term per coordinate;
the posterior of each datum is a Gaussian with its own mean and standard deviations. In twice nats,
the constants dropped that depend on x alone: none of a Bernoulli or a categorical, 2 log x! of a
Poisson likelihood. For an affine decoder the expectation is in closed form (that of log(1 + e^u) by
a rule right to 1e-15 whatever u is, `activations.log1p_exp`); else it is by quadrature, over one
dimension (for most members to 1e-12 however wide u is: docs/family.md) or, of any categorical
likelihood, over the latents or the classes' differences, at most three, where it is coarser.
`rounding` tells how far off it is.

>>> X = jnp.array([[1.0, 1.0], [0.0, 0.0]])
>>> from vaesurface.vae import elementwise_vae
>>> problem = elementwise_vae(X, latent=1, likelihood="bernoulli")
>>> print(f"{problem.loss(problem.collapsed()):.6f}")  # four times log 2, and 1 for the posterior
3.772589
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface.activations import Activation, Identity, log1p_exp
from vaesurface.energy import VAEParams
from vaesurface.problem import Autoencoder, Parts, Problem, Symmetry, Theory
from vaesurface.vae import corners
from vaesurface.vae.bent import BentVAE
from vaesurface.vae.elementwise import NEGLIGIBLE, ElementwiseVAE
from vaesurface.vae.likelihood import FAINT, Likelihood
from vaesurface.vae.several import expected, grid, logsumexp

__all__ = ["CategoricalVAE", "NaturalVAE"]

# Of a categorical likelihood's quadrature, per dimension where it has 1, 2, 3; and of a finer one.
NODES, FINER = (96, 80, 48), (192, 112, 64)
# The same over latents of an affine decoder, where a node takes no more than a logarithm.
CHEAP, CHEAP_FINER = (96, 80, 72), (192, 112, 96)
ALIKE = 1e-14  # relative difference of weights that are equal but for rounding


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta", "alpha", "noise"],
    meta_fields=["latent", "bend", "posterior"],
)
@dataclass(frozen=True, eq=False)
class NaturalVAE(BentVAE):
    """`BentVAE` of another likelihood; `elementwise_vae` makes one and checks what goes in. gamma
    is 1 and has no meaning.

    noise: the likelihood.
    """

    noise: Likelihood

    @property
    def likelihood(self) -> str:
        """Its name."""
        return self.noise.name

    @property
    def exact(self) -> bool:
        """Whether the energy is in closed form."""
        return isinstance(self.bend, Identity)

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, ...],
        x: Array,
    ) -> Array:
        """2 (E A(y + b) - x E (y + b)) of one coordinate of one datum."""
        weight, bias = row
        m, v = self.gaussian_of(weight, *local)
        normalizer = self.noise.expected(self.bend, m, v, self.alpha, bias, x)
        return 2.0 * (normalizer - x * (self.bend.mean(m, v, self.alpha) + bias))

    def cumulant(self, u: Array, x: Array) -> Array:
        """A(u) (...), summed over coordinates, of what the decoder says (..., d)."""
        return jnp.sum(self.noise.cumulant(u, x), axis=-1)

    def answer(self, u: Array) -> Array:
        """The decoder's mean (..., d)."""
        return self.noise.answer(u)

    def link(self, mean: Array) -> Array:
        """The inverse of `answer`, finite where a mean is at the end of its range."""
        return self.noise.link(mean)

    def init(self, key: Array, scale: ArrayLike = 0.1) -> VAEParams:
        """As `ElementwiseVAE.init`, but for entries of W that are scale times standard normal."""
        start = ElementwiseVAE.init(self, key, scale)
        return start._replace(weight=start.weight / jnp.sqrt(self.gammabar))

    def size(self, params: VAEParams) -> VAEParams:
        """max(1, |theta|): what the decoder says has no unit."""
        return Problem.size(self, params)

    def unit(self) -> Array:
        """One."""
        return jnp.ones(())

    def leaning(self) -> corners.Leaning:
        """Of a coordinate's term on what the decoder says, at collapse."""
        bias = jnp.broadcast_to(self.link(self.center), self.X.shape)
        second = jax.grad(jax.grad(self.noise.cumulant))
        stiffness = jnp.vectorize(second)(bias, self.X)
        pull = jnp.broadcast_to(self.noise.pull(self.center), self.X.shape)
        return corners.Leaning(
            left=self.X - self.center[None], stiffness=stiffness, bend=pull, cubic=1.0
        )

    def autoencoder(self, params: VAEParams) -> Autoencoder:
        """As `ElementwiseVAE.autoencoder`; its expected negative log-likelihood is exact."""
        self.posterior.require_independent()
        return Autoencoder(
            data=self.X,
            mean=params.mean,
            log_std=params.log_std,
            decode=partial(self.decode, params),
            gamma=jnp.asarray(self.gamma),
            learned=False,
            beta=self.beta,
            error=partial(self.error, params),
            likelihood=self.likelihood,
            classes=self.classes,
        )

    @property
    def classes(self) -> int:
        """Of a group of coordinates."""
        return 1

    def decode(self, params: VAEParams, z: Array) -> Array:
        """Latents (..., k) to the decoder's mean (..., d)."""
        return self.answer(self._said(params, z))

    def _said(self, params: VAEParams, z: Array) -> Array:
        return ElementwiseVAE.decode(self, params, z)

    def error(self, params: VAEParams, mean: Array, log_std: Array, x: Array) -> Array:
        """E -log p(x | z) of one datum (d,), nats, for z of that mean and log_std (k,)."""
        rows = self.split(params._replace(mean=mean[None], log_std=log_std[None])).rows
        at = jax.vmap(self.term, (0, None, None, 0))
        return 0.5 * jnp.sum(at(rows, None, (mean, log_std), x.reshape(self.data.shape[1:])))

    def drawn(self, params: VAEParams, x: Array, z: Array) -> Array:
        """As `ElementwiseVAE.drawn`."""
        u = self._said(params, z)
        terms = 2.0 * (self.cumulant(u, x[None]) - jnp.sum(x[None] * u, axis=-1))
        return jnp.mean(jnp.mean(terms, axis=0) + self.penalties(params))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta", "alpha", "noise"],
    meta_fields=["latent", "bend", "posterior", "per_dimension", "size_of_group"],
)
@dataclass(frozen=True, eq=False)
class CategoricalVAE(NaturalVAE):
    """The same where coordinates are groups of classes, each with a softmax.

    size_of_group: the number of classes.
    per_dimension: nodes of the quadrature; None: as many as its dimensions allow.
    """

    size_of_group: int
    per_dimension: int | None = None

    @property
    def classes(self) -> int:
        """Of a group of coordinates."""
        return self.size_of_group

    @property
    def data(self) -> Array:
        """(n, groups, classes)."""
        return self.X.reshape(len(self.X), -1, self.classes)

    def split(self, params: VAEParams) -> Parts:
        """Groups of rows of the decoder, and posteriors."""
        rows = (
            params.weight.reshape(-1, self.classes, self.latent),
            params.bias.reshape(-1, self.classes),
        )
        return ElementwiseVAE.split(self, params)._replace(rows=rows)

    def join(self, parts: Parts) -> VAEParams:
        """The inverse of `split`."""
        weight, bias = parts.rows
        rows = weight.reshape(-1, self.latent), bias.reshape(-1)
        return ElementwiseVAE.join(self, parts._replace(rows=rows))

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, ...],
        x: Array,
    ) -> Array:
        """2 (E log sum_c exp u_c - x.E u) of one group (classes,) of one datum, u = y + b."""
        weight, bias = row
        m, v = jax.vmap(lambda one: self.gaussian_of(one, *local))(weight)
        says = self.bend.mean(m, v, self.alpha) + bias
        return 2.0 * (self._normalizer(weight, bias, local) * jnp.sum(x) - jnp.dot(x, says))

    @property
    def _over_latents(self) -> bool:
        """Whether the quadrature is over latents, and not over what they do to the classes."""
        return self.latent <= self._dimensions

    @property
    def _dimensions(self) -> int:
        """Those of what latents do to the classes: of an affine decoder differences count."""
        return self.classes - isinstance(self.bend, Identity)

    def _normalizer(self, weight: Array, bias: Array, local: tuple[Array, ...]) -> Array:
        """E log sum_c exp u_c."""
        mean, *spread = local
        scaled = self.posterior.scaled(weight, *spread)
        center = weight @ mean
        if not isinstance(self.bend, Identity):
            if not self._over_latents:
                rule = expected(_LogSumExp(self.bend), self.nodes)
                return rule(center, scaled @ scaled.T, bias, self.alpha)
            points, shares = grid(self.nodes, self.latent)
            # A product with points that are the same for all data, and so in the derivatives.
            u = center[None] + points @ scaled.T
            return jnp.dot(shares, jax.nn.logsumexp(self.activation(u) + bias[None], axis=1))
        center = center + bias
        if self._factors and not self.exact:
            return logsumexp(center, scaled, self.nodes)
        # Of u less that of the last class.
        first, beside = center[:-1] - center[-1], scaled[:-1] - scaled[-1:]
        if self.exact:
            return center[-1] + log1p_exp(first, jnp.sum(beside**2, axis=1))[0]
        return center[-1] + expected(_logsumexp_beside, self.nodes)(first, beside @ beside.T)

    @property
    def exact(self) -> bool:
        """Of an affine decoder's two classes, as of a Bernoulli likelihood."""
        return isinstance(self.bend, Identity) and self.classes == 2

    @property
    def nodes(self) -> int:
        """Of the quadrature, per dimension."""
        if self.per_dimension is not None:
            return self.per_dimension
        if self._quadrature > 1:
            return (CHEAP if self._factors else NODES)[self._quadrature - 1]
        # Nodes are not those of asinh u here: what takes more of them takes twice as many.
        return NODES[0] if self.bend.nodes <= NODES[0] else 2 * self.bend.nodes

    @property
    def finer(self) -> int:
        """As many per dimension as memory allows."""
        if self._quadrature == 1:
            return 2 * self.nodes
        return (CHEAP_FINER if self._factors else FINER)[self._quadrature - 1]

    @property
    def points(self) -> int:
        """Of the quadrature: what a group's term holds, by that of one dimension."""
        return max(1, self.nodes**self._quadrature // NODES[0])

    @property
    def _quadrature(self) -> int:
        """Its dimensions."""
        return min(self.latent, self._dimensions)

    @property
    def _factors(self) -> bool:
        """Whether an exponential of what the decoder says is a product over latents."""
        return isinstance(self.bend, Identity) and self._over_latents

    def of_nodes(self, nodes: int) -> "CategoricalVAE":
        """The same with another number of them."""
        return replace(self, per_dimension=nodes)

    def theory(self, params: VAEParams, uncertainty: ArrayLike = 0.0) -> Theory:
        """Whether it is collapsed."""
        known = self._known(params)
        descent = jax.tree.map(jnp.zeros_like, params)
        return known._replace(family=self.family(params), descent=descent)

    def family(self, params: VAEParams) -> Array:
        """At collapse, of a bent decoder: what is added to the weights of all classes of a group
        moves all logits alike. (Of an affine one that is a symmetry.)
        """
        groups = 0 if isinstance(self.bend, Identity) else self.X.shape[1] // self.classes
        return jnp.where(self._known(params).collapsed, groups * self.latent, 0)

    def settle(self, params: VAEParams) -> VAEParams:
        """Groups whose rows' differences are without effect at their mean."""
        alike = self._alike(params)
        _, absolute = corners.effects(self, params, params._replace(weight=alike))
        gone = jnp.repeat(absolute < NEGLIGIBLE, self.classes)
        return params._replace(weight=jnp.where(gone[:, None], alike, params.weight))

    def _alike(self, params: VAEParams) -> Array:
        """Each row of the weight the mean of its group's."""
        means = params.weight.reshape(-1, self.classes, self.latent).mean(axis=1)
        return jnp.repeat(means, self.classes, axis=0)

    def _known(self, params: VAEParams) -> Theory:
        """As `corners.plain`; a row is dead if all of its group are the same to rounding, for that
        moves all logits alike.
        """
        left = params.weight - self._alike(params)
        dead = jnp.abs(left) <= ALIKE * jnp.abs(params.weight)
        return corners.plain(self, params._replace(weight=jnp.where(dead, 0.0, left)))

    def cumulant(self, u: Array, x: Array) -> Array:
        """A(u) (...), summed over groups, of what the decoder says (..., d)."""
        return jnp.sum(jax.nn.logsumexp(self._grouped(u), axis=-1), axis=-1)

    def answer(self, u: Array) -> Array:
        """Probabilities (..., d)."""
        return jax.nn.softmax(self._grouped(u), axis=-1).reshape(u.shape)

    def link(self, mean: Array) -> Array:
        """Logarithms of the probabilities."""
        return jnp.log(jnp.maximum(mean, FAINT))

    def _grouped(self, u: Array) -> Array:
        return u.reshape(*u.shape[:-1], -1, self.classes)

    @property
    def symmetry(self) -> Symmetry:
        """What is added to all logits of a group changes nothing: a number and, of an affine
        decoder, one per latent. Beside the posterior's.
        """
        groups = self.X.shape[1] // self.classes
        columns = self.latent if isinstance(self.bend, Identity) else 0

        def move(params: VAEParams, t: Array) -> VAEParams:
            shift = jnp.repeat(t.reshape(groups, columns + 1), self.classes, axis=0)
            weight = params.weight + shift[:, 1:] if columns else params.weight
            return params._replace(weight=weight, bias=params.bias + shift[:, 0])

        own = Symmetry(size=groups * (columns + 1), move=move)
        return own.beside(self.posterior.symmetry(len(self.X), self.latent))


def _logsumexp_beside(u: Array) -> Array:
    """log(1 + sum_c exp u_c) of differences to the last class."""
    return jax.nn.logsumexp(jnp.append(u, 0.0))


@dataclass(frozen=True)
class _LogSumExp:
    """log sum_c exp(f_alpha(u_c) + b_c)."""

    bend: Activation

    def __call__(self, u: Array, bias: Array, alpha: Array) -> Array:
        return jax.nn.logsumexp(self.bend.value(u, alpha) + bias)
