"""Can it be proved? Certificates of stationary points, checked in ball arithmetic from nothing but
the data.

`certify` proves one of two claims, `certify_unbounded` a third; `verify` proves each again from the
certificate and the data X (n, d). A certificate's numbers are doubles and mean just that; its
checksum guards against accidents, the proof against all else. Needs python-flint, and for
verification no JAX.

>>> from vaesurface import data, vae
>>> X = data.antipodal(d=2)
>>> problem = vae.threshold_vae(X, latent=1, alpha=0.5)
>>> certificate = certify(problem, problem.collapsed())
>>> certificate.claim, verify(certificate, X).valid, verify(certificate, 2 * X).valid
('collapsed minimum', True, False)
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaesurface import data
from vaesurface.proof import balls

if TYPE_CHECKING:
    from vaesurface.energy import VAEParams
    from vaesurface.problem import Problem

try:
    import flint
except ImportError:
    flint = None  # type: ignore[assignment]

__all__ = [
    "Certificate",
    "Unproved",
    "Verification",
    "certify",
    "certify_unbounded",
    "load",
    "save",
    "verify",
]

FORMAT = 1
POINT, COLLAPSED, UNBOUNDED = "stationary point", "collapsed minimum", "unbounded below"
# natural sizes that a point may be away from the stationary point it stands for, as in `stationary`
NEAR = 1e-3
SLACK = 0.01  # of the collapsed point's box in all but the weight, as in `theory.collapse_radius`
ROOM = 1e-4  # by which its radius stays below the largest: then some dozens of intervals suffice
PRIME = 2**61 - 1


class Unproved(ValueError):
    """The claim could not be proved, which does not say that it is false."""


class Certificate(NamedTuple):
    """A claim, and the numbers that `verify` needs to prove it; plain Python data.

    version of the format; data: `data.digest` of X; settings: latent, alpha, gamma (None: learned),
    beta; checksum: SHA-256 of all the rest. The numbers of a stationary point: center and
    half_width of a box (0 for what is held at zero), inertia (negative, flat, positive) over all
    parameters; of collapse: the box, radius being the norm of the weight's rows; of no lower bound:
    bias as fractions, pivots (columns of the data), rank, and energy <= constant + slope log gamma.
    """

    claim: str
    version: int
    data: str
    settings: dict[str, Any]
    numbers: dict[str, Any]
    checksum: str

    @property
    def statement(self) -> str:
        """What is proved if `verify` says so, in one sentence."""
        s, v = (
            self.settings,
            self.numbers,
        )  # numbers are printed in full: rounded, they would say more than is proved
        gamma = "gamma learned" if s["gamma"] is None else f"gamma = {s['gamma']}"
        about = f"At alpha = {s['alpha']}, beta = {s['beta']}, {gamma}, latents: {s['latent']}:"
        if self.claim == COLLAPSED:
            where = (
                f"rows of the weight <= {v['radius']}, |log_std| <= {v['log_std']}, norms of "
                f"the means <= {v['mean']}"
            )
            rest = f"bias within {v['bias']} of the data's mean" + f", gamma >= {v['gamma']}" * (
                s["gamma"] is None
            )
            return (
                f"{about} the collapsed point is a strict local minimum, lower than all else "
                f"with {where}, {rest}."
            )
        if self.claim == UNBOUNDED:
            bound = f"energy <= {v['constant']} + {v['slope']} log gamma for all gamma <= 1"
            return f"{about} the energy has no lower bound: on a ray of rank {v['rank']}, {bound}."
        negative, flat, positive = v["inertia"]
        extreme = "strict local maximum" if negative else "strict local minimum"
        kind = f"saddle of index {negative}" if negative and positive else extreme
        rows = flat // s["latent"]
        held = f" with {rows} row{'s' * (rows > 1)} of the weight held at zero" * (rows > 0)
        width = min(
            x for part in v["half_width"].values() for x in np.ravel(part).tolist() if x > 0
        )
        where = (
            f"exactly one stationary point{held} is in the box of half widths {width} and "
            f"more around the center"
        )
        among = " among points with those at zero" * (rows > 0)
        return (
            f"{about} {where}, a {kind}{among} ({negative} negative, {flat} flat, {positive} "
            f"positive eigenvalues)."
        )


class Verification(NamedTuple):
    """valid: whether the claim is proved; reason: what is proved, or why it is not."""

    valid: bool
    reason: str


def certify(
    problem: "Problem", params: "VAEParams", radius: float | None = None, index: int | None = None
) -> Certificate:
    """Prove what `params` is: the collapsed minimum (alpha > 0), or a stationary point of known
    inertia.

    radius: of the box in natural sizes (`problem.size`), or at the collapsed point the norm of the
    weight's rows; by default about the largest that can be proved. index: the number of negative
    eigenvalues to insist on. Rows of the weight without effect must be exactly zero, as
    `stationary.analyze` returns them; a stationary point's are then held there, and nothing is
    claimed of points where they are not. Raises Unproved (a ValueError) where there is no proof,
    ValueError for arguments that do not fit and for a problem without recipe.
    """
    X, settings = _settings(problem)
    if radius is not None and not 0 < radius < math.inf:
        raise ValueError(f"expected a radius > 0, got {radius}; choose another")
    radius = None if radius is None else float(radius)
    given = _parts(X, settings, {k: v for k, v in params._asdict().items() if v is not None})
    sizes = {k: np.maximum(1.0, np.abs(v)) for k, v in given.items()}
    if problem.size is not None:
        sizes = {
            k: np.asarray(v) for k, v in problem.size(params)._asdict().items() if v is not None
        }
    trivial = {k: np.zeros_like(v) for k, v in given.items()} | {"bias": X.mean(axis=0)}
    if settings["gamma"] is None:
        trivial["log_gamma"] = np.log(np.mean((X - X.mean(axis=0)) ** 2))
    with balls.arithmetic():
        if (
            settings["alpha"] > 0
            and not given["weight"].any()
            and _distance(given, trivial, sizes) <= NEAR
        ):
            claim, numbers, found = COLLAPSED, _region(X, settings, radius), 0
        else:
            claim, numbers = POINT, _box(X, settings, given, sizes, radius)
            found = numbers["inertia"][0]
    certificate = _seal(claim, X, settings, numbers)
    if index not in (None, found):
        raise Unproved(
            f"expected index {index}, got a proof of another: {certificate.statement}; ask for "
            f"that, or for none"
        )
    return certificate


def certify_unbounded(problem: "Problem", bias: Iterable[Any] | None = None) -> Certificate:
    """Prove that with gamma learned the energy has no lower bound: on a ray along which the decoder
    reproduces the data.

    bias (d,): numbers or fractions; by default the data's mean is tried, then their midrange.
    Raises Unproved (a ValueError) where this gives no proof.
    """
    X, settings = _settings(problem)
    columns = [[Fraction(x) for x in column] for column in X.T.tolist()]
    tried = [
        [sum(c, Fraction()) / len(c) for c in columns],
        [(min(c) + max(c)) / 2 for c in columns],
    ]
    if bias is not None:
        tried = [[Fraction(b if isinstance(b, str | Fraction) else float(b)) for b in bias]]
    reason = Unproved()
    for candidate in tried:
        try:
            with balls.arithmetic():
                pivots, slope, constant = _ray(X, settings, candidate)
        except Unproved as error:
            reason = error
            continue
        low, high = float(slope), float(constant)
        numbers = {
            "bias": [str(b) for b in candidate],
            "pivots": pivots,
            "rank": len(pivots),
            "slope": low if low <= slope else math.nextafter(low, 0.0),
            "constant": high if high >= constant else math.nextafter(high, math.inf),
        }
        return _seal(UNBOUNDED, X, settings, numbers)
    raise reason


def verify(certificate: Certificate, X: Any) -> Verification:
    """Prove the claim again for the data X (n, d); nothing in the certificate is taken on trust."""
    X = data.check(X)
    with balls.arithmetic():
        try:
            claim, version = certificate.claim, certificate.version
            if certificate.checksum != _checksum(certificate):
                return Verification(False, "the certificate was changed: its checksum is another")
            if version != FORMAT or claim not in _PROOFS:
                return Verification(
                    False, f"not a certificate of format {FORMAT}: {claim!r} in format {version!r}"
                )
            if certificate.data != data.digest(X):
                return Verification(False, "the certificate is for other data")
            _PROOFS[claim](X, _checked(X, certificate.settings), certificate.numbers)
            return Verification(True, certificate.statement)
        except Unproved as reason:
            return Verification(False, f"no proof: {reason}")
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
            ArithmeticError,
        ) as error:
            return Verification(False, f"not a certificate: {type(error).__name__}: {error}")


def save(certificate: Certificate, path: str | os.PathLike) -> None:
    """Write a certificate as JSON, all at once or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(_text(certificate))
    temporary.replace(path)


