"""What are the energy of a threshold VAE and its derivatives, with every rounding covered?

The formulas of `energy` once more, in closed form and in ball arithmetic: a number is a midpoint
and a radius, and what is computed from balls encloses what is computed from any of their points.
Needs python-flint and no JAX. Arrays (object dtype) hold balls; X is (n, d); parameters are dicts
of arrays by the names of `energy.VAEParams`.

>>> print(tail(flint.arb(0)).str(10, radius=False))
0.5000000000
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from vaesurface.proof.form import Settings

flint: Any  # optional: `arithmetic` says what to install
try:
    import flint
except ImportError:
    flint = None

__all__ = [
    "Ball",
    "Enclosure",
    "arithmetic",
    "enclose",
    "exactly",
    "flint",
    "live_rows",
    "midpoints",
    "positions",
    "second_tail",
    "tail",
]

Ball = Any  # a flint.arb
PRECISION = 128  # bits; cancellation costs some 20 of them, far out in the tail
MEAN, VARIANCE, BIAS, LOG_GAMMA = range(4)  # arguments of the energy of one datum in one feature


@contextmanager
def arithmetic() -> Iterator[None]:
    """With enough bits. Raises RuntimeError without python-flint."""
    if flint is None:
        raise RuntimeError("expected python-flint for proofs, got none; install vaesurface[proof]")
    with flint.ctx.workprec(PRECISION):
        yield


class Enclosure(NamedTuple):
    """Balls that hold the energy and its derivatives, p the number of free parameters.

    energy: a ball.
    gradient: (p,).
    hessian: (p, p).
    """

    energy: Ball
    gradient: np.ndarray
    hessian: np.ndarray


def enclose(
    X: np.ndarray,
    settings: Settings,
    center: dict[str, np.ndarray],
    half: dict[str, np.ndarray] | None = None,
) -> Enclosure:
    """Energy, gradient and Hessian over the box center +- half, half zero if left out.

    The energy is the mean over the data i of

        beta sum_j (mu_ij^2 + tau_ij - log tau_ij)
            + sum_r [(y^2 - 2 y E pi + E pi^2) / gamma + log gamma],

    tau = sigma^2, y = x_ir - b_r, pi = pi(u), u Gaussian of mean m = w_r . mu_i and variance v =
    sum_j w_rj^2 tau_ij. The bracket's derivatives are closed formulas in (m, v, b, log gamma),
    taken on to the parameters by the chain rule. Rows of the weight that are zero at alpha > 0 are
    held there: nothing depends on them to any order, and they are not among the p free parameters.
    """
    live = live_rows(settings, center["weight"])
    at = positions(center, live)
    box = {
        name: np.frompyfunc(flint.arb, 2, 1)(value, 0.0 if half is None else half[name])
        for name, value in center.items()
    }
    if settings.gamma is not None:
        box["log_gamma"] = flint.arb(settings.gamma).log()
    box["variance"] = np.frompyfunc(_exp_twice, 1, 1)(box["log_std"])
    alpha, precision = flint.arb(settings.alpha), (-box["log_gamma"]).exp()

    energy, gradient, hessian = _divergence(flint.arb(settings.beta), box, at)
    for i, r in np.ndindex(X.shape):
        u = _moments(*_decoded(box, i, r), alpha) if live[r] else _nothing()
        term = _term(flint.arb(float(X[i, r])) - box["bias"][r], u, precision)
        slopes, bends = _inner_derivatives(box, at, i, r, bool(live[r]))
        energy += term.value + box["log_gamma"]
        _add_by_chain_rule(gradient, hessian, term, slopes, bends)
    lower = np.tril_indices(len(gradient), -1)
    hessian[lower] = hessian.T[lower]
    n = len(X)
    return Enclosure(energy=energy / n, gradient=gradient / n, hessian=hessian / n)


def exactly(numbers: Any) -> Any:
    """Balls of radius zero at floats, one or an array of them."""
    return np.frompyfunc(flint.arb, 1, 1)(numbers)


def midpoints(balls: np.ndarray) -> np.ndarray:
    """Midpoints of balls, as float64."""
    return np.frompyfunc(float, 1, 1)(balls).astype(np.float64)


def live_rows(settings: Settings, weight: np.ndarray) -> np.ndarray:
    """(d,) whether a row of the weight takes part; it is held where it is zero at alpha > 0."""
    return np.logical_or(weight.any(axis=1), settings.alpha == 0)


def positions(parameters: dict[str, np.ndarray], live: np.ndarray) -> dict[str, np.ndarray]:
    """Position of each parameter among those that are free, or -1; live (d,) rows are free."""
    free = {name: np.ones(value.shape, bool) for name, value in parameters.items()}
    free["weight"] &= live[:, None]
    flat = np.concatenate([x.ravel() for x in free.values()])
    ends = np.cumsum([x.size for x in free.values()])
    pieces = np.split(np.where(flat, np.cumsum(flat) - 1, -1), ends[:-1])
    return {name: piece.reshape(free[name].shape) for name, piece in zip(free, pieces, strict=True)}


def _exp_twice(log_std: Ball) -> Ball:
    """sigma^2 = exp(2 log sigma)."""
    return (2 * log_std).exp()


def _divergence(
    beta: Ball, box: dict[str, Any], at: dict[str, np.ndarray]
) -> tuple[Ball, np.ndarray, np.ndarray]:
    """Sum over data and latents of beta (mu^2 + tau - log tau), tau = sigma^2; its gradient and
    Hessian, which are those by mu and log sigma with zeros for all other parameters.

        d/dmu = 2 beta mu,   d2/dmu2 = 2 beta,   d/dlog sigma = 2 beta (tau - 1),
        d2/dlog sigma2 = 4 beta tau
    """
    mean, log_std, tau = box["mean"], box["log_std"], box["variance"]
    p = sum(int((x >= 0).sum()) for x in at.values())
    gradient, hessian = np.full(p, flint.arb(0)), np.full((p, p), flint.arb(0))
    gradient[at["mean"]] = 2 * beta * mean
    gradient[at["log_std"]] = 2 * beta * (tau - 1)
    hessian[at["mean"], at["mean"]] = 2 * beta
    hessian[at["log_std"], at["log_std"]] = 4 * beta * tau
    return beta * (tau - 2 * log_std + mean * mean).sum(), gradient, hessian


def _decoded(box: dict[str, Any], i: int, r: int) -> tuple[Ball, Ball]:
    """m = sum_j w_rj mu_ij and v = sum_j w_rj^2 tau_ij, of coordinate r of W z for datum i."""
    w = box["weight"][r]
    return (w * box["mean"][i]).sum(), (w * w * box["variance"][i]).sum()


def _inner_derivatives(
    box: dict[str, Any], at: dict[str, np.ndarray], i: int, r: int, live: bool
) -> tuple[list[tuple[int, dict[int, Ball]]], list[tuple[int, int, int, Ball]]]:
    """Derivatives of (m, v, b, log gamma) of datum i and feature r by the parameters they depend
    on: slopes (a, {argument: d/da}), a ascending, and bends (a, b, argument, d2/dadb), a <= b.

        dm/dw = mu,  dm/dmu = w,  dv/dw = 2 w tau,  dv/dlog sigma = 2 w^2 tau,
        d2m/dwdmu = 1,  d2v/dw2 = 2 tau,  d2v/dwdlog sigma = d2v/dlog sigma2 / w = 4 w tau
    """
    one = flint.arb(1)
    weights, means, log_stds, bends = [], [], [], []
    if live:
        mean, variance = box["mean"][i], box["variance"][i]
        for j, w in enumerate(box["weight"][r]):
            row, mu, sigma = (int(x[j]) for x in (at["weight"][r], at["mean"][i], at["log_std"][i]))
            scaled = w * variance[j]
            weights.append((row, {MEAN: mean[j], VARIANCE: 2 * scaled}))
            means.append((mu, {MEAN: w}))
            log_stds.append((sigma, {VARIANCE: 2 * w * scaled}))
            bends += [
                (row, row, VARIANCE, 2 * variance[j]),
                (row, mu, MEAN, one),
                (row, sigma, VARIANCE, 4 * scaled),
                (sigma, sigma, VARIANCE, 4 * w * scaled),
            ]
    shared = [(int(at["bias"][r]), {BIAS: one})]
    if "log_gamma" in at:
        shared.append((int(at["log_gamma"]), {LOG_GAMMA: one}))
    return [*weights, *shared, *means, *log_stds], bends


class _Term(NamedTuple):
    """A function of (m, v, b, log gamma) and its derivatives.

    value: a ball.
    first: 4 balls.
    second: 4 x 4 balls.
    """

    value: Ball
    first: list
    second: list


def _add_by_chain_rule(
    gradient: np.ndarray, hessian: np.ndarray, term: _Term, slopes: list, bends: list
) -> None:
    """Add a term's derivatives by the parameters to a gradient and the upper triangle of a Hessian.

    With y, z the arguments of f, and slopes y_a, bends y_ab as `_inner_derivatives` returns them,

        df/da = sum_y f_y y_a,      d2f/dadb = sum_yz f_yz y_a z_b + sum_y f_y y_ab
    """
    for a, b, y, bend in bends:
        hessian[a, b] += term.first[y] * bend
    for number, (a, along_a) in enumerate(slopes):
        gradient[a] += sum(term.first[y] * slope for y, slope in along_a.items())
        turn = [
            sum(term.second[y][z] * slope for y, slope in along_a.items())
            for z in (MEAN, VARIANCE, BIAS, LOG_GAMMA)
        ]
        for b, along_b in slopes[number:]:
            hessian[a, b] += sum(turn[z] * slope for z, slope in along_b.items())


class _Moments(NamedTuple):
    """Of pi = pi(u), the soft threshold of a Gaussian u of mean m and variance v.

    mean: E pi.
    square: E pi^2.
    mass: P(|u| > alpha).
    jump: p+ - p-, with p+- the density of u at +-alpha.
    jump_m: its derivative by m.
    jump_v: its derivative by v.
    """

    mean: Ball
    square: Ball
    mass: Ball
    jump: Ball
    jump_m: Ball
    jump_v: Ball


def _term(y: Ball, u: _Moments, precision: Ball) -> _Term:
    """(y^2 - 2 y E pi + E pi^2) / gamma, precision = 1 / gamma, as a function of (m, v, b, log
    gamma), y = x - b; its derivatives are those with log gamma added.

    They follow from d/dm E pi = P, d/dm E pi^2 = 2 E pi, d/dm P = p+ - p-, and from d/dv of each
    being half its second derivative in m.
    """
    value = precision * (y * y - 2 * y * u.mean + u.square)
    m = 2 * precision * (u.mean - y * u.mass)
    v = precision * (u.mass - y * u.jump)
    b = 2 * precision * (u.mean - y)
    mv = precision * (u.jump - y * u.jump_m)
    vv = precision * (u.jump_m / 2 - y * u.jump_v)
    mb, vb, bb = 2 * precision * u.mass, precision * u.jump, 2 * precision
    second = [[2 * v, mv, mb, -m], [mv, vv, vb, -v], [mb, vb, bb, -b], [-m, -v, -b, value]]
    return _Term(value=value, first=[m, v, b, 1 - value], second=second)


def _moments(m: Ball, v: Ball, alpha: Ball) -> _Moments:
    """Sums over both sides of the threshold, with s = sqrt v, a = (alpha -+ m) / s:

    E pi = sum +-s (phi(a) - a Q(a)),   E pi^2 = sum v h2(a),   P = sum Q(a),
    p+ - p- = sum +-phi(a) / s,   d/dm = sum a phi(a) / v,   d/dv = sum +-(a^2 - 1) phi(a) / 2 s^3
    """
    if alpha == 0:
        return _nothing()._replace(mean=m, square=m * m + v, mass=flint.arb(1))
    s = v.sqrt()
    mean = square = mass = jump = jump_m = jump_v = flint.arb(0)
    for sign in (1, -1):
        a = (alpha - sign * m) / s
        phi, beyond = _density(a), tail(a)
        mean += sign * s * (phi - a * beyond)
        square += v * second_tail(a)
        mass += beyond
        jump += sign * phi / s
        jump_m += a * phi / v
        jump_v += sign * (a * a - 1) * phi / (2 * v * s)
    return _Moments(mean, square, mass, jump, jump_m, jump_v)


def _nothing() -> _Moments:
    """Of u = 0, which is below the threshold."""
    return _Moments(*[flint.arb(0)] * len(_Moments._fields))


def _density(a: Ball) -> Ball:
    """phi(a) = exp(-a^2 / 2) / sqrt(2 pi)."""
    return (-a * a / 2).exp() / (2 * flint.arb.pi()).sqrt()


def tail(a: Ball) -> Ball:
    """Q(a) = P(z > a), z standard normal."""
    return (a / flint.arb(2).sqrt()).erfc() / 2


def second_tail(a: Ball) -> Ball:
    """h2(a) = E (z - a)_+^2 = (1 + a^2) Q(a) - a phi(a), z standard normal."""
    return (1 + a * a) * tail(a) - a * _density(a)
