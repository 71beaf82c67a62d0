"""What do a Newton step, an inertia and the way to a stationary point cost?"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from benchmarks.clock import Contender, finished, measured
from benchmarks.energies import digits
from vaesurface import bordered, curvature, data, stationary, vae

__all__ = ["inertia", "refinement", "rows", "step"]

OURS = "vaesurface"
SMALL_GRADIENT = 1e-10


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    yield step()
    yield inertia()
    yield refinement()


def step() -> dict[str, Any]:
    """A Newton step with inertia by the structure of the Hessian, and by the matrix."""
    problem, params, _ = digits(200)
    newton = partial(bordered.steps, problem.structure)

    def dense() -> Callable[[], Any]:
        program = jax.jit(partial(curvature.steps, problem.loss)).lower(params).compile()
        return finished(program, params)

    p = ravel_pytree(params)[0].size
    gradient = jax.jit(jax.grad(problem.loss))
    counts = jax.tree.leaves(newton(params).inertia)
    contenders = [
        Contender("gradient", lambda: finished(gradient, params)),
        Contender("bordered", lambda: finished(newton, params)),
        Contender(
            "dense",
            dense,
            lambda got: float(jax.tree.leaves(got.inertia) != counts),
            compiles=False,
        ),
    ]
    title = f"Newton step with inertia, n = 200, d = 64, k = 8, p = {p}"
    return measured(title, contenders, unit="bordered", budget=8.0)


def inertia() -> dict[str, Any]:
    """The signs of all eigenvalues, in gradients."""
    problem, params, _ = digits(1797)
    gradient = jax.jit(jax.grad(problem.loss))
    p = ravel_pytree(params)[0].size
    contenders = [
        Contender("gradient", lambda: finished(gradient, params)),
        Contender("bordered", lambda: finished(bordered.inertia, problem, params)),
    ]
    title = f"inertia, n = 1797, d = 64, k = 8, p = {p}"
    return measured(title, contenders, unit="gradient")


def refinement() -> dict[str, Any]:
    """From a random start to a stationary point."""
    problem = vae.threshold_vae(data.load("digits"), 2, 0.1)
    start = problem.init(jax.random.key(0), 0.1)
    flat, unravel = ravel_pytree(start)
    gradient = jax.jit(jax.value_and_grad(lambda w: problem.loss(unravel(w))))

    def told(steps: int, what: str, w: Any) -> str:
        value, slope = gradient(w)
        size = np.linalg.norm(slope)
        return f"{steps} {what}, gradient {size:.0e}, energy {float(value):.6f}"

    contenders = [
        Contender(
            OURS,
            lambda: finished(stationary.refine, problem, start),
            note=lambda got: told(int(got.steps), "steps", ravel_pytree(got.params)[0]),
        ),
        Contender(
            "SciPy's L-BFGS-B on our gradients",
            partial(by_scipy, gradient, np.asarray(flat)),
            note=lambda got: told(got.nfev, "gradients", got.x),
            compiles=False,
        ),
    ]
    title = f"to a stationary point from a random start, digits, n = 1797, k = 2, p = {flat.size}"
    return measured(title, contenders, unit=OURS, budget=40.0)


def by_scipy(gradient: Callable, start: np.ndarray) -> Callable[[], Any]:
    """To a gradient of 1e-10, or where it stops."""

    def value_and_gradient(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = gradient(w)
        return float(value), np.asarray(slope)

    value_and_gradient(start)  # compiled
    options = {"gtol": SMALL_GRADIENT, "ftol": 0.0, "maxiter": 100_000, "maxfun": 100_000}
    return partial(
        minimize, value_and_gradient, start, jac=True, method="L-BFGS-B", options=options
    )