def load(path: str | os.PathLike) -> Certificate:
    """Read a certificate. Raises ValueError unless the file is, to the letter, as `save` writes
    it.
    """
    try:
        text = Path(path).read_text()
        certificate = Certificate(**json.loads(text))
        same = _text(certificate) == text
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"expected a certificate, got {path}: {error}; certify again") from error
    if not same:
        raise ValueError(
            f"expected a certificate as it was saved, got {path}, which was changed; certify again"
        )
    return certificate


# A stationary point.


def _box(
    X: np.ndarray, settings: dict, given: dict, sizes: dict, radius: float | None
) -> dict[str, Any]:
    """Numbers of a proved stationary point: Newton's method down to rounding, then the largest box
    out of a few.
    """
    live = balls.live_rows(settings, given["weight"])
    at, center = balls.positions(given, live), given
    for _ in range(20):
        _, gradient, hessian = balls.enclose(X, settings, center)
        try:
            newton = np.linalg.solve(balls.middle(hessian), -balls.middle(gradient))
        except np.linalg.LinAlgError as error:
            raise Unproved(
                "expected an invertible Hessian, got a singular one; set rows without effect to "
                "zero"
            ) from error
        step = {k: np.where(at[k] < 0, 0.0, newton[at[k]]) for k in center}
        before, center = center, {k: center[k] + step[k] for k in center}
        moved = _distance(center, given, sizes)
        if not moved <= 1 or _distance(center, before, sizes) <= 2.0**-52:
            break
    if not moved <= (radius or NEAR):
        near = f"a point within {radius or NEAR:g} natural sizes of a stationary one"
        raise Unproved(
            f"expected {near}, got one that Newton's method moves by {moved:.1e}; refine it"
        )
    reason = ""
    for r in [radius] if radius else 10.0 ** -np.arange(1, 14):
        half = {k: np.where(at[k] < 0, 0.0, r * sizes[k]) for k in center}
        try:
            inertia = _inertia(X, settings, center, half)
        except Unproved as error:
            reason = str(error)
            continue
        return {"center": _plain(center), "half_width": _plain(half), "inertia": inertia}
    tried, remedy = (
        (radius, "choose a smaller radius, or none")
        if radius
        else ("1e-1 to 1e-13", "certify another point")
    )
    raise Unproved(f"expected a box that can be proved, got radius {tried}: {reason}; {remedy}")


