"""Where is a loss not smooth: which of its operations have a kink or branch by value, and how far
are these from one?

`evaluate` computes a loss from its jaxpr, operation by operation, and takes down a `Tie` for each
that is not analytic and depends on the parameters: max, min, abs, sign, clamp, comparisons, sort,
roots, jumps and the like, inside jit, scan, cond, remat and custom rules too. Where a `choices`
entry says so, such an operation takes the side it is told instead of the one that its operands
say: that continues one smooth piece of the loss beyond its edges. All of it can be traced.

Compounds of JAX that are smooth though a max or an abs is in them (`smooth`) are left as they are.
What is not listed at all, as a callback, is opaque: nothing is known of it.

>>> import jax.numpy as jnp
>>> walk = evaluate(lambda w: jnp.abs(w[0] - 1) + w[1] ** 2, jnp.zeros(2))
>>> print(*[(kind, float(walk.ties[path].gap)) for path, kind in walk.kinds.items()])
('abs', -1.0)
>>> print(evaluate(lambda w: jax.nn.softplus(w), jnp.zeros(())).kinds)
{}
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from vaesurface import shards
from vaesurface.problem import Params
from vaesurface.stationary.smooth import WRAPPERS, bound, inner, ruled, suspect, suspicious

__all__ = ["ABOVE", "BELOW", "CHOSEN", "EQUAL", "NATURAL", "Tie", "Walk", "evaluate"]

# What a choice says of a's side of b; NATURAL leaves it to the values.
NATURAL, ABOVE, BELOW, EQUAL = 0, 1, -1, 2

CHOSEN = frozenset({"max", "min", "abs", "sign", "compare", "equal"})  # kinds that take a choice
SORTED = 8  # numbers up to which sorting is done by comparing two at a time, which can be chosen
WINDOW = 64  # numbers in a window of pooling up to which its maximum is


class Tie(NamedTuple):
    """How far the operands of an operation, elementwise, are from where it is not smooth.

    gap: a - b, which changes sign there; for kinds that take no choice like distance.
    distance: >= 0, |a - b|, and more where the result does not depend on which is larger.
    magnitude: of a and b.
    """

    gap: Array
    distance: Array
    magnitude: Array


class Walk(NamedTuple):
    """What `evaluate` met.

    value: the loss.
    ties: of each operation, by its place in the jaxpr.
    kinds: of each operation, "max", "abs", "compare", ..., "root" or "jump"; static.
    opaque: names of operations of which nothing is known; static.
    stopped: whether a gradient is stopped: then derivatives are not those of the values; static.
    ruled: whether derivatives are taken by rules of somebody's own; static.
    """

    value: Array
    ties: dict[str, Tie]
    kinds: dict[str, str]
    opaque: tuple[str, ...]
    stopped: bool
    ruled: bool


def evaluate(
    loss: Callable[[Params], Array], params: Params, choices: dict[str, Array] | None = None
) -> Walk:
    """The loss, and what of it is not smooth.

    choices: by place, an integer for every element, as `ABOVE`. With any, stopped gradients are
    not stopped, so that derivatives are those of the values.
    """
    with shards.alone():
        closed = jax.make_jaxpr(loss)(params)
    leaves = jax.tree.leaves(params)
    walker = _Walker(choices)
    (value,) = walker.run(closed, leaves, [True] * len(leaves), "")
    opaque, stopped = tuple(sorted(walker.opaque)), walker.stopped
    return Walk(value, walker.ties, walker.kinds, opaque, stopped, bool(walker.rules))


class _Walker:
    """Evaluates jaxprs; holds what it meets on the way."""

    def __init__(self, choices: dict[str, Array] | None) -> None:
        self.choices = choices
        self.ties: dict[str, Tie] = {}
        self.kinds: dict[str, str] = {}
        self.opaque: set[str] = set()
        self.rules: set[str] = set()
        self.stopped = False

    def child(self, choices: dict[str, Array] | None) -> "_Walker":
        """For a body that is traced apart; what it takes down statically is taken down here."""
        body = _Walker(choices)
        body.kinds, body.opaque = self.kinds, self.opaque
        body.rules = self.rules
        return body

    def run(
        self, closed: core.ClosedJaxpr, args: Sequence[Any], tainted: Sequence[bool], place: str
    ) -> list[Any]:
        """Outputs. tainted: which arguments depend on the parameters."""
        jaxpr = closed.jaxpr
        values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))
        depends = {v for v, taint in zip(jaxpr.invars, tainted, strict=True) if taint}

        def read(v: Any) -> Any:
            return v.val if isinstance(v, core.Literal) else values[v]

        for i, eqn in enumerate(jaxpr.eqns):
            operands = [read(v) for v in eqn.invars]
            taint = [not isinstance(v, core.Literal) and v in depends for v in eqn.invars]
            if any(taint):
                out = self.operation(eqn, operands, taint, f"{place}{i}")
                depends.update(eqn.outvars)
            else:
                out = bound(eqn, operands)
            values |= dict(zip(eqn.outvars, out, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def operation(self, eqn: Any, operands: list, taint: list[bool], place: str) -> list[Any]:
        """Outputs of one that depends on the parameters."""
        name = eqn.primitive.name
        if not suspect(eqn):
            return bound(eqn, operands)
        if name in WRAPPERS:
            within = inner(eqn.params[WRAPPERS[name]])
            if ruled(eqn):
                self.rules.add(name)
                if self.choices is None and not suspicious(within.jaxpr):
                    return bound(eqn, operands)
            return self.run(within, operands, taint, f"{place}/")
        if name == "stop_gradient":
            self.stopped = True
            return operands if self.choices is not None else bound(eqn, operands)
        if name in CONTROL:
            return CONTROL[name](self, eqn, operands, taint, place)
        if name in KINKED and jnp.issubdtype(jnp.result_type(operands[0]), jnp.floating):
            same = len(eqn.invars) == 2 and eqn.invars[0] is eqn.invars[1]
            take_down = _defined if same else KINKED[name]
            out = take_down(self, eqn, operands, place)
            return bound(eqn, operands) if out is None else out
        if not (name == "custom_linear_solve" and _plain(eqn)):
            self.opaque.add(name)
        return bound(eqn, operands)

    def above(
        self, place: str, kind: str, a: Array, b: Array, beyond: Array | float = 0.0
    ) -> tuple[Array, Array]:
        """Whether a > b, and whether a = b, as chosen or as it is. beyond: distance that is left
        where a = b.
        """
        a, b = jnp.asarray(a), jnp.asarray(b)
        gap = a - b
        magnitude = jnp.maximum(jnp.abs(a), jnp.abs(b)) + jnp.zeros_like(gap)
        self.kinds[place] = kind
        self.ties[place] = Tie(gap, jnp.abs(gap) + beyond, magnitude)
        if self.choices is None or place not in self.choices:
            return a > b, a == b
        chosen = self.choices[place]
        above = jnp.where(chosen == NATURAL, a > b, chosen == ABOVE)
        return above, jnp.where(chosen == NATURAL, a == b, chosen == EQUAL)

    def larger(self, place: str, a: Array, b: Array, beyond: Array | float = 0.0) -> Array:
        """max(a, b); its derivatives at a natural tie are b's."""
        above, _ = self.above(place, "max", a, b, beyond)
        return jnp.where(above, a, b)

    def jump(self, place: str, distance: Array, magnitude: Array, kind: str = "jump") -> None:
        """Take down an operation that takes no choice."""
        self.kinds[place] = kind
        self.ties[place] = Tie(distance, jnp.abs(distance), jnp.abs(magnitude))

    def greatest(self, place: str, values: Array) -> Array:
        """The largest of (n, ...), by comparing two at a time."""
        best, i = jnp.max(values, axis=0), 0
        while len(values) > 1:
            half = len(values) // 2
            a, b = values[:half], values[half : 2 * half]
            beyond = best[None] - jnp.maximum(a, b)
            won = self.larger(f"{place}.{i}", a, b, jax.lax.stop_gradient(beyond))
            values, i = jnp.concatenate([won, values[2 * half :]]), i + 1
        return values[0]


