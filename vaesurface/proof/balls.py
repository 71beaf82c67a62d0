"""What are the energy of a threshold VAE and its derivatives, with every rounding covered?

The formulas of `moments` and `vae` once more, in closed form and in ball arithmetic: a number is a
midpoint and a radius, and what is computed from balls encloses what is computed from any of their
points. Needs python-flint and no JAX. Arrays (object dtype) hold balls; X is (n, d), parameters are
dicts of arrays by `VAEParams`' names.

>>> print(tail(flint.arb(0)).str(10, radius=False))
0.5000000000
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

try:
    import flint
except ImportError:
    flint = None  # type: ignore[assignment]

PRECISION = 128  # bits; cancellation costs some 20 of them, far out in the tail


@contextmanager
def arithmetic() -> Iterator[None]:
    """With enough bits. Raises RuntimeError without python-flint."""
    if flint is None:
        raise RuntimeError("expected python-flint for proofs, got none; install vaesurface[proof]")
    with flint.ctx.workprec(PRECISION):
        yield


def enclose(
    X: np.ndarray, settings: dict, center: dict, half: dict | None = None
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Energy, gradient (p,) and Hessian (p, p) as balls over the box center +- half, which hold
    arrays by `VAEParams`' names.

    p counts the parameters in the order of `VAEParams`, without rows of the weight that are zero at
    alpha > 0. Derivatives are closed formulas in (m, v, b, log gamma), m = w_r . mu_i, v = sum_j
    w_rj^2 sigma_ij^2, taken on by the chain rule.
    """
    live = live_rows(settings, center["weight"])
    at = positions(center, live)
    box = {
        k: np.frompyfunc(flint.arb, 2, 1)(v, 0.0 if half is None else half[k])
        for k, v in center.items()
    }
    log_gamma = (
        box["log_gamma"] if settings["gamma"] is None else flint.arb(settings["gamma"]).log()
    )
    inverse, alpha, beta = (
        (-log_gamma).exp(),
        flint.arb(settings["alpha"]),
        flint.arb(settings["beta"]),
    )
    zero, one = flint.arb(0), flint.arb(1)
    p = 1 + max(int(x.max()) for x in at.values())
    gradient, hessian = np.full(p, zero), np.full((p, p), zero)
    tau = np.frompyfunc(lambda s: (2 * s).exp(), 1, 1)(box["log_std"])

    total = beta * (tau - 2 * box["log_std"] + box["mean"] * box["mean"]).sum()
    gradient[at["mean"]], gradient[at["log_std"]] = 2 * beta * box["mean"], 2 * beta * (tau - 1)
    hessian[at["mean"], at["mean"]], hessian[at["log_std"], at["log_std"]] = (
        2 * beta,
        4 * beta * tau,
    )
    for i, r in np.ndindex(X.shape):
        moments, weights, means, log_stds, bends = (zero,) * 6, [], [], [], []
        if live[r]:
            w, mu, t = box["weight"][r], box["mean"][i], tau[i]
            moments = _moments((w * mu).sum(), (w * w * t).sum(), alpha)
            here, k, q = at["weight"][r], at["mean"][i], at["log_std"][i]
            for j in range(len(w)):
                wt = w[j] * t[j]
                weights.append((here[j], {0: mu[j], 1: 2 * wt}))
                means.append((k[j], {0: w[j]}))
                log_stds.append((q[j], {1: 2 * w[j] * wt}))
                bends += [(here[j], here[j], 1, 2 * t[j]), (here[j], k[j], 0, one)]
                bends += [(here[j], q[j], 1, 4 * wt), (q[j], q[j], 1, 4 * w[j] * wt)]
        value, first, second = _term(flint.arb(float(X[i, r])) - box["bias"][r], moments, inverse)
        total += value + log_gamma
        shared = [(int(at["log_gamma"]), {3: one})] if settings["gamma"] is None else []
        outer = [
            *weights,
            (at["bias"][r], {2: one}),
            *shared,
            *means,
            *log_stds,
        ]  # in order: the upper triangle is filled
        for a, b, y, bend in bends:
            hessian[a, b] += first[y] * bend
        for number, (a, slopes) in enumerate(outer):
            gradient[a] += sum(first[y] * slope for y, slope in slopes.items())
            turn = [sum(second[y][z] * slope for y, slope in slopes.items()) for z in range(4)]
            for b, others in outer[number:]:
                hessian[a, b] += sum(turn[z] * slope for z, slope in others.items())
    lower = np.tril_indices(p, -1)
    hessian[lower] = hessian.T[lower]
    return total / len(X), gradient / len(X), hessian / len(X)


