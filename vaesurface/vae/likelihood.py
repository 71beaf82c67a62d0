"""How likely is a datum, coordinate by coordinate, given what the decoder says?

A coordinate's term is 2 (E A(y + b) - x E (y + b)), in twice nats, with y = f(w.z) and A the
cumulant function; constants that depend on x alone are dropped. Of a Bernoulli and a Poisson
likelihood y + b is the natural parameter; the negative binomial takes the logarithm of its mean, so
that A depends on x:

    A(u) = (x + r) log(1 + e^(u - log r)),    variance = mean + mean^2 / r

>>> import jax.numpy as jnp
>>> one = likelihood("negative binomial", dispersion=2.0)
>>> print(one.answer(one.link(jnp.array(3.0))), one.pull(jnp.array(3.0)))  # 3 / (3 + 9 / 2)
3.0 0.4
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface.activations import Activation, Identity, log1p_exp

__all__ = [
    "Bernoulli",
    "Categorical",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "likelihood",
    "softplus",
]

# Mean of a coordinate that is constant, or of a class that does not occur: its natural parameter
# is infinite, and from here on its gradient is below rounding.
FAINT = 1e-15
HIGHEST = 700.0  # exponent that float64 has


@jax.custom_jvp
def softplus(u: Array) -> Array:
    """log(1 + e^u), whose derivatives are those of the sigmoid: nowhere kinked, and cheap."""
    return jnp.logaddexp(u, 0.0)


@softplus.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (du,) = primals, tangents
    return softplus(u), jax.lax.logistic(u) * du


def _softplus_from(y: Array, shift: Array) -> Array:
    return softplus(y + shift)


def _expected_softplus(
    activation: Activation, m: Array, v: Array, alpha: Array, shift: Array
) -> Array:
    """E log(1 + e^(f(u) + shift))."""
    if isinstance(activation, Identity):
        return log1p_exp(m + shift, v)
    return activation.expected(_softplus_from, m, v, alpha, shift)


@dataclass(frozen=True)
class _Exponential:
    """exp(y + shift), finite everywhere, and how fast it grows."""

    tilt: float = 1.0

    def __call__(self, y: Array, shift: Array) -> Array:
        # Where there is no mass, as beyond a far cut, nothing infinite is multiplied by it.
        return jnp.exp(jnp.minimum(y + shift, HIGHEST))


class Likelihood:
    """Of one coordinate; methods are elementwise."""

    name: str

    def cumulant(self, u: Array, x: Array) -> Array:
        """A(u)."""
        raise NotImplementedError("expected a likelihood, got none; write its method cumulant")

    def expected(
        self, activation: Activation, m: Array, v: Array, alpha: Array, bias: Array, x: Array
    ) -> Array:
        """E A(f(u) + b), u ~ N(m, v)."""
        raise NotImplementedError("expected a likelihood, got none; write its method expected")

    def answer(self, u: Array) -> Array:
        """The mean of x where the decoder says u."""
        return jnp.exp(u)

    def link(self, mean: Array) -> Array:
        """The inverse of `answer`, finite where a mean is at the end of its range."""
        return jnp.log(jnp.maximum(mean, FAINT))

    def pull(self, mean: Array) -> Array:
        """d mean / d u over the variance of x: 1 where u is the natural parameter."""
        return jnp.ones_like(mean)


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """x in [0, 1], grey values too; u = log(p / (1 - p))."""

    name = "bernoulli"

    def cumulant(self, u: Array, x: Array) -> Array:
        """log(1 + e^u)."""
        return softplus(u)

    def expected(
        self, activation: Activation, m: Array, v: Array, alpha: Array, bias: Array, x: Array
    ) -> Array:
        """By quadrature."""
        return _expected_softplus(activation, m, v, alpha, bias)

    def answer(self, u: Array) -> Array:
        """The probability."""
        return jax.nn.sigmoid(u)

    def link(self, mean: Array) -> Array:
        """The logit."""
        below = jnp.log(jnp.maximum(mean, FAINT))
        return below - jnp.log(jnp.maximum(1.0 - mean, FAINT))


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
@dataclass(frozen=True)
class Poisson(Likelihood):
    """x >= 0; u is the logarithm of the rate."""

    name = "poisson"

    def cumulant(self, u: Array, x: Array) -> Array:
        """e^u."""
        return jnp.exp(u)

    def expected(
        self, activation: Activation, m: Array, v: Array, alpha: Array, bias: Array, x: Array
    ) -> Array:
        """In closed form for an affine decoder, else by quadrature."""
        if isinstance(activation, Identity):
            return jnp.exp(m + bias + 0.5 * v)
        return activation.expected(_Exponential(), m, v, alpha, bias)


@partial(jax.tree_util.register_dataclass, data_fields=["dispersion"], meta_fields=[])
@dataclass(frozen=True)
class NegativeBinomial(Likelihood):
    """x >= 0; u is the logarithm of the mean.

    dispersion: r > 0, (): the variance is mean + mean^2 / r.
    """

    dispersion: Array

    name = "negative binomial"

    def cumulant(self, u: Array, x: Array) -> Array:
        """(x + r) log(1 + e^u / r)."""
        return (x + self.dispersion) * softplus(u - jnp.log(self.dispersion))

    def expected(
        self, activation: Activation, m: Array, v: Array, alpha: Array, bias: Array, x: Array
    ) -> Array:
        """By quadrature."""
        shift = bias - jnp.log(self.dispersion)
        return (x + self.dispersion) * _expected_softplus(activation, m, v, alpha, shift)

    def pull(self, mean: Array) -> Array:
        """r / (r + mean)."""
        return self.dispersion / (self.dispersion + mean)


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
@dataclass(frozen=True)
class Categorical(Likelihood):
    """Of a group of classes, all of whose terms `CategoricalVAE` takes together."""

    name = "categorical"


def likelihood(name: str, dispersion: Any = None) -> Likelihood:
    """One by its name."""
    if name == NegativeBinomial.name:
        return NegativeBinomial(dispersion=jnp.asarray(dispersion, float))
    return {one.name: one for one in (Bernoulli(), Poisson(), Categorical())}[name]