def _plain(eqn: Any) -> bool:
    """Whether the matrix that a linear solver applies is a smooth function."""
    return not suspicious(eqn.params["jaxprs"].matvec.jaxpr)


def _maximum(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    return [walker.larger(place, *operands)]


def _minimum(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    a, b = operands
    above, _ = walker.above(place, "min", a, b)
    return [jnp.where(above, b, a)]


def _absolute(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    (x,) = operands
    above, _ = walker.above(place, "abs", x, jnp.zeros_like(x))
    return [jnp.where(above, x, -x)]


def _sign(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    (x,) = operands
    above, equal = walker.above(place, "sign", x, jnp.zeros_like(x))
    return [jnp.where(equal, 0.0, jnp.where(above, 1.0, -1.0)).astype(x.dtype)]


def _comparison(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    name = eqn.primitive.name.removesuffix("_to")  # of the total order, which is that of numbers
    kind = "equal" if name in ("eq", "ne") else "compare"
    above, equal = walker.above(place, kind, *operands)
    results = {
        "gt": above & ~equal,
        "ge": above | equal,
        "lt": ~above & ~equal,
        "le": ~above | equal,
        "eq": equal,
        "ne": ~equal,
    }
    return [results[name]]


def _clamp(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    low, x, high = operands
    raised = walker.larger(f"{place}.low", x, low)
    above, _ = walker.above(f"{place}.high", "min", raised, high)
    return [jnp.where(above, high, raised)]


def _extreme(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    """reduce_max and reduce_min."""
    (x,) = operands
    axes = eqn.params["axes"]
    sign = 1.0 if eqn.primitive.name == "reduce_max" else -1.0
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    rows = jnp.moveaxis(sign * x, axes, range(len(axes))).reshape(-1, *kept)
    return [sign * walker.greatest(place, rows)]


def _pooled(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    """reduce_window_max: the largest of as many shifted arrays as a window is wide."""
    (x,), how = operands, eqn.params
    shape, strides = how["window_dimensions"], how["window_strides"]
    dilated = any(n != 1 for n in (*how["base_dilation"], *how["window_dilation"]))
    if dilated or np.prod(shape) > WINDOW:
        walker.opaque.add(eqn.primitive.name)
        return bound(eqn, operands)
    padded = jax.lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), [(*p, 0) for p in how["padding"]])
    extent = [s * (n - 1) + 1 for s, n in zip(strides, eqn.outvars[0].aval.shape, strict=True)]
    shifted = []
    for start in np.ndindex(*shape):
        stop = [a + n for a, n in zip(start, extent, strict=True)]
        shifted.append(jax.lax.slice(padded, start, stop, strides))
    return [walker.greatest(place, jnp.stack(shifted))]


def _sorted(walker: _Walker, eqn: Any, operands: list, place: str) -> list[Any]:
    """Few numbers by comparing neighbours, again and again; of more the neighbours' distances."""
    axis = eqn.params["dimension"]
    keys = jnp.moveaxis(operands[0], axis, 0)
    if len(operands) > 1 or len(keys) > SORTED:
        out = bound(eqn, operands)
        _adjacent(walker, place, out[0], axis)
        return out
    rows = list(keys)
    for end in range(len(rows) - 1, 0, -1):
        for i in range(end):
            a, b = rows[i], rows[i + 1]
            above, _ = walker.above(f"{place}.{end}.{i}", "max", a, b)
            rows[i], rows[i + 1] = jnp.where(above, b, a), jnp.where(above, a, b)
    return [jnp.moveaxis(jnp.stack(rows), 0, axis)]


def _adjacent(walker: _Walker, place: str, ordered: Array, axis: int) -> None:
    distance = jnp.abs(jnp.diff(ordered, axis=axis))
    walker.jump(place, distance, jnp.max(jnp.abs(ordered)) + jnp.zeros_like(distance))


def _ranked(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """argmax, argmin and top_k: how far apart those are that decide."""
    (x,), name = operands, eqn.primitive.name
    axis = eqn.params.get("axis", eqn.params.get("axes", (x.ndim - 1,)))
    axis = axis[0] if isinstance(axis, tuple) else axis
    x = jnp.moveaxis(-x if name == "argmin" else x, axis, -1)
    count = min(x.shape[-1], eqn.params.get("k", 1) + 1)
    _adjacent(walker, place, jax.lax.top_k(x, count)[0], -1)


def _running(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """cummax and cummin: how far each number is from the most extreme one before it."""
    (x,), axis = operands, eqn.params["axis"]
    x = jnp.flip(x, axis) if eqn.params["reverse"] else x
    x = -x if eqn.primitive.name == "cummin" else x
    before = jax.lax.slice_in_dim(jax.lax.cummax(x, axis), 0, -1, axis=axis)
    distance = jax.lax.slice_in_dim(x, 1, None, axis=axis) - before
    walker.jump(place, distance, before)


def _stepped(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """floor, ceil, round, rem and conversion to integers: how far from a jump."""
    x, name = operands[0], eqn.primitive.name
    if name == "convert_element_type" and not jnp.issubdtype(eqn.params["new_dtype"], jnp.integer):
        return
    if name == "rem":
        x = x / operands[1]
    shift = 0.5 if name == "round" else 0.0
    walker.jump(place, x - shift - jnp.round(x - shift), x)


def _rooted(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """sqrt, cbrt and powers that are no whole number, at zero."""
    if eqn.primitive.name == "pow":
        power = operands[1]
        known = not isinstance(power, jax.core.Tracer)
        whole = jnp.issubdtype(jnp.result_type(power), jnp.integer)
        if whole or (known and bool(np.all((np.asarray(power) % 1 == 0) & (power >= 0)))):
            return
    walker.jump(place, operands[0] + jnp.zeros(eqn.outvars[0].aval.shape), operands[0], "root")


def _defined(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """isfinite, and x != x, which says isnan: they change with the domain of a function."""
    x = operands[0]
    outside = ~jnp.isfinite(x) if eqn.primitive.name == "is_finite" else jnp.isnan(x)
    walker.jump(place, jnp.where(outside, 0.0, 1.0), jnp.ones_like(x))


def _edged(walker: _Walker, eqn: Any, operands: list, place: str) -> None:
    """acos, asin and acosh at one, atan2 where its angle jumps."""
    x, name = operands[0], eqn.primitive.name
    if name == "atan2":
        distance = jnp.abs(x) + jnp.maximum(operands[1], 0.0)
    else:
        distance = 1 - jnp.abs(x)
    walker.jump(place, distance, jnp.abs(x))


def _scanned(walker: _Walker, eqn: Any, operands: list, taint: list[bool], place: str) -> list[Any]:
    how = eqn.params
    body, consts, carried = how["jaxpr"], how["num_consts"], how["num_carry"]
    held, start = operands[:consts], operands[consts : consts + carried]
    rows = operands[consts + carried :]
    while True:  # what a carry depends on
        after = _reached(body.jaxpr, taint)[:carried]
        wider = [a or b for a, b in zip(taint[consts : consts + carried], after, strict=True)]
        if wider == taint[consts : consts + carried]:
            break
        taint = [*taint[:consts], *wider, *taint[consts + carried :]]
    inside = f"{place}/"
    chosen = None
    if walker.choices is not None:
        chosen = {k: v for k, v in walker.choices.items() if k.startswith(inside)}

    def step(carry: list, row: tuple) -> tuple[list, tuple]:
        child = walker.child(None if chosen is None else row[1])
        out = child.run(body, [*held, *carry, *row[0]], taint, inside)
        walker.stopped |= child.stopped
        return out[:carried], (out[carried:], child.ties)

    last, (stacked, ties) = jax.lax.scan(
        step, start, (rows, chosen), length=how["length"], reverse=how["reverse"]
    )
    walker.ties.update(ties)
    return [*last, *stacked]


def _reached(jaxpr: core.Jaxpr, tainted: list[bool]) -> list[bool]:
    """Which outputs depend on the inputs that are tainted."""
    depends = {v for v, taint in zip(jaxpr.invars, tainted, strict=True) if taint}
    for eqn in jaxpr.eqns:
        if any(not isinstance(v, core.Literal) and v in depends for v in eqn.invars):
            depends.update(eqn.outvars)
    return [not isinstance(v, core.Literal) and v in depends for v in jaxpr.outvars]


def _branched(
    walker: _Walker, eqn: Any, operands: list, taint: list[bool], place: str
) -> list[Any]:
    """cond: only the branch that is taken matters; ties in the others are infinitely far."""
    index, *args = operands
    branches = eqn.params["branches"]

    def taken(i: int) -> tuple[list, dict[str, Tie]]:
        child = walker.child(walker.choices)
        out = child.run(branches[i], args, taint[1:], f"{place}.{i}/")
        walker.stopped |= child.stopped
        return out, child.ties

    shapes = [jax.eval_shape(lambda i=i: taken(i)[1]) for i in range(len(branches))]
    far = {place: _far(tie) for ties in shapes for place, tie in ties.items()}

    def branch(i: int) -> Callable[[], tuple[list, dict[str, Tie]]]:
        def run() -> tuple[list, dict[str, Tie]]:
            out, ties = taken(i)
            return out, far | ties

        return run

    out, ties = jax.lax.switch(index, [branch(i) for i in range(len(branches))])
    walker.ties.update(ties)
    return out


def _far(tie: Tie) -> Tie:
    """Of the same shape, at an infinite distance."""
    zero = jnp.zeros(tie.gap.shape, tie.gap.dtype)
    return Tie(gap=zero, distance=zero + jnp.inf, magnitude=zero)


COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne", "lt_to", "le_to", "eq_to")
CONTROL: dict[str, Callable[..., list[Any]]] = {"scan": _scanned, "cond": _branched}
KINKED: dict[str, Callable[..., list[Any] | None]] = {
    "max": _maximum,
    "min": _minimum,
    "abs": _absolute,
    "sign": _sign,
    "clamp": _clamp,
    "reduce_max": _extreme,
    "reduce_min": _extreme,
    "reduce_window_max": _pooled,
    "sort": _sorted,
    **dict.fromkeys(COMPARISONS, _comparison),
    **dict.fromkeys(("argmax", "argmin", "top_k"), _ranked),
    **dict.fromkeys(("cummax", "cummin"), _running),
    **dict.fromkeys(("floor", "ceil", "round", "rem", "convert_element_type"), _stepped),
    **dict.fromkeys(("sqrt", "cbrt", "pow"), _rooted),
    **dict.fromkeys(("acos", "asin", "acosh", "atan2"), _edged),
    "is_finite": _defined,
}