def _prove_point(X: np.ndarray, settings: dict, numbers: dict) -> None:
    _require_keys(numbers, "center", "half_width", "inertia")
    center, half = (_parts(X, settings, numbers[k]) for k in ("center", "half_width"))
    found = _inertia(X, settings, center, half)
    if not _same(numbers["inertia"], found):
        raise Unproved(f"the inertia is {found}, not {numbers['inertia']}")


def _inertia(X: np.ndarray, settings: dict, center: dict, half: dict) -> list[int]:
    """Negative, flat and positive eigenvalues all over the box. Raises Unproved unless that holds
    one stationary point.

    A, the Hessian's enclosure over the box entry by entry, contains its mean along every segment in
    the box. Krawczyk: if (I - Y A) [-1, 1]^p - Y g(center), in half widths, is inside (-1, 1)^p,
    the gradient g has one zero in the box, and no second one; any Y does. Sylvester: if ||L H L' -
    S|| < 1 for all H in A, S a diagonal of signs, then H has the inertia of S. The energy is flat
    to all orders in rows of the weight at zero (alpha > 0): those are held, and all derivatives
    zero.
    """
    live = balls.live_rows(settings, center["weight"])
    at = balls.positions(center, live)
    if not all(np.array_equal(np.sign(half[k]), at[k] >= 0) for k in half):
        raise Unproved("half widths must be positive, and zero for rows of the weight held at zero")
    width = np.concatenate([half[k][at[k] >= 0] for k in center])
    scale = np.frompyfunc(flint.arb, 1, 1)(width)
    gradient = balls.enclose(X, settings, center)[1] * scale
    hessian = balls.enclose(X, settings, center, half)[2] * scale[:, None] * scale
    middle = balls.middle(hessian)
    if not np.isfinite(middle).all():
        raise Unproved("second derivatives are not bounded on the box")
    values, vectors = np.linalg.eigh(middle)
    signs = np.sign(values)
    with np.errstate(all="ignore"):
        root = (vectors / np.sqrt(np.abs(values))).T
        inverse = root.T @ (signs[:, None] * root)
    if not (np.isfinite(root).all() and np.isfinite(inverse).all()):
        raise Unproved("the Hessian is singular to rounding")
    A, L, Y = (flint.arb_mat(x.tolist()) for x in (hessian, root, inverse))
    shift = (Y * flint.arb_mat([[g] for g in gradient])).entries()
    contraction = (Y * A - flint.arb_mat(len(width), len(width), 1)).tolist()
    if not all(sum(map(abs, row), abs(g)) < 1 for row, g in zip(contraction, shift, strict=True)):
        raise Unproved("Krawczyk's operator does not map the box into itself")
    congruence = (L * A * L.transpose() - flint.arb_mat(np.diag(signs).tolist())).tolist()
    if not all(sum(map(abs, row)) < 1 for row in congruence):
        raise Unproved("the signs of the Hessian's eigenvalues could change on the box")
    return [int((signs < 0).sum()), int((~live).sum()) * settings["latent"], int((signs > 0).sum())]


