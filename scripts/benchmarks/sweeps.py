"""What does a sweep of an optimizer's runs cost?"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.clock import Contender, finished, measured, off
from vaesurface import data, optimize, stationary, sweep, vae

__all__ = ["phases", "rows", "starts"]

ALPHAS, SCALES, SEEDS = np.linspace(0.0, 0.6, 7), np.geomspace(0.05, 2.0, 5), range(16)
RUNS, STEPS, RATE = len(ALPHAS) * len(SCALES) * len(SEEDS), 4000, 0.02
PART = 100  # steps that the others take, and after which energies are compared
LATENT = 2
OURS = "vaesurface.sweep"
X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5, 0.25], seed=0)


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    yield phases(peers)
    yield starts()


def run(optimizer: optimize.Optimizer, alpha: Any, scale: Any, seed: Any) -> Any:
    """One cell."""
    problem = vae.threshold_vae(X, LATENT, alpha)
    return optimizer(problem.loss, problem.init(jax.random.key(seed), scale))


def swept(optimizer: optimize.Optimizer) -> Any:
    """All cells, compiled anew."""
    return sweep.grid(partial(run, optimizer), alpha=ALPHAS, scale=SCALES, seed=SEEDS)


def phases(peers: bool) -> dict[str, Any]:
    """7 thresholds x 5 scales x 16 seeds of Adam."""
    contenders = [Contender(OURS, lambda: partial(swept, optimize.adam(STEPS)), compiles=False)]
    if peers:
        contenders += torch_runs()
    title = (
        f"{RUNS} runs of {STEPS} steps of Adam, n = {len(X)}, d = {X.shape[1]}, k = {LATENT}, "
        "compiling included"
    )
    return measured(title, contenders, unit=OURS, budget=60.0)


def torch_runs() -> list[Contender]:
    """PyTorch's: the first steps only, scaled up."""
    from benchmarks import torch_sweep

    cells = np.meshgrid(ALPHAS, SCALES, SEEDS, indexing="ij")
    alphas, scales, seeds = (axis.ravel() for axis in cells)
    starts = jax.jit(jax.vmap(started))(alphas, scales, seeds)
    schedule = optax.cosine_decay_schedule(RATE, STEPS)
    begun = optimize.descend(optax.adam(schedule), PART, f"the first {PART} steps")
    energies = swept(begun).loss.ravel()
    rates = [float(schedule(i)) for i in range(PART)]

    def batched(compiled: bool) -> Any:
        return torch_sweep.runs(X, starts, alphas, rates, compiled)

    def one_by_one() -> Any:
        first = jax.tree.map(lambda x: x[0], starts)
        return torch_sweep.runs(X, first, alphas[0], rates, False)

    part = f"{PART} steps measured"
    return [
        Contender(
            "PyTorch, one run after another",
            one_by_one,
            partial(off, expected=energies[0]),
            lambda _: f"one run, {part}",
            scale=RUNS * STEPS / PART,
        ),
        Contender(
            "PyTorch, runs batched by hand",
            partial(batched, False),
            partial(relative, expected=energies),
            lambda _: part,
            scale=STEPS / PART,
        ),
    ]


def started(alpha: Any, scale: Any, seed: Any) -> Any:
    """A cell's start."""
    return vae.threshold_vae(X, LATENT, alpha).init(jax.random.key(seed), scale)


def relative(got: Any, expected: np.ndarray) -> float:
    """Largest relative deviation."""
    return float(np.max(np.abs(np.asarray(got) / expected - 1)))


def starts() -> dict[str, Any]:
    """16 starts, refined and judged, side by side and one after the other."""
    rows_ = data.load("digits-4x4", limit=60)

    def found(seed: Any) -> Any:
        problem = vae.threshold_vae(rows_, 2, 0.1)
        return stationary.find(problem, jax.random.key(seed), 0.3, optimize.adam(500))

    seeds = jnp.arange(16)
    in_turn = jax.jit(partial(jax.lax.map, found))
    together = jax.jit(partial(sweep.together, found))
    contenders = [
        Contender("one after the other", lambda: finished(in_turn, seeds)),
        Contender("vmap", lambda: finished(together, seeds)),
    ]
    title = "16 times stationary.find, n = 60, d = 16, k = 2"
    return measured(title, contenders, unit="one after the other", budget=12.0)
