"""How does any optimizer do on the traps?

A table that others can make again: starts are drawn from the seeds 0, 1, ..., and an end is judged
by the numbers alone. An optimizer is any of

    a function (loss, params) -> params or `optimize.Run`, traceable by JAX, as `optimize.adam()` is
    an optax transformation, run for `steps` steps
    the name of a method of `scipy.optimize.minimize`, or `scipy_method(method, **options)`
    `through_arrays(run)`: run(value_and_grad, x) -> x on NumPy arrays, of any framework, as in

    def adam(value_and_grad, x):
        x = torch.tensor(x, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.02)
        for _ in range(1000):
            x.grad = torch.from_numpy(value_and_grad(x.detach().numpy())[1])
            optimizer.step()
        return x.detach().numpy()

>>> from vaesurface.traps.exact import exact
>>> def downhill(value_and_grad, x):
...     for _ in range(50):
...         x = x - 0.1 * value_and_grad(x)[1]
...     return x
>>> (row,) = score(through_arrays(downhill), exact("antipodal")[:1], starts=2).rows
>>> row.starts, row.evaluations
(2, 50.0)
"""

import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jax import Array
from jax.flatten_util import ravel_pytree
from scipy.stats import binomtest

from vaesurface import optimize
from vaesurface.problem import Params, Problem
from vaesurface.refusal import complaint, whole
from vaesurface.traps.exact import exact
from vaesurface.traps.trap import End, Trap, judge, kept, over

__all__ = ["Row", "Score", "Share", "scipy_method", "score", "share", "through_arrays"]

STEPS = 3000  # of an optax transformation, unless others are asked for
HEAD = (
    "trap",
    "collapsed",
    "95 % interval",
    "on the way",
    "failed",
    "over optimum",
    "evaluations",
)
# What `scipy.optimize.minimize` takes beside the options of a method.
OF_MINIMIZE = ("bounds", "callback", "constraints", "tol")


class Share(NamedTuple):
    """Of runs.

    number: how many.
    total: of how many.
    low, high: the exact 95 % interval of the share (Clopper & Pearson, Biometrika 26, 1934).
    """

    number: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.number / self.total

    @property
    def words(self) -> str:
        """The interval, in percent."""
        return f"{100 * self.low:.0f} to {100 * self.high:.0f} %"


def share(flags: Any) -> Share:
    """Of flags (m,)."""
    number, total = int(np.sum(flags)), int(np.size(flags))
    interval = binomtest(number, total).proportion_ci(method="exact")
    return Share(number, total, float(interval.low), float(interval.high))


class Row(NamedTuple):
    """On one trap.

    trap: its name.
    starts: how many runs.
    collapsed: of them, those that the trap has kept (`traps.kept`), failed ones aside.
    unsure: ends neither provably in the basin of collapse nor below it: the optimizer has stopped
        on the way.
    failed: ends without a number for energy.
    over: median energy at the other ends over the trap's optimum; inf where that is -inf, NaN where
        all have failed.
    below: the same below the collapsed point's.
    evaluations: of the energy's gradient, median: steps of an optax transformation, what its line
        search takes aside; NaN where they cannot be counted.
    """

    trap: str
    starts: int
    collapsed: Share
    unsure: int
    failed: int
    over: float
    below: float
    evaluations: float


class Score(NamedTuple):
    """An optimizer on the traps.

    name: of the optimizer.
    starts: seeds from 0.
    rows: one for each trap.
    """

    name: str
    starts: int
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """As a table."""
        lines = [HEAD, *map(_shown, self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        title = f"{self.name} on {self.starts} starts of each trap, seeds from 0"
        return "\n".join([title, *(_padded(line, widths) for line in lines)])


def _shown(row: Row) -> tuple[str, ...]:
    over = "no lower bound" if row.over == math.inf else f"{row.over:.4g}"
    return (
        row.trap,
        f"{row.collapsed.number}/{row.collapsed.total}",
        row.collapsed.words,
        f"{row.unsure - row.failed}",
        f"{row.failed}",
        "-" if math.isnan(row.over) else over,
        "-" if math.isnan(row.evaluations) else f"{row.evaluations:.0f}",
    )


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(line, widths, strict=True)
    return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)])