# The collapsed minimum. With w the norm of row r, m and v = s^2 the mean and variance of its W z, a
# = alpha / s: in the box |log sigma| <= tau, ||mu_i|| <= t, ||b - xbar|| <= c, gamma >= g, w <=
# rho, the energy exceeds that at collapse by a term in b and gamma that xbar, gammabar alone
# minimize, a term in sigma that 1 alone minimizes, and the mean over i of
#
#     beta ||mu_i||^2 + sum_r [-2 (x_ir - b_r) E pi + E pi^2] / gamma.
#
# |E pi| <= |m| P, since d/dm E pi = P = P(|u| > alpha) grows with |m|; and E pi^2 is at least its
# value at m = 0, 2 v h2(a). By Cauchy and Schwarz that is a positive definite form in (||mu_i||,
# 1), or beta ||mu_i||^2 where W = 0, if in rows with w > 0
#
#     ||x_i - b||^2 w^2 P^2 < 2 beta gamma v h2(a).   As w <= e^tau s and |m| <= w t <= s D, D =
# e^tau t, it is enough that     K [Q(a - D) + Q(a + D)]^2 < 2 h2(a),   K = e^(2 tau) (max ||x_i -
# xbar|| + c)^2 / (beta g),  for a >= alpha / (rho e^tau).
#
# Q and h2 decrease: the left at a1 and the right at a2 decide all of [a1, a2]. From a = max(4, 2 D
# + 1) on, a - D >= a / 2, Q(x) <= phi(x) / x and h2(a) >= phi(a) (2 / a^3 - 12 / a^5) >= phi(a) /
# a^3 bound left over right by 8 K a exp(2 a D - D^2 - a^2 / 2) / sqrt(2 pi), which decreases there.


def _region(X: np.ndarray, settings: dict, radius: float | None) -> dict[str, Any]:
    """Numbers of a proved collapsed minimum."""
    gammabar = float(np.mean((X - X.mean(axis=0)) ** 2))
    gamma = settings["gamma"] or gammabar * math.exp(-SLACK)
    box = {"log_std": SLACK, "mean": SLACK, "bias": SLACK * math.sqrt(gammabar), "gamma": gamma}
    K, D = _constants(X, settings, box)
    low, high = 1e-6, 30.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _holds(K, D, middle, middle) else (middle, high)
    largest = settings["alpha"] * math.exp(-SLACK) / high * (1 - ROOM)
    numbers = {"radius": radius or largest, **box}
    try:
        _prove_collapse(X, settings, numbers)
    except Unproved as error:
        given = f"rows of norm <= {numbers['radius']:g}: {error}"
        raise Unproved(
            f"expected a box that can be proved, got {given}; choose a radius up to {largest:g}"
        ) from error
    return numbers


def _prove_collapse(X: np.ndarray, settings: dict, numbers: dict) -> None:
    _require_keys(numbers, "radius", "log_std", "mean", "bias", "gamma")
    if (
        not all(isinstance(x, float) and 0 < x < math.inf for x in numbers.values())
        or not settings["alpha"] > 0
    ):
        raise Unproved("alpha and the sizes of the box must be positive")
    K, D = _constants(X, settings, numbers)
    nearest = flint.arb(settings["alpha"]) / (
        flint.arb(numbers["radius"]) * flint.arb(numbers["log_std"]).exp()
    )
    a = math.nextafter(float(nearest.lower()), 0.0)
    far = max(a, 4.0, math.nextafter(float((2 * D + 1).upper()), math.inf))
    while (
        not 8 * K * far * (2 * far * D - D * D - flint.arb(far) * far / 2).exp()
        < (2 * flint.arb.pi()).sqrt()
    ):
        far *= 1.25
        if not far < 1e6:
            raise Unproved("the box is too large")
    width = 1.0
    for _ in range(2000):
        if a >= far:
            return
        holds = _holds(K, D, a, a + width)
        a, width = (a + width, 2 * width) if holds else (a, width / 2)
    raise Unproved(
        f"the inequality fails, or nearly, for rows of standard deviation alpha / {a:.6g}"
    )


