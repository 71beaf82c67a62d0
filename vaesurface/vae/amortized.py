"""What is the energy where one affine encoder makes all posteriors?

`amortized_vae` takes a VAE whose posteriors are free and ties them:

    mean of datum i = A x_i + a,    log_std one and the same for all data

It is the same energy on a subspace of its parameters. One log_std for all data, and not one that is
affine in x: the best deviations of an affine decoder are the same for all data, and the best means
affine in x, so that such an encoder loses nothing at alpha = 0. There the minimum, the stationary
energies and the indices are those of free posteriors, since elimination of either kind leaves the
same function of the decoder. Elsewhere a minimum of this energy need be none of the free one.

>>> from vaesurface import data, vae
>>> free = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1)
>>> problem = amortized_vae(free)
>>> print(problem.loss(problem.collapsed()), problem.structure)
3.0 None
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface.energy import VAEParams
from vaesurface.glance import brief
from vaesurface.problem import Autoencoder, Deterministic, Problem, Theory
from vaesurface.refusal import shown
from vaesurface.vae.elementwise import ElementwiseVAE
from vaesurface.vae.posterior import TIED

__all__ = ["AmortizedParams", "AmortizedVAE", "amortized_vae"]


@brief()
class AmortizedParams(NamedTuple):
    """Parameters of a VAE with a linear map in the decoder and an affine encoder.

    weight: (d, k), the decoder's linear map.
    bias: (d,).
    log_gamma: (), or None where gamma is fixed.
    encoder: (k, d), A.
    offset: (k,), a.
    log_std: (k,), of all posteriors.
    """

    weight: Array
    bias: Array
    log_gamma: Array | None
    encoder: Array
    offset: Array
    log_std: Array


@partial(jax.tree_util.register_dataclass, data_fields=["vae"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class AmortizedVAE(Problem):
    """The energy of `vae` with posteriors by an affine encoder; parameters are `AmortizedParams`.

    Data couple through the encoder, so there is no per-datum structure: Hessians are dense.

    vae: with posteriors in whose place those of the encoder come.
    """

    vae: ElementwiseVAE

    @property
    def X(self) -> Array:
        """(n, d), the data."""
        return self.vae.X

    def free(self, params: AmortizedParams) -> VAEParams:
        """The posteriors that the encoder makes, as parameters of `vae`."""
        mean = self.X @ params.encoder.T + params.offset[None]
        log_std = jnp.broadcast_to(params.log_std[None], mean.shape)
        return VAEParams(params.weight, params.bias, params.log_gamma, mean, log_std)

    def fitted(self, params: VAEParams) -> AmortizedParams:
        """The encoder nearest to free posteriors, by least squares: theirs, if an encoder made
        them.
        """
        center = self.vae.center
        encoder = jnp.linalg.lstsq(self.X - center[None], params.mean)[0].T
        return AmortizedParams(
            weight=params.weight,
            bias=params.bias,
            log_gamma=params.log_gamma,
            encoder=encoder,
            offset=params.mean.mean(axis=0) - encoder @ center,
            log_std=params.log_std.mean(axis=0),
        )

    @jax.jit
    def loss(self, params: AmortizedParams) -> Array:
        """The energy of `vae`, twice nats per datum."""
        return self.vae.loss(self.free(params))

    def _encoded(self, params: VAEParams, encoder: Array) -> AmortizedParams:
        """With means encoder (x - the data's mean) and the prior's deviations."""
        return AmortizedParams(
            weight=params.weight,
            bias=params.bias,
            log_gamma=params.log_gamma,
            encoder=encoder,
            offset=-encoder @ self.vae.center,
            log_std=jnp.zeros(len(encoder), encoder.dtype),
        )

    def collapsed(self) -> AmortizedParams:
        """As of `vae`, A = 0 and a = 0."""
        zero = jnp.zeros((self.vae.latent, self.X.shape[1]), self.X.dtype)
        return self._encoded(self.vae.collapsed(), zero)

    def init(self, key: Array, scale: ArrayLike = 0.1) -> AmortizedParams:
        """That of `vae`, whose random encoder is linear."""
        return self._encoded(self.vae.init(key, scale), self.vae.encoder(key, scale).T)

    def information(self, params: AmortizedParams) -> Array:
        """(k,), twice the KL divergence per latent, mean over data."""
        return self.vae.information(self.free(params))

    def settle(self, params: AmortizedParams) -> AmortizedParams:
        """As `vae` settles its decoder."""
        settled = self.vae.settle(self.free(params))
        return params._replace(weight=settled.weight, bias=settled.bias)

    def has(self, name: str) -> bool:
        """Of theory there is what `vae` has."""
        return self.vae.has(name) if name == "theory" else Problem.has(self, name)

    def theory(self, params: AmortizedParams, uncertainty: ArrayLike = 0.0) -> Theory | None:
        """What of the free energy's holds on a subspace: where it is known to rise, and where it
        falls with the decoder alone. An infimum only where the decoder is affine.
        """
        # A mean moves by at most so many times as much as what makes it.
        reach = jnp.max(jnp.sum(jnp.abs(self.X), axis=1)) + 1.0
        wide = jnp.maximum(1.0, jnp.max(jnp.abs(params.encoder)))
        known = self.vae.theory(self.free(params), uncertainty * reach * wide)
        if known is None:
            return None

        def if_affine(x: ArrayLike) -> Array:
            return jnp.where(self.vae.affine, x, jnp.nan)

        return known._replace(
            descent=self.fitted(known.descent),
            form=self._form(known.form, params),
            minimum=if_affine(known.minimum),
            slope=if_affine(known.slope),
            push=if_affine(known.push),
            doubt=if_affine(known.doubt),
            family=self.family(params),
        )

    def _form(self, form: Array | None, params: AmortizedParams) -> Array | None:
        """A corner's leading form falls with means that are affine in x, so as far as that of
        `vae`; it is flat along `_blind` directions, too.
        """
        if form is None:
            return None
        flat = form[1] + self._blind
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        counts = jnp.stack([form[0], flat, size - form[0] - flat])
        return jnp.where(form[0] >= 0, counts, form)

    @property
    def _blind(self) -> Array:
        """Directions in which an encoder does what no datum shows, for the data do not vary there:
        A and a with A x_i + a = 0 for all of them.
        """
        Z = self.X - self.vae.center[None]
        return self.vae.latent * (Z.shape[1] - jnp.linalg.matrix_rank(Z))

    def family(self, params: AmortizedParams) -> Array:
        """That of `vae`, and `_blind` directions."""
        return self.vae.family(self.free(params)) + self._blind

    def size(self, params: AmortizedParams) -> AmortizedParams:
        """max(1, |theta|), and sqrt(gammabar) or its inverse in place of 1 for what has a unit."""
        decoder = self.vae.size(self.free(params))
        sizes = jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)
        per_unit = 1.0 / jnp.sqrt(self.vae.gammabar)
        return sizes._replace(
            weight=decoder.weight,
            bias=decoder.bias,
            encoder=jnp.maximum(per_unit, jnp.abs(params.encoder)),
        )

    def latents(self, params: AmortizedParams) -> tuple[Array, Array, Array]:
        """Weight and means are odd under a latent's sign flip, deviations even."""
        return self.vae.latents(self.free(params))

    def relabel(self, params: AmortizedParams, order: Array, sign: Array) -> AmortizedParams:
        """Latent j of the result is sign[j] times latent order[j]."""
        return params._replace(
            weight=params.weight[:, order] * sign[None],
            encoder=params.encoder[order] * sign[:, None],
            offset=params.offset[order] * sign,
            log_std=params.log_std[order],
        )

    def restrict(self, params: AmortizedParams, keep: Array) -> AmortizedParams:
        """Columns of latents outside keep (k,) at zero, their posteriors the prior."""
        return params._replace(
            weight=jnp.where(keep[None], params.weight, 0.0),
            encoder=jnp.where(keep[:, None], params.encoder, 0.0),
            offset=jnp.where(keep, params.offset, 0.0),
            log_std=jnp.where(keep, params.log_std, 0.0),
        )

    def autoencoder(self, params: AmortizedParams) -> Autoencoder:
        """The VAE that the parameters make."""
        return self.vae.autoencoder(self.free(params))

    def deterministic(self) -> Problem:
        """The autoencoder with this decoder and encoder."""
        return Deterministic(self)

    def reconstruction_error(self, params: AmortizedParams) -> Array:
        """Mean squared error per coordinate at the posterior means."""
        return self.vae.reconstruction_error(self.free(params))

    def sampled(
        self, params: AmortizedParams, key: Array, samples: int = 1, batch: int | None = None
    ) -> Array:
        """As of `vae`, the gradient through the encoder."""
        return self.vae.sampled(self.free(params), key, samples, batch)


def amortized_vae(vae: ElementwiseVAE) -> AmortizedVAE:
    """That VAE with posteriors by an affine encoder. Raises ValueError for what is no VAE with an
    elementwise decoder, and for posteriors that are not diagonal.
    """
    if not isinstance(vae, ElementwiseVAE):
        raise ValueError(
            f"expected a VAE with an elementwise decoder, got {shown(vae)}; take "
            "vae.threshold_vae or vae.elementwise_vae"
        )
    vae.posterior.require_independent()
    return AmortizedVAE(replace(vae, posterior=TIED))
