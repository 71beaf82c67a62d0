"""What is said of a point, and how is it known? The types of a verdict, and its words.

Verdicts are integers and numbers, so that they survive `vmap`; `label` and `evidence` read them as
words.

>>> Kind.SADDLE
<Kind.SADDLE: 2>
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from vaesurface.curvature import FLAT, Descent, Inertia
from vaesurface.problem import Params, Theory
from vaesurface.stationary.probe import Kink, Probe

STATIONARY = 1e-9  # gradient norm up to which `analyze` calls a point stationary
# Two criteria in units of each parameter's natural size (`Problem.size`, by default max(1,
# |theta|)). Moving one by its size changes the energy by at most SCALED: a runaway to |W| ~ 1e8 has
# a tiny gradient and fails this by orders of magnitude. The Newton step is at most NEAR: where the
# loss decays for ever (like exp(-w) or 1/w) it does not shrink with the gradient.
SCALED = 1e-7
NEAR = 1e-3
# Share of the ray's slope with which the energy must fall with log gamma at a point said to be on a
# ray to -inf. On one, with posteriors at their best, the expected squared error F is beta q gamma +
# O(gamma^2), and so dL/dlog gamma = d - F / gamma tends to the slope d - beta q; off it F tends to
# a constant, and d - F / gamma to -inf.
DOWNHILL = 0.5


class Kind(IntEnum):
    """What the Hessian, theory and a look around say of a point."""

    NOT_STATIONARY = 0
    MINIMUM = 1
    SADDLE = 2
    MAXIMUM = 3
    DEGENERATE = 4


class Outcome(IntEnum):
    """Why a way down or a refinement ended."""

    ON_THE_WAY = 0
    STATIONARY = 1
    NO_STEP = 2
    BELOW = 3
    NOT_FINITE = 4


REASONS = {
    Outcome.ON_THE_WAY: "it took as many steps as allowed",
    Outcome.STATIONARY: "a stationary point",
    Outcome.NO_STEP: "no step leads lower by more than rounding, though the gradient is not zero",
    Outcome.BELOW: "it came below the level asked for",
    Outcome.NOT_FINITE: "the start's energy is not finite",
}


class Refinement(NamedTuple):
    """What `refine` or `descend` did.

    params: the last point.
    converged: whether the gradient norm is at most 1e-10 and the Newton step from there negligible.
    grad_norm: () there.
    steps: taken.
    moved: (), Euclidean distance from the start.
    rise: (), by how much the energy rose above the start's on the way (0: it stayed in the start's
        own basin).
    outcome: an `Outcome`, why it ended.
    """

    params: Params
    converged: Array
    grad_norm: Array
    steps: Array
    moved: Array
    rise: Array
    outcome: Array

    @property
    def reason(self) -> Any:
        """Why it ended, in words: a string, or an array of strings over the leading axes."""
        words = np.vectorize(lambda outcome: REASONS[Outcome(int(outcome))], otypes=[object])
        return words(np.asarray(self.outcome))[()]

    @property
    def left(self) -> Array:
        """Whether the way led over a rise, out of the start's sublevel set: then it is not where
        descent would end.
        """
        return self.rise > 0


class StationaryPoint(NamedTuple):
    """A judged point; all fields survive `vmap`.

    params: what has no effect on the energy set to zero; loss; grad_norm; scaled_grad: max |size_i
    g_i|; newton_step: largest change of a parameter in the Newton step, in units of its size;
    inertia, and wide: the same with ten times the flat band; kind: a `Kind`; active (k,) bool, or
    None where the problem has no latents; theory: what is known in closed form, or None;
    symmetries: dimension of the loss's continuous symmetry; reliable: whether neither rounding nor
    the distance to the stationary point could change the count; optimal: at the global minimum;
    descent: like params, zero where none was found (None: not kept). Where eigenvalues are
    negative, a direction of length one along which, and against which, the loss falls for as far as
    the quadratic model holds; elsewhere the displacement to a lower point: loss(params + descent)
    is below loss, by more than rounding where a fall was measured, and the way there need not be
    straight. curvature: the quadratic form v'Hv of that v; probe: what was found along unexplained
    flat directions, or None; search: what a matrix-free search found, or None where all eigenvalues
    are known; refinement: what `refine` did, without its params, or None; kink: how well the loss
    follows its quadratic model, or None where theory knows that it is smooth.
    """

    params: Params
    loss: Array
    grad_norm: Array
    scaled_grad: Array
    newton_step: Array
    inertia: Inertia
    wide: Inertia
    kind: Array
    active: Array | None
    theory: Theory | None
    symmetries: Array
    reliable: Array
    optimal: Array
    descent: Params
    curvature: Array
    probe: Probe | None = None
    search: Descent | None = None
    refinement: Refinement | None = None
    kink: Kink | None = None

    @property
    def label(self) -> Any:
        """The verdict in words: a string, or an array of strings over the leading axes."""
        return _in_words(_label, self)

    @property
    def evidence(self) -> Any:
        """Why each part of the label is believed: a dict of sentences, or an array of dicts over
        the leading axes.
        """
        return _in_words(_evidence, self)

    @classmethod
    def words(cls, leaves: Mapping[str, Any]) -> Any:
        """Labels of many points, read from their leaves by name as `store` keeps them.

        None where the verdict is not among them.
        """
        if not {"kind", "grad_norm", "inertia_negative", "optimal"} <= leaves.keys():
            return None

        def rebuilt(part, prefix):
            return part(**{field: leaves.get(prefix + field) for field in part._fields})

        point = rebuilt(cls, "")._replace(
            inertia=rebuilt(Inertia, "inertia_"),
            theory=rebuilt(Theory, "theory_") if "theory_collapsed" in leaves else None,
            search=leaves.get("search_lower"),
            kink=rebuilt(Kink, "kink_") if "kink_found" in leaves else None,
        )
        return point.label


def _in_words(say: Callable[[StationaryPoint], Any], point: StationaryPoint) -> Any:
    shape = np.shape(point.kind)
    if not shape:
        return say(point)
    words = np.empty(shape, dtype=object)
    light = point._replace(params=None, descent=None)
    for index in np.ndindex(shape):
        words[index] = say(jax.tree.map(lambda x: x[index], light))
    return words.astype(str) if say is _label else words


def _label(p: StationaryPoint) -> str:
    collapsed = ", collapsed" * (p.theory is not None and bool(p.theory.collapsed))
    negative, flat, _ = (int(x) for x in p.inertia)
    match Kind(int(p.kind)):
        case Kind.NOT_STATIONARY if p.theory is not None and p.theory.runaway and p.theory.push > 0:
            if p.theory.minimum == -np.inf and p.theory.push >= DOWNHILL * p.theory.slope:
                return "global infimum -inf along this ray"
            return "not stationary: gamma runs to zero"
        case Kind.NOT_STATIONARY if p.grad_norm <= STATIONARY:
            return "not stationary, though the gradient is small"
        case Kind.NOT_STATIONARY:
            return "not stationary"
        case Kind.SADDLE if negative and p.reliable:
            # A flat direction that nothing explains may hide a descent direction too small for
            # float64.
            more = " or more" * (p.search is not None or _unexplained(p) > 0)
            return f"saddle of index {negative}{more}{collapsed}"
        case Kind.SADDLE:
            where = "a kink" if _kinked(p) else "a flat direction"
            where = (
                _rows(int(p.theory.falling)) if p.theory is not None and p.theory.falling else where
            )
            return f"degenerate saddle, descent along {where}{collapsed}"
        case Kind.MAXIMUM:
            return "maximum"
        case Kind.DEGENERATE if _kinked(p):
            return f"degenerate, not twice differentiable here{collapsed}"
        case Kind.DEGENERATE if p.search is not None:
            return (
                f"undecided, no {'' if p.reliable else 'lasting '}negative curvature "
                f"found{collapsed}"
            )
        case Kind.DEGENERATE:
            dead = 0 if p.theory is None else int(p.theory.dead_rows)
            by_rows = dead and p.active is not None and flat == dead * p.active.size
            what = f"{_rows(dead)}" if by_rows else f"{flat} flat direction{'s' * (flat != 1)}"
            return f"degenerate, {what}{collapsed}"
    if p.optimal:
        return f"global optimum{collapsed}"
    return "collapsed local minimum" if collapsed else "local minimum"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count > 1)} at zero"


def _kinked(p: StationaryPoint) -> bool:
    return p.kink is not None and bool(p.kink.found)


def _unexplained(p: StationaryPoint) -> int:
    explained = int(p.symmetries)
    if p.theory is not None:
        explained += int(p.theory.strict)
    return max(0, int(p.inertia.flat) - explained)


def _evidence(p: StationaryPoint) -> dict[str, str]:
    negative, flat, positive = (int(x) for x in p.inertia)
    reached = p.kind != Kind.NOT_STATIONARY
    said = {
        "stationary": f"{'yes' if reached else 'no'}: gradient norm {float(p.grad_norm):.1e} (at "
        f"most {STATIONARY:g}), "
        f"in units of the parameters' sizes at most {float(p.scaled_grad):.1e} ({SCALED:g}), "
        f"Newton step "
        f"{float(p.newton_step):.1e} ({NEAR:g})",
        "inertia": f"counted: {negative} negative, {flat} flat, {positive} positive eigenvalues "
        f"of the Hessian as computed in "
        f"float64, over all parameters; flat means |lambda| <= {FLAT:g} p eps max|lambda|",
    }
    if p.search is not None:
        said["inertia"] = _searched(p.search, p)
    elif not p.reliable and not _kinked(p):
        said["inertia"] = (
            "undecided: rounding, or the distance to the stationary point, could change the "
            "count of "
            f"{negative} negative, {flat} flat, {positive} positive eigenvalues"
        )
    elif tuple(map(int, p.wide)) != (negative, flat, positive):
        said["inertia"] += "; with ten times that width {} negative, {} flat, {} positive".format(
            *map(int, p.wide)
        )
    if negative and p.reliable and p.search is None and reached:
        said["descent"] = (
            f"measured: curvature {float(p.curvature):.3g} along the direction that `analyze` "
            f"hands back"
        )
    if p.symmetries > 0:
        said["symmetry"] = f"exact: {int(p.symmetries)} directions along which the loss is constant"
    if p.theory is not None:
        said |= _known(p, p.theory)
    if p.probe is not None and (
        p.kind == Kind.DEGENERATE or (p.kind == Kind.SADDLE and p.probe.falls)
    ):
        said["probe"] = f"{_looked(p.probe)} (distances in units of the parameters' sizes)"
    if p.kink is not None and p.kink.found:
        said["kink"] = (
            f"found: the loss leaves its quadratic model by {float(p.kink.mismatch):.3g} "
            f"distance^2 however near: not twice "
            "differentiable here, and eigenvalues say nothing"
        ) + (
            f"; along a straight line it falls, by {float(p.kink.drop):.3g}" if p.kink.falls else ""
        )
    return said


def _looked(q: Probe) -> str:
    where = f"by {float(q.drop):.3g} at distance {float(q.radius):.3g}"
    if q.falls:
        return f"found: along a flat direction the loss falls, {where}"
    if q.drop > 0:
        return (
            f"lower along a flat direction, {where}, but no fall all the way there could be "
            f"told from rounding: no verdict"
        )
    return (
        f"nothing lower found along {int(q.directions)} flat directions, up to distance "
        f"{float(q.radius):.3g}"
    )


def _searched(s: Descent, p: StationaryPoint) -> str:
    negative, lasting = int(p.inertia.negative), int(p.wide.negative)
    low, highest = float(s.eigenvalues[0]), float(s.highest)
    norm = max(abs(low), abs(highest))
    ends = (
        f"matrix-free, {int(s.products)} Hessian-vector products: Rayleigh quotients from "
        f"{low:.3g} (residual "
        f"{float(s.residuals[0]):.1g}) to {highest:.3g} ({float(s.highest_residual):.1g}); "
    )
    if negative:
        return (
            f"{ends}proved: at least {negative} negative eigenvalue{'s' * (negative > 1)} "
            f"({lasting} beyond ten times the flat "
            f"band {float(s.width):.1g}), `analyze` hands the lowest one's direction back"
        )
    if p.kind == Kind.DEGENERATE and s.lower > s.width:
        return (
            f"{ends}undecided: the lowest eigenvalue changes by more than a quarter over the "
            f"Newton step"
        )
    if not p.reliable:
        return f"{ends}undecided: negative ones change by more than a quarter over the Newton step"
    return (
        f"{ends}none negative found; no eigenvalue below {float(s.lower):.3g} = "
        f"{float(s.lower) / norm:.1g} ||H|| with "
        f"probability {1 - float(s.delta):g}"
        + ("" if s.settled else "; not as close as asked: more products are needed")
    )


def _known(p: StationaryPoint, theory: Theory) -> dict[str, str]:
    said = {}
    if theory.strict > 0 and p.kind in (Kind.MINIMUM, Kind.SADDLE):
        said["flat"] = (
            f"proved: the energy rises strictly along {int(theory.strict)} of the flat directions"
        )
        if theory.radius > 0:
            said["flat"] += (
                f"; nothing is lower while every row of the weight is shorter than "
                f"{float(theory.radius):.4g}, |log std| and "
                "the norms of the means are at most 0.01, the bias is within 0.01 sqrt(gammabar) "
                "of the data's mean and "
                "gamma, where learned, at least exp(-0.01) gammabar"
            )
    elif p.inertia.flat and p.kind == Kind.DEGENERATE:
        said["flat"] = f"not explained: {int(theory.dead_rows)} rows of the weight are at zero"
    if theory.falling > 0 and p.kind != Kind.NOT_STATIONARY:
        how_far = "by too little for float64"
        if theory.drop > 0:
            how_far = (
                f"by {float(theory.drop):.3g} in all at places on rays, none of which "
                f"shows a rise before"
            )
        said["rows"] = (
            f"proved: the energy falls as {int(theory.falling)} of the {int(theory.dead_rows)} "
            f"rows at zero leave it, at "
            f"first by less than any power of the distance; {how_far}"
        )
    if theory.minimum == -np.inf:
        said["global"] = (
            f"exact up to rounding of the data: the energy is unbounded below, it falls like "
            f"{float(theory.slope):g} log gamma "
            "along a ray (theory.unbounded_ray; proof.certify_unbounded asks for a proof without "
            "rounding)"
        )
    elif np.isfinite(theory.minimum):
        gap = float(p.loss - theory.minimum)
        said["global"] = f"exact: energy {gap:.1e} above the affine model's global minimum"
    else:
        said["global"] = (
            "unknown: no lower bound on the energy is known here; compare starts (tally.best_of)"
        )
    return said