def _constants(X: np.ndarray, settings: dict, box: dict) -> tuple[Any, Any]:
    """K and D. Raises Unproved unless the collapsed point has a gamma that the box allows."""
    Z = np.frompyfunc(flint.arb, 1, 1)(X)
    Z = Z - Z.sum(axis=0) / len(X)
    squares = (Z * Z).sum(axis=1)
    learned, gamma = settings["gamma"] is None, flint.arb(box["gamma"])
    if not (gamma < squares.sum() / X.size if learned else gamma == flint.arb(settings["gamma"])):
        raise Unproved(
            "gamma must be below the data's where it is learned, and what it is where it is fixed"
        )
    reach = max(x.upper() for x in squares).sqrt() + flint.arb(box["bias"])
    growth = flint.arb(box["log_std"]).exp()
    return growth**2 * reach**2 / (flint.arb(settings["beta"]) * gamma), growth * flint.arb(
        box["mean"]
    )


def _holds(K: Any, D: Any, a1: float, a2: float) -> bool:
    return bool(K * (balls.tail(a1 - D) + balls.tail(a1 + D)) ** 2 < 2 * balls.h2(flint.arb(a2)))


# No lower bound. If M = X - b + alpha sign(X - b) = C F with q columns in C, take W = F', mu = C
# and sigma^2 = gamma (the other latents at the prior, their columns of W zero): W z has mean M, and
# pi(M) = X - b. As pi is 1-Lipschitz, the mean squared error is at most gamma ||F||^2, and so for
# gamma <= 1
#
#     energy <= ||F||^2 + beta (k + mean ||C_i||^2) + (d - beta q) log gamma.


def _ray(
    X: np.ndarray, settings: dict, bias: list[Fraction]
) -> tuple[list[int], Fraction, Fraction]:
    """Pivots, slope and constant of the ray for that bias, exactly."""
    (n, d), latent, alpha = X.shape, settings["latent"], Fraction(settings["alpha"])
    if settings["gamma"] is not None:
        raise Unproved(
            "expected gamma to be learned, got it fixed: then the energy has a lower bound; "
            "leave gamma out"
        )
    if len(bias) != d:
        raise ValueError(f"expected a bias of {d} numbers, got {len(bias)}; give one a feature")
    errors = [Fraction(x) - b for row in X.tolist() for x, b in zip(row, bias, strict=True)]
    entries = [e + alpha * ((e > 0) - (e < 0)) for e in errors]
    # Modulo a prime the rank can only be smaller, and is quickly found where it is large.
    modular = [e.numerator * pow(e.denominator, -1, PRIME) % PRIME for e in entries]
    rank = flint.nmod_mat(n, d, modular, PRIME).rank()
    if rank <= latent:
        reduced, rank = flint.fmpq_mat(
            n, d, [flint.fmpq(e.numerator, e.denominator) for e in entries]
        ).rref()
    if rank > latent:
        raise Unproved(
            f"expected shifted data of rank <= {latent} (latents), got {rank} or more; choose "
            f"another bias"
        )
    slope = d - Fraction(settings["beta"]) * rank
    if not slope > 0:
        raise Unproved(
            f"expected beta times rank < {d} (features), got {float(d - slope):g}; choose a "
            f"smaller beta"
        )
    F = [[Fraction(int(x.p), int(x.q)) for x in row] for row in reduced.tolist()[:rank]]
    pivots = [next(r for r in range(d) if row[r]) for row in F]
    C = [entries[i * d + r] for i in range(n) for r in pivots]
    cost = latent + sum(c * c for c in C) / n
    return pivots, slope, sum((x * x for row in F for x in row), Fraction(settings["beta"]) * cost)