def _term(y: Any, moments: tuple, inverse: Any) -> tuple[Any, list, list]:
    """(y^2 - 2 y E pi + E pi^2) / gamma for y = x - b; and, log gamma added, its derivatives in (m,
    v, b, log gamma).
    """
    mean, square, mass, jump, jump_m, jump_v = moments
    value = inverse * (y * y - 2 * y * mean + square)
    m, v, b = 2 * inverse * (mean - y * mass), inverse * (mass - y * jump), 2 * inverse * (mean - y)
    mv, vv = inverse * (jump - y * jump_m), inverse * (jump_m / 2 - y * jump_v)
    mb, vb = 2 * inverse * mass, inverse * jump
    second = [[2 * v, mv, mb, -m], [mv, vv, vb, -v], [mb, vb, 2 * inverse, -b], [-m, -v, -b, value]]
    return value, [m, v, b, 1 - value], second


def _moments(m: Any, v: Any, alpha: Any) -> tuple:
    """E pi, E pi^2, P(|u| > alpha), and p+ - p- with its derivatives in m and in v, p+- the density
    of u at +-alpha.

    d/dm E pi = P, d/dm E pi^2 = 2 E pi, d/dm P = p+ - p-, and d/dv of each is half its second
    derivative in m.
    """
    if alpha == 0:
        return m, m * m + v, flint.arb(1), flint.arb(0), flint.arb(0), flint.arb(0)
    s = v.sqrt()
    mean = square = mass = jump = jump_m = jump_v = flint.arb(0)
    for sign in (1, -1):
        a = (alpha - sign * m) / s
        phi, beyond = _phi(a), tail(a)
        mean += sign * s * (phi - a * beyond)
        square += v * h2(a)
        mass += beyond
        jump += sign * phi / s
        jump_m += a * phi / v
        jump_v += sign * (a * a - 1) * phi / (2 * v * s)
    return mean, square, mass, jump, jump_m, jump_v


def _phi(a: Any) -> Any:
    return (-a * a / 2).exp() / (2 * flint.arb.pi()).sqrt()


def tail(a: Any) -> Any:
    return (a / flint.arb(2).sqrt()).erfc() / 2


def h2(a: Any) -> Any:
    return (1 + a * a) * tail(a) - a * _phi(a)


def live_rows(settings: dict, weight: np.ndarray) -> np.ndarray:
    """(d,) whether a row of the weight takes part; it is held where it is zero at alpha > 0."""
    return weight.any(axis=1) | (settings["alpha"] == 0)


def positions(parts: dict, live: np.ndarray) -> dict[str, np.ndarray]:
    """Position of each parameter among those that are free, or -1."""
    free = {k: np.ones(v.shape, bool) for k, v in parts.items()}
    free["weight"] &= live[:, None]
    flat = np.concatenate([x.ravel() for x in free.values()])
    numbers = np.split(
        np.where(flat, np.cumsum(flat) - 1, -1), np.cumsum([x.size for x in free.values()])[:-1]
    )
    return {k: x.reshape(free[k].shape) for k, x in zip(free, numbers, strict=True)}


def middle(balls: np.ndarray) -> np.ndarray:
    return np.frompyfunc(float, 1, 1)(balls).astype(np.float64)
