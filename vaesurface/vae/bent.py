"""What is the energy of a Gaussian VAE whose decoder is bent by any activation?

The decoder is f_alpha(W z) + b with f_alpha out of `vaesurface.activations`; gamma is one for all
features, or one for each.

>>> from vaesurface import activations, data
>>> problem = BentVAE(
...     X=jnp.asarray(data.antipodal(d=2)),
...     latent=1,
...     gamma=None,
...     beta=1.0,
...     alpha=0.5,
...     bend=activations.named("relu"),
... )
>>> print(f"{problem.loss(problem.collapsed()):.3f}")
3.000
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.activations import Activation
from vaesurface.energy import VAEParams
from vaesurface.problem import Autoencoder, Parts, Problem, Theory
from vaesurface.vae import corners
from vaesurface.vae.elementwise import ElementwiseVAE

__all__ = ["BentVAE", "PerFeatureVAE"]

# A quadrature's error is at most so many times its distance from a finer one, of as many times the
# nodes, whose own error is at most half as large.
FINER, CERTAIN = 2, 2


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta", "alpha"],
    meta_fields=["latent", "bend", "posterior"],
)
@dataclass(frozen=True, eq=False)
class BentVAE(ElementwiseVAE):
    """`ElementwiseVAE` of an activation; `elementwise_vae` makes one and checks what goes in.

    alpha: (), by how much the decoder is bent.
    bend: by what.
    """

    alpha: Array
    bend: Activation

    def activation(self, u: Array) -> Array:
        """f_alpha(u)."""
        return self.bend.value(u, self.alpha)

    def moments(self, mean: Array, variance: Array) -> energy.Moments:
        """In closed form, or by quadrature."""
        return self.bend.moments(mean, variance, self.alpha)

    @property
    def exact(self) -> bool:
        """Whether the energy is in closed form."""
        return self.bend.exact

    @jax.jit
    def rounding(self, params: VAEParams) -> Array:
        """Of the loss, and what quadrature is off by: beside a finer rule."""
        own = Problem.rounding(self, params)
        if self.exact:
            return own
        finer = self.of_nodes(self.finer)
        return own + CERTAIN * jnp.abs(finer.loss(params) - self.loss(params))

    @property
    def nodes(self) -> int:
        """Of the quadrature, where one is needed; per dimension."""
        return self.bend.nodes

    @property
    def finer(self) -> int:
        """As many nodes as a rule has whose error is far smaller."""
        return FINER * self.nodes

    def of_nodes(self, nodes: int) -> "BentVAE":
        """The same with another number of them."""
        return replace(self, bend=replace(self.bend, nodes=nodes))

    def collapsed(self) -> VAEParams:
        """As `ElementwiseVAE.collapsed`, with what the activation says at 0 taken off the bias."""
        says = self.activation(jnp.zeros(()))
        return ElementwiseVAE.collapsed(self)._replace(bias=self.link(self.center) - says)

    def link(self, mean: Array) -> Array:
        """What the decoder says where that is the mean: the mean itself."""
        return mean

    def leaning(self) -> corners.Leaning:
        """Of a coordinate's term on what the decoder says, at collapse: 1 / gamma."""
        gamma = self.gamma_of(self.collapsed())
        share = jnp.broadcast_to(1.0 / gamma, self.X.shape)
        return corners.Leaning(
            left=self.X - self.center[None], stiffness=share, bend=share, cubic=0.0
        )

    def unit(self) -> Array:
        """Of what the decoder says, () or (d,): the data's deviation."""
        return jnp.sqrt(self.gammabar)

    def settle(self, params: VAEParams) -> VAEParams:
        """Rows without effect at zero."""
        return corners.settled(self, params)

    def theory(self, params: VAEParams, uncertainty: ArrayLike = 0.0) -> Theory:
        """What is known of collapse."""
        return corners.known(self, params)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta", "alpha"],
    meta_fields=["latent", "bend", "posterior"],
)
@dataclass(frozen=True, eq=False)
class PerFeatureVAE(BentVAE):
    """The same with a gamma for each feature: (d,), or learned, when `VAEParams.log_gamma` is
    (d,).
    """

    @property
    def data(self) -> Array:
        """(n, d), or (n, d, 2) with the gamma of the feature beside each number."""
        if self.gamma is None:
            return self.X
        return jnp.stack([self.X, jnp.broadcast_to(self.gamma, self.X.shape)], axis=-1)

    def term(
        self,
        row: tuple,
        log_gamma: Array | None,
        local: tuple[Array, ...],
        x: Array,
    ) -> Array:
        """E (x_r - y_r)^2 / gamma_r + log gamma_r of one coordinate of one datum."""
        if self.gamma is None:
            weight, bias, log_gamma = row
        else:
            (weight, bias), x, log_gamma = row, x[0], jnp.log(x[1])
        error = energy.expected_squared_error(x - bias, *self.reconstruction(weight, *local))
        return energy.gaussian(error, log_gamma)

    def split(self, params: VAEParams) -> Parts:
        """Rows of the decoder with their log gamma, posteriors."""
        parts = BentVAE.split(self, params)
        if self.gamma is not None:
            return parts
        return parts._replace(rows=(*parts.rows, params.log_gamma), shared=None)

    def join(self, parts: Parts) -> VAEParams:
        """The inverse of `split`."""
        if self.gamma is not None:
            return BentVAE.join(self, parts)
        *rows, log_gamma = parts.rows
        return BentVAE.join(self, parts._replace(rows=tuple(rows), shared=log_gamma))

    def collapsed(self) -> VAEParams:
        """As `ElementwiseVAE.collapsed`, each learned gamma at its feature's variance."""
        point = BentVAE.collapsed(self)
        if self.gamma is not None:
            return point
        variances = jnp.mean((self.X - self.center[None]) ** 2, axis=0)
        return point._replace(log_gamma=jnp.log(variances))

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """As `ElementwiseVAE.latents`."""
        odd, even, rest = BentVAE.latents(self, params._replace(log_gamma=None))
        gamma = jnp.zeros(0) if params.log_gamma is None else params.log_gamma
        return odd, even, jnp.concatenate([rest, gamma])

    def autoencoder(self, params: VAEParams) -> Autoencoder:
        """As `ElementwiseVAE.autoencoder`, gamma (n, d)."""
        gamma = jnp.broadcast_to(self.gamma_of(params), self.X.shape)
        return BentVAE.autoencoder(self, params)._replace(gamma=gamma)