@dataclass(frozen=True)
class _Arrays:
    """An optimizer of NumPy arrays.

    name: of it.
    run: (value_and_grad, x) -> x, float64.
    """

    name: str
    run: Callable[[Callable[[np.ndarray], tuple[float, np.ndarray]], np.ndarray], Any]


def through_arrays(run: Callable[..., Any], name: str | None = None) -> _Arrays:
    """An optimizer run(value_and_grad, x) -> x of NumPy arrays (p,), for `score`.

    value_and_grad: x (p,) to the energy, a float, and its gradient (p,), in float64; calls are
    counted.
    """
    return _Arrays(name or _name(run), run)


def scipy_method(method: Any, **options: Any) -> _Arrays:
    """A method of `scipy.optimize.minimize`, by name or a callable as that takes, for `score`.

    options: of it, or bounds, constraints, tol or callback of `minimize`.
    """
    own = {name: value for name, value in options.items() if name not in OF_MINIMIZE}
    more = {name: value for name, value in options.items() if name in OF_MINIMIZE}

    def run(value_and_grad: Callable, x: np.ndarray) -> np.ndarray:
        found = scipy.optimize.minimize(
            value_and_grad, x, method=method, jac=True, options=own or None, **more
        )
        return found.x

    called = method if isinstance(method, str) else getattr(method, "__name__", "a method")
    settings = "".join(f", {key} = {value}" for key, value in options.items())
    return _Arrays(f"SciPy's {called}{settings}", run)


def score(
    optimizer: Any,
    traps: Sequence[Trap] | None = None,
    *,
    starts: int = 20,
    steps: int = STEPS,
    name: str | None = None,
) -> Score:
    """How often an optimizer ends collapsed, and how far down it comes.

    optimizer: as the module says. traps: by default the exact ones. steps: of an optax
    transformation. name: of the optimizer, by default its own. Raises ValueError for what is no
    optimizer or returns no parameters, for no traps and no starts, RuntimeError without float64.
    """
    whole("starts", starts, least=1)
    own = _optimizer(optimizer, steps)
    chosen = exact() if traps is None else _traps(traps)
    called = name or _name(own)
    run = _through_numpy if isinstance(own, _Arrays) else _through_jax
    rows = tuple(_row(trap, *run(own, trap, starts)) for trap in chosen)
    return Score(called, starts, rows)


def _traps(given: Any) -> Sequence[Trap]:
    every = isinstance(given, list | tuple) and all(isinstance(one, Trap) for one in given)
    if not every or isinstance(given, Trap) or not given:
        got = "none" if isinstance(given, list | tuple) and not given else type(given).__name__
        raise complaint("a list of traps", got, "give traps.exact(...) or traps.deep()")
    return given


def _optimizer(optimizer: Any, steps: int) -> Any:
    """Of arrays, or a function (loss, params)."""
    if isinstance(optimizer, str):
        return scipy_method(optimizer)
    if isinstance(optimizer, optax.GradientTransformation):
        return optimize.descend(optimizer, steps, f"an optax transformation, {steps} steps")
    if not (isinstance(optimizer, _Arrays) or _takes_two(optimizer)):
        raise complaint(
            "an optimizer: a function (loss, params) -> params, an optax transformation, the name "
            "of a method of SciPy, or traps.through_arrays(run)",
            type(optimizer).__name__,
            "give one of them",
        )
    return optimizer


def _takes_two(optimizer: Any) -> bool:
    """Whether it can be called with (loss, params), as far as that can be told."""
    if not callable(optimizer):
        return False
    try:
        inspect.signature(optimizer).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def _name(optimizer: Any) -> str:
    named = getattr(optimizer, "name", None) or getattr(optimizer, "__name__", None)
    return str(named or "an optimizer")


