"""What does the exact energy cost, in units of one exp per datum and coordinate?"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from benchmarks.clock import Contender, finished, measured, off
from vaesurface import curvature, data, energy, vae

__all__ = ["gradients", "products", "rows", "textbook"]

KEY = jax.random.key(0)
LATENT, ALPHA = 8, 0.1
SIZE = "d = 64, k = 8"
OURS = "vaesurface"


class Subject(NamedTuple):
    """The energy of n of the digits, a point, and a direction there."""

    problem: Any
    params: Any
    direction: Any


def digits(n: int) -> Subject:
    """n of the digits at a random point."""
    problem = vae.threshold_vae(data.load("digits", limit=n), LATENT, ALPHA)
    params = problem.init(KEY, 1.0)
    noise = np.random.default_rng(0)
    return Subject(problem, params, jax.tree.map(lambda x: noise.normal(size=x.shape), params))


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    for n in (200, 1797):
        yield gradients(n, peers)
    for n in (200, 900, 1797):
        yield products(n, peers)
    yield textbook()


def gradients(n: int, peers: bool) -> dict[str, Any]:
    """Energy with gradient in units of one exp of the data."""
    subject = digits(n)
    gradient = jax.jit(jax.value_and_grad(subject.problem.loss))
    contenders = [
        Contender("exp", lambda: finished(jax.jit(jnp.exp), -subject.problem.X)),
        Contender(OURS, lambda: finished(gradient, subject.params)),
    ]
    if peers:
        from benchmarks import torch_energy

        error = partial(off, expected=gradient(subject.params))
        contenders.append(Contender("PyTorch", partial(torch_energy.gradient, subject), error))
        if n > 1000:
            compiled = partial(torch_energy.gradient, subject, compiled=True)
            contenders.append(Contender("PyTorch, torch.compile", compiled, error))
    return measured(f"energy with gradient, n = {n}, {SIZE}", contenders, unit="exp")


def products(n: int, peers: bool) -> dict[str, Any]:
    """A product with the Hessian in units of one of our gradients."""
    subject = digits(n)
    loss, params, direction = subject.problem.loss, subject.params, subject.direction
    gradient = jax.jit(jax.value_and_grad(loss))
    contenders = [
        Contender("gradient", lambda: finished(gradient, params)),
        Contender(OURS, lambda: finished(curvature.hvp, loss, params, direction)),
    ]
    if peers:
        from benchmarks import torch_energy

        error = partial(off, expected=curvature.hvp(loss, params, direction))
        contenders += [
            Contender("PyTorch's gradient", partial(torch_energy.gradient, subject)),
            Contender(
                "PyTorch, differentiated twice", partial(torch_energy.product, subject), error
            ),
        ]
    return measured(f"Hessian product, n = {n}, {SIZE}", contenders, unit="gradient")


def textbook() -> dict[str, Any]:
    """A Hessian product of the moments by our formulas and by the usual ones."""
    m, v = jax.random.normal(KEY, (20_000,)), jax.random.uniform(KEY, (20_000,)) + 0.1
    ours, usual = (jax.jit(curvatures(f)) for f in (energy.soft_threshold, moments))
    contenders = [
        Contender(OURS, lambda: finished(ours, m, v)),
        Contender(
            "textbook formulas in JAX",
            lambda: finished(usual, m, v),
            partial(off, expected=ours(m, v)),
        ),
    ]
    return measured("Hessian product of 20,000 moments", contenders, unit=OURS)


def moments(m: Any, v: Any, alpha: Any) -> tuple[Any, Any]:
    """Mean and variance by the usual formulas, differentiated automatically; wrong at v = 0 and far
    in the tails.
    """
    s = jnp.sqrt(v)
    a, b = (alpha - m) / s, (alpha + m) / s

    def first(x: Any) -> Any:
        return norm.pdf(x) - x * norm.sf(x)

    def second(x: Any) -> Any:
        return (1 + x * x) * norm.sf(x) - x * norm.pdf(x)

    mean = s * (first(a) - first(b))
    return mean, v * (second(a) + second(b)) - mean**2


def curvatures(f: Any) -> Any:
    """Of the sum of both moments: its Hessian times the point itself."""

    def total(m: Any, v: Any) -> Any:
        return sum(jnp.sum(x) for x in f(m, v, ALPHA))

    return lambda m, v: jax.jvp(jax.grad(total, (0, 1)), (m, v), (m, v))
