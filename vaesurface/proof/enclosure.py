"""What are the energy of a VAE and its derivatives, with every rounding covered?

The formulas of `energy` once more, in closed form and in ball arithmetic: a number is a midpoint
and a radius, and what is computed from balls encloses what is computed from any of their points.
Needs python-flint and no JAX. Arrays (object dtype) hold balls; X is (n, d); parameters are dicts
of arrays by the names of `energy.VAEParams`.

>>> from vaesurface.proof.balls import arithmetic
>>> X = np.array([[1.0], [-1.0]])
>>> at = {"weight": np.ones((1, 1)), "bias": np.zeros(1)}
>>> at |= {"mean": np.zeros((2, 1)), "log_std": np.zeros((2, 1))}
>>> with arithmetic():  # of two ones, a second moment and a posterior
...     print(float(enclose(X, Settings(1, alpha=0.0, gamma=1.0, beta=1.0), at).energy))
3.0
"""

from typing import Any, NamedTuple

import numpy as np

from vaesurface.proof.balls import Ball, flint
from vaesurface.proof.cost import BIAS, LOG_GAMMA, MEAN, VARIANCE, Term, cost
from vaesurface.proof.form import Settings

__all__ = ["Enclosure", "enclose", "live_rows", "positions"]


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

        beta sum_j (mu_ij^2 + tau_ij - log tau_ij) + sum_r cost(m, v, b_r, log gamma),

    tau = sigma^2, `cost` of what the decoder says of x_ir, f(u) + b_r with u Gaussian of mean
    m = w_r . mu_i and variance v = sum_j w_rj^2 tau_ij. Its derivatives by the four are taken on to
    the parameters by the chain rule. Rows of the weight that are zero at a dead zone are held
    there: nothing depends on them to any order, and they are not among the p free parameters.
    """
    live = live_rows(settings, center["weight"])
    at = positions(center, live)
    box = {
        name: np.frompyfunc(flint.arb, 2, 1)(value, 0.0 if half is None else half[name])
        for name, value in center.items()
    }
    box["variance"] = np.frompyfunc(_exp_twice, 1, 1)(box["log_std"])
    log_gamma = _log_gamma(settings, box, X.shape[1])

    term = cost(settings)
    energy, gradient, hessian = _divergence(flint.arb(settings.beta), box, at)
    for i, r in np.ndindex(X.shape):
        bias, x = box["bias"][r], flint.arb(float(X[i, r]))
        part = term(x, *_decoded(box, i, r), bias, log_gamma[r])
        slopes, bends = _inner_derivatives(box, at, i, r, bool(live[r]))
        energy += part.value
        _add_by_chain_rule(gradient, hessian, part, slopes, bends)
    lower = np.tril_indices(len(gradient), -1)
    hessian[lower] = hessian.T[lower]
    n = len(X)
    return Enclosure(energy=energy / n, gradient=gradient / n, hessian=hessian / n)


def _log_gamma(settings: Settings, box: dict[str, Any], features: int) -> np.ndarray:
    """(d,), zero where the likelihood has no gamma."""
    if settings.learned:
        value = box["log_gamma"]
    else:
        gamma = 1.0 if settings.gamma is None else settings.gamma
        value = np.frompyfunc(_log, 1, 1)(np.asarray(gamma))
    return np.broadcast_to(np.asarray(value, object), (features,))


def _log(number: float) -> Ball:
    return flint.arb(number).log()


def live_rows(settings: Settings, weight: np.ndarray) -> np.ndarray:
    """(d,) whether a row of the weight takes part; it is held where it is zero at a dead zone."""
    return np.logical_or(weight.any(axis=1), not settings.dead)


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
        column = at["log_gamma"]
        shared.append((int(column[r] if column.ndim else column), {LOG_GAMMA: one}))
    return [*weights, *shared, *means, *log_stds], bends


def _add_by_chain_rule(
    gradient: np.ndarray, hessian: np.ndarray, term: Term, slopes: list, bends: list
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