def _prove_ray(X: np.ndarray, settings: dict, numbers: dict) -> None:
    _require_keys(numbers, "bias", "pivots", "rank", "slope", "constant")
    if not all(re.fullmatch(r"-?\d{1,4000}(/\d{1,4000})?", b) for b in numbers["bias"]):
        raise Unproved("the bias must be fractions")
    pivots, slope, constant = _ray(X, settings, [Fraction(b) for b in numbers["bias"]])
    if not _same([*numbers["pivots"], numbers["rank"]], [*pivots, len(pivots)]):
        raise Unproved(f"the pivots are {pivots}, the rank is {len(pivots)}")
    if not all(type(numbers[k]) is float for k in ("slope", "constant")):
        raise Unproved("slope and constant must be decimal numbers")
    if not (0 < numbers["slope"] <= slope and constant <= numbers["constant"] < math.inf):
        raise Unproved(
            f"the energy is known to be at most {float(constant)} + {float(slope)} log gamma"
        )


_PROOFS = {POINT: _prove_point, COLLAPSED: _prove_collapse, UNBOUNDED: _prove_ray}


def _settings(problem: "Problem") -> tuple[np.ndarray, dict[str, Any]]:
    from vaesurface.problem import recipe_of

    recipe = recipe_of(problem)
    if recipe is None:
        raise ValueError(
            "expected a problem of vae.threshold_vae, got one without recipe; proofs are about "
            "that energy"
        )
    make, arrays = recipe
    given = arrays | vars(make)
    settings = {
        k: None if given[k] is None else float(given[k]) for k in ("alpha", "gamma", "beta")
    }
    return data.check(given["X"]), {"latent": int(given["latent"]), **settings}


def _checked(X: np.ndarray, settings: dict) -> dict[str, Any]:
    _require_keys(settings, "latent", "alpha", "gamma", "beta")
    latent, alpha, gamma, beta = (settings[k] for k in ("latent", "alpha", "gamma", "beta"))
    if type(latent) is not int or not 1 <= latent <= X.shape[1]:
        raise Unproved(f"latents must be between 1 and {X.shape[1]}")
    if not all(isinstance(x, float) for x in (alpha, beta) + (gamma,) * (gamma is not None)):
        raise Unproved("settings must be numbers")
    if not (
        0 <= alpha < math.inf and 0 < beta < math.inf and (gamma is None or 0 < gamma < math.inf)
    ):
        raise Unproved("alpha must be at least 0, beta and gamma positive")
    return settings


def _parts(X: np.ndarray, settings: dict, given: dict) -> dict[str, np.ndarray]:
    """Parameters as float64 arrays, in the order of `VAEParams`; ValueError unless they fit the
    data and are finite.
    """
    (n, d), k = X.shape, settings["latent"]
    shapes: dict[str, tuple] = {
        "weight": (d, k),
        "bias": (d,),
        "log_gamma": (),
        "mean": (n, k),
        "log_std": (n, k),
    }
    if settings["gamma"] is not None:
        del shapes["log_gamma"]
    _require_keys(given, *shapes)
    parts = {name: np.asarray(given[name]) for name in shapes}
    for name, part in parts.items():
        if part.dtype != np.float64 or part.shape != shapes[name] or not np.isfinite(part).all():
            raise ValueError(
                f"expected {name} finite, float64 and {shapes[name]}, got {part.dtype} "
                f"{part.shape}; correct it"
            )
    return parts


def _distance(a: dict, b: dict, sizes: dict) -> float:
    return max(float(np.max(np.abs(a[k] - b[k]) / sizes[k])) for k in a)


def _plain(parts: dict) -> dict[str, Any]:
    return {k: v.tolist() for k, v in parts.items()}


def _same(given: Any, integers: list[int]) -> bool:
    """Whether they are those numbers, and plain integers: True and 1.0 equal 1, and read
    otherwise.
    """
    return given == integers and all(type(x) is int for x in given)


def _require_keys(given: dict, *keys: str) -> None:
    if set(given) != set(keys):
        raise ValueError(
            f"expected {', '.join(keys)}, got {', '.join(map(str, given))}; give just these"
        )


def _seal(claim: str, X: np.ndarray, settings: dict, numbers: dict) -> Certificate:
    certificate = Certificate(claim, FORMAT, data.digest(X), settings, numbers, "")
    return certificate._replace(checksum=_checksum(certificate))


def _checksum(certificate: Certificate) -> str:
    rest = certificate._replace(checksum="")
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _text(certificate: Certificate) -> str:
    return json.dumps(certificate._asdict(), indent=1, allow_nan=False) + "\n"