def _through_jax(optimizer: Any, trap: Trap, starts: int) -> tuple[End, float]:
    """Ends (starts,), and how many gradients a run takes, where it says so."""
    keys = jax.vmap(jax.random.key)(jnp.arange(starts))
    traced = optimizer if isinstance(optimizer, Hashable) else partial(optimizer)
    try:
        ends = _ends(traced, trap.problem, trap.scale, keys)
    except jax.errors.JAXTypeError as error:
        raise complaint(
            "an optimizer that JAX can trace",
            f"{_name(optimizer)}, which asks for numbers ({type(error).__name__})",
            "give traps.through_arrays(run), of NumPy arrays",
        ) from error
    return ends, float(getattr(getattr(optimizer, "run", None), "steps", math.nan))


@partial(jax.jit, static_argnums=0)
def _ends(optimizer: Any, problem: Problem, scale: Array, keys: Array) -> End:
    """Where the starts of some keys lead."""

    def end(key: Array) -> End:
        start = problem.init(key, scale)
        ended = optimizer(problem.loss, start)
        ended = ended.params if isinstance(ended, optimize.Run) else ended
        return judge(problem, _like(start, ended, _name(optimizer)))

    return jax.lax.map(end, keys)


def _like(start: Params, ended: Any, name: str) -> Params:
    """The end, in the start's precision; refused where it is something else."""
    other: bool = jax.tree.structure(start) != jax.tree.structure(ended)  # type: ignore[operator]
    expected, got = (jax.tree.map(jnp.shape, tree) for tree in (start, ended))
    if other or expected != got:
        what = type(ended).__name__ if other else f"{got}"
        remedy = "return the parameters, as they came"
        raise complaint(f"parameters like the start's from {name}", what, remedy)
    return jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), start, ended)


def _through_numpy(optimizer: _Arrays, trap: Trap, starts: int) -> tuple[End, float]:
    """Ends (starts,), and how many gradients a run takes, the median."""
    ends, counts = [], []
    for seed in range(starts):
        start = _start(trap.problem, jax.random.key(seed), trap.scale)
        x, unravel = ravel_pytree(start)
        counted = _Counted(trap.problem, unravel)
        # A copy of its own, which may be changed in place; so are gradients.
        found = np.asarray(optimizer.run(counted, np.array(x, np.float64)), np.float64)
        if found.shape != x.shape:
            raise complaint(
                f"an end of shape {x.shape}, like the start, from {optimizer.name}",
                f"{found.shape}",
                "return the parameters",
            )
        ends.append(_judged(trap.problem, unravel(jnp.asarray(found, x.dtype))))
        counts.append(counted.calls)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *ends), float(np.median(counts))


class _Counted:
    """The energy and its gradient as a function of NumPy arrays, and how often it was called."""

    def __init__(self, problem: Problem, unravel: Callable[[Array], Params]) -> None:
        self.problem, self.unravel, self.calls = problem, unravel, 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        value, gradient = _valued(self.problem, self.unravel(jnp.asarray(x, float)))
        return float(value), np.array(ravel_pytree(gradient)[0], np.float64)


_judged = jax.jit(judge)


@jax.jit
def _start(problem: Problem, key: Array, scale: Array) -> Params:
    return problem.init(key, scale)


@jax.jit
def _valued(problem: Problem, params: Params) -> tuple[Array, Params]:
    return jax.value_and_grad(problem.loss)(params)


def _row(trap: Trap, ends: End, evaluations: float) -> Row:
    energy = np.asarray(ends.energy, np.float64)
    failed = np.isnan(energy)
    stuck = kept(trap, ends) & ~failed
    between = stuck & ~np.asarray(ends.collapsed)
    median = math.nan if failed.all() else float(np.median(energy[~failed]))
    return Row(
        trap=trap.name,
        starts=energy.size,
        collapsed=share(stuck),
        unsure=int(np.sum(between | ~np.asarray(ends.sure))),
        failed=int(failed.sum()),
        over=over(trap, ends),
        below=trap.energy - median,
        evaluations=evaluations,
    )
