"""What is said of a point, and how is it known? The types of a verdict, and its words.

Verdicts are integers and numbers, so that they survive `vmap`; `label` and `evidence` read them as
words.

>>> Kind.SADDLE
<Kind.SADDLE: 2>
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from vaesurface.curvature import FLAT, Descent, Inertia
from vaesurface.glance import brief
from vaesurface.problem import Params, Theory
from vaesurface.stationary.lines import Kink
from vaesurface.stationary.pieces import Outcome as Pieces
from vaesurface.stationary.probe import Probe
from vaesurface.stationary.telling import kinks_in_words
from vaesurface.stationary.ties import Ties, at_tie

__all__ = ["NEAR", "SCALED", "STATIONARY", "Kind", "Outcome", "Refinement", "StationaryPoint"]

STATIONARY = 1e-9  # gradient norm up to which `analyze` calls a point stationary
# Two criteria in units of each parameter's natural size (`Problem.size`, by default max(1,
# |theta|)). Moving one by its size changes the energy by at most SCALED: a runaway to |W| ~ 1e8 has
# a tiny gradient and fails this by orders of magnitude. The Newton step is at most NEAR: where the
# loss decays for ever (like exp(-w) or 1/w) it does not shrink with the gradient.
SCALED = 1e-7
NEAR = 1e-3
AWAY = 10.0  # growth of the parameters' norm, in their sizes at the start, that is worth a word
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


@brief("grad_norm", "steps", "moved", "rise", "params", title="reason")
class Refinement(NamedTuple):
    """What `refine` or `descend` did.

    params: the last point.
    converged: whether the gradient norm is at most 1e-10 and the Newton step from there negligible.
    grad_norm: () there.
    steps: taken.
    moved: (), Euclidean distance from the start.
    rise: (), by how much the energy rose above the start's on the way (0: it stayed in the start's
        own basin).
    outcome: an `Outcome`, why it ended; None in results of earlier versions.
    grown: (), norm of the last point over that of the parameters' sizes at the start, where the
        loss is lower; else 0. None in results of earlier versions.
    """

    params: Params
    converged: Array
    grad_norm: Array
    steps: Array
    moved: Array
    rise: Array
    outcome: Array | None = None
    grown: Array | None = None

    @property
    def reason(self) -> Any:
        """Why it ended, in words: a string, or an array of strings over the leading axes."""
        grown = 0.0 if self.grown is None else self.grown
        return np.vectorize(_reason, otypes=[object])(np.asarray(self.outcome), grown)[()]

    @property
    def left(self) -> Array:
        """Whether the way led over a rise, out of the start's sublevel set: then it is not where
        descent would end.
        """
        return self.rise > 0


def _reason(outcome: int, grown: float) -> str:
    """Why a way ended, and what helps where parameters had not stopped growing."""
    reason = REASONS[Outcome(int(outcome))]
    if outcome != Outcome.ON_THE_WAY or grown < AWAY:
        return reason
    return (
        f"{reason}, while the loss fell and the parameters grew to {grown:.3g} times their size at "
        f"the start: they run away if it has no minimum there; add weight decay"
    )


@brief("loss", "grad_norm", "inertia", "active", "evidence", "params", title="label")
class StationaryPoint(NamedTuple):
    """A judged point; all fields survive `vmap`.

    params: with what has no effect on the energy set to zero.
    loss: (), of the problem there, in its units.
    grad_norm: (), Euclidean, over all parameters.
    scaled_grad: (), max |size_i g_i|.
    newton_step: (), largest change of a parameter in the Newton step, in units of its size.
    inertia: of all eigenvalues, or of those that `search` knows; those that do not stand the way to
        the stationary point count as flat.
    wide: the same with ten times the flat band.
    kind: (), a `Kind`.
    active: (k,) bool, or None where the problem has no latents.
    theory: what is known in closed form, or None.
    symmetries: (), dimension of the loss's continuous symmetry.
    reliable: (), whether neither rounding nor the distance to the stationary point could change the
        count.
    optimal: (), whether it is at the global minimum.
    descent: like params, zero where none was found (None: not kept). Where eigenvalues are
        negative, a direction of length one along which, and against which, the loss falls for as
        far as the quadratic model holds; elsewhere the displacement to a lower point: loss(params +
        descent) is below loss, by more than rounding where a fall was measured, and the way there
        need not be straight.
    curvature: (), the quadratic form v'Hv of that v.
    probe: what was found along unexplained flat directions, or None.
    search: what a matrix-free search found, or None where all eigenvalues are known.
    refinement: what `refine` did, without its params, or None.
    kink: how well the loss follows its quadratic model, or None where it is known to be smooth.
    ties: which of the loss's operations are not smooth there, and what the smooth pieces that meet
        there say; None where all operations are smooth.
    rounding: (), norm of what rounding changes the gradient by, of which four times are no
        gradient.
    beyond: (), sizes within which no stationary point lies: the gradient along flat directions over
        the most that they may curve; 0 where it is rounding.
    missing_gradient: (), its entries that are not finite.
    missing_hessian: (), the same of the Hessian; then no eigenvalue is counted.
    size: (), number of parameters.
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
    ties: Ties | None = None
    rounding: Array | None = None
    beyond: Array | None = None
    missing_gradient: Array | None = None
    missing_hessian: Array | None = None
    size: Array | None = None

    @property
    def label(self) -> Any:
        """The verdict in words: a string, or an array of strings over the leading axes."""
        return _in_words(_label, self)

    @property
    def evidence(self) -> Any:
        """Why each part of the label is believed: a dict of sentences, or an array of dicts over
        the leading axes.

        Its keys, of which a point has those that there is something to say of: stationary, inertia,
        descent, symmetry, flat, rows, global, probe, kink.
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
            ties=rebuilt(Ties, "ties_") if "ties_active" in leaves else None,
        )
        return point.label


def _in_words(say: Callable[[StationaryPoint], Any], point: StationaryPoint) -> Any:
    """What `say` says of one point, or an array of it over the leading axes."""
    shape = np.shape(point.kind)
    if not shape:
        return say(point)
    words = np.empty(shape, dtype=object)
    light = jax.device_get(point._replace(params=None, descent=None))
    for index in np.ndindex(shape):
        words[index] = say(jax.tree.map(itemgetter(index), light))
    return words.astype(str) if say is _label else words


def _label(p: StationaryPoint) -> str:
    collapsed = ", collapsed" * (p.theory is not None and bool(p.theory.collapsed))
    match Kind(int(p.kind)):
        case Kind.NOT_STATIONARY:
            return _not_stationary(p)
        case Kind.SADDLE:
            return f"{_saddle(p)}{collapsed}"
        case Kind.MAXIMUM:
            return "maximum"
        case Kind.DEGENERATE:
            return f"{_degenerate(p)}{collapsed}"
    if p.optimal:
        return f"global optimum{collapsed}"
    return "collapsed local minimum" if collapsed else "local minimum"


def _not_stationary(p: StationaryPoint) -> str:
    if not np.isfinite(p.loss):
        return f"not stationary: the energy here is {float(p.loss):g}"
    if p.theory is not None and p.theory.runaway and p.theory.push > 0:
        if p.theory.minimum == -np.inf and p.theory.push >= DOWNHILL * p.theory.slope:
            return "global infimum -inf along this ray"
        return "not stationary: gamma runs to zero"
    if _nowhere_near(p):
        within = max(NEAR, float(p.beyond or 0.0))
        return f"not stationary: no stationary point found within {within:.2g} of the sizes"
    if p.grad_norm <= STATIONARY:
        return "not stationary, though the gradient is small"
    return "not stationary"


def _nowhere_near(p: StationaryPoint) -> bool:
    """Whether the gradient is small, and what it is divided by is smaller."""
    far = p.newton_step > NEAR or (p.beyond is not None and p.beyond >= NEAR)
    return bool(p.grad_norm <= STATIONARY and far)


def _missing(p: StationaryPoint) -> str:
    """What is not finite, in words; empty where all is."""
    parts = (
        ("gradient", p.missing_gradient, p.size),
        ("Hessian", p.missing_hessian, None if p.size is None else p.size**2),
    )
    for part, count, total in parts:
        if count is not None and total is not None and count > 0:
            return f"undecided: {int(count)} of {int(total)} entries of the {part} are not finite"
    return ""


def _saddle(p: StationaryPoint) -> str:
    negative = int(p.inertia.negative)
    if negative and p.reliable and not _tied(p):
        # A flat direction that nothing explains may hide a descent direction too small for float64.
        more = " or more" * (p.search is not None or _unexplained(p) > 0)
        return f"saddle of index {negative}{more}"
    where = "a kink" if _kinked(p) or _tied(p) else "a flat direction"
    if p.theory is not None and p.theory.falling:
        where = _rows(int(p.theory.falling))
    return f"degenerate saddle, descent along {where}"


def _degenerate(p: StationaryPoint) -> str:
    if missing := _missing(p):
        return missing
    if _kinked(p):
        return "degenerate, not twice differentiable here"
    if _tied(p) and p.reliable and p.search is None and not _unexplained(p):
        negative = int(p.inertia.negative)
        word = f"saddle of index {negative}" if negative else "local minimum"
        return f"{word} if twice differentiable here"
    if p.search is not None:
        lasting = "" if p.reliable else "lasting "
        return f"undecided, no {lasting}negative curvature found"
    if _formed(p):
        return "undecided, no fall of the leading form was found"
    flat, dead = int(p.inertia.flat), 0 if p.theory is None else int(p.theory.dead_rows)
    if dead and p.active is not None and flat == dead * p.active.size:
        return f"degenerate, {_rows(dead)}"
    return f"degenerate, {flat} flat direction{'s' * (flat != 1)}"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count > 1)} at zero"


def _kinked(p: StationaryPoint) -> bool:
    """Whether it is at a kink of which nothing is known."""
    if p.theory is not None and p.theory.corner is not None and bool(p.theory.corner):
        return True
    return p.kink is not None and bool(p.kink.found)


def _formed(p: StationaryPoint) -> bool:
    """Whether a leading form, in place of the Hessian, decides."""
    return p.theory is not None and p.theory.form is not None and bool(p.theory.form[0] >= 0)


def _tied(p: StationaryPoint) -> bool:
    """Whether operations are at a tie there whose side makes a difference."""
    return p.ties is not None and bool(at_tie(p.ties) and p.ties.outcome != Pieces.SMOOTH)


def _unexplained(p: StationaryPoint) -> int:
    """Number of flat directions along which nothing is known."""
    explained = int(p.symmetries)
    if p.theory is not None:
        explained += int(p.theory.strict) + int(p.theory.family or 0)
    return max(0, int(p.inertia.flat) - explained)


def _evidence(p: StationaryPoint) -> dict[str, str]:
    """A sentence for each part that there is something to say of."""
    sentences = {
        "stationary": _on_the_gradient(p),
        "inertia": _on_inertia(p),
        "descent": _on_descent(p),
        "symmetry": _on_symmetry(p),
        "flat": _on_flat_directions(p),
        "rows": _on_rows(p),
        "global": _on_the_minimum(p),
        "probe": _on_the_probe(p),
        "kink": kinks_in_words(p.kink, None if p.kind == Kind.NOT_STATIONARY else p.ties),
    }
    return {part: sentence for part, sentence in sentences.items() if sentence}


def _on_the_gradient(p: StationaryPoint) -> str:
    pieces_rise = p.ties is not None and p.ties.outcome == Pieces.RISES
    if p.kind == Kind.MINIMUM and p.grad_norm > STATIONARY and pieces_rise:
        return (
            f"yes: no smooth piece that meets here falls; the gradient, of norm "
            f"{float(p.grad_norm):.1e}, is that of one"
        )
    reached = "no" if p.kind == Kind.NOT_STATIONARY else "yes"
    if p.missing_gradient is not None and p.missing_gradient > 0:
        reached = "unknown"
    rounding, beyond = "", ""
    if p.rounding is not None and p.grad_norm > STATIONARY and np.isfinite(p.rounding):
        rounding = f", four times its rounding of {float(p.rounding):.1e} left out"
    if p.beyond is not None and p.beyond >= NEAR:
        beyond = (
            f"; along flat directions it is too large for a stationary point within "
            f"{float(p.beyond):.2g} sizes"
        )
    return (
        f"{reached}: gradient norm {float(p.grad_norm):.1e} (at most {STATIONARY:g}{rounding}), "
        f"in units of the parameters' sizes at most {float(p.scaled_grad):.1e} ({SCALED:g}), "
        f"Newton step {float(p.newton_step):.1e} ({NEAR:g}){beyond}"
    )


def _on_inertia(p: StationaryPoint) -> str:
    if p.search is not None:
        return _on_the_search(p, p.search)
    if missing := _missing(p):
        return missing
    negative, flat, positive = (int(x) for x in p.inertia)
    if _formed(p):
        return (
            "exact: the activation has a corner at 0, so there is no Hessian where W = 0; the "
            f"energy's leading form, of degree two, falls along {negative} directions and rises "
            f"along {positive}{_between(flat)}, biases and posteriors following the weight "
            "(theory.corner)"
        )
    counts = f"{negative} negative, {flat} flat, {positive} positive eigenvalues"
    if not p.reliable and not _kinked(p):
        return (
            "undecided: rounding, or the distance to the stationary point, could change the count "
            f"of {counts}"
        )
    sentence = (
        f"counted: {counts} of the Hessian as computed in float64, over all parameters; "
        f"flat means |lambda| <= {FLAT:g} p eps max|lambda|, or a change by more than a quarter "
        "over the Newton step"
    )
    if p.theory is not None:
        sentence += ", each parameter in the unit of its own second derivatives"
    if tuple(map(int, p.wide)) != (negative, flat, positive):
        wide = "{} negative, {} flat, {} positive".format(*map(int, p.wide))
        sentence += f"; with ten times that width {wide}"
    return sentence


def _between(flat: int) -> str:
    return f", and may do either along {flat}" if flat else ""


def _on_the_search(p: StationaryPoint, search: Descent) -> str:
    negative, lasting = int(p.inertia.negative), int(p.wide.negative)
    low, highest = float(search.eigenvalues[0]), float(search.highest)
    ends = (
        f"matrix-free, {int(search.products)} Hessian-vector products: Rayleigh quotients from "
        f"{low:.3g} (residual {float(search.residuals[0]):.1g}) to "
        f"{highest:.3g} ({float(search.highest_residual):.1g}); "
    )
    if negative:
        return (
            f"{ends}proved: at least {negative} negative eigenvalue{'s' * (negative > 1)} "
            f"({lasting} beyond ten times the flat band {float(search.width):.1g}), "
            "`analyze` hands the lowest one's direction back"
        )
    change = "by more than a quarter over the Newton step"
    if p.kind == Kind.DEGENERATE and search.lower > search.width:
        return f"{ends}undecided: the lowest eigenvalue changes {change}"
    if not p.reliable:
        return f"{ends}undecided: negative ones change {change}"
    relative = float(search.lower) / max(abs(low), abs(highest))
    more = "" if search.settled else "; not as close as asked: more products are needed"
    return (
        f"{ends}none negative found; no eigenvalue below {float(search.lower):.3g} = "
        f"{relative:.1g} ||H|| with probability {1 - float(search.delta):g}{more}"
    )


def _on_descent(p: StationaryPoint) -> str:
    counted = int(p.inertia.negative) and p.reliable and p.search is None and not _formed(p)
    if not counted or p.kind == Kind.NOT_STATIONARY:
        return ""
    return (
        f"measured: curvature {float(p.curvature):.3g} along the direction that `analyze` hands "
        "back"
    )


def _on_symmetry(p: StationaryPoint) -> str:
    family = 0 if p.theory is None else int(p.theory.family or 0)
    if family:
        return (
            f"exact up to rounding of the data: {family} directions along stationary points of the "
            "same energy, for directions of the data are equal, or empty"
        )
    if not p.symmetries > 0:
        return ""
    return f"exact: {int(p.symmetries)} directions along which the loss is constant"


def _on_flat_directions(p: StationaryPoint) -> str:
    if p.theory is None:
        return ""
    if p.theory.strict > 0 and p.kind in (Kind.MINIMUM, Kind.SADDLE):
        strict = int(p.theory.strict)
        return (
            f"proved: the energy rises strictly along {strict} of the flat directions"
            f"{_on_the_radius(float(p.theory.radius), bool(p.theory.limit))}"
        )
    if p.inertia.flat and p.kind == Kind.DEGENERATE:
        return f"not explained: {int(p.theory.dead_rows)} rows of the weight are at zero"
    return ""


def _on_the_radius(radius: float, limit: bool) -> str:
    if not radius > 0:
        return ""
    clause = f"; nothing is lower while every row of the weight is shorter than {radius:.4g}"
    if limit:
        return f"{clause} and all other parameters are near enough to the collapsed point's"
    return (
        f"{clause}, |log std| and the norms of the means are at most 0.01, "
        "the bias is within 0.01 sqrt(gammabar) of the data's mean and "
        "gamma, where learned, at least exp(-0.01) gammabar"
    )


def _on_rows(p: StationaryPoint) -> str:
    if p.theory is None or not p.theory.falling > 0 or p.kind == Kind.NOT_STATIONARY:
        return ""
    how_far = "by too little for float64"
    if p.theory.drop > 0:
        how_far = (
            f"by {float(p.theory.drop):.3g} in all at places on rays, none of which shows a rise "
            "before"
        )
    falling, dead = int(p.theory.falling), int(p.theory.dead_rows)
    return (
        f"proved: the energy falls as {falling} of the {dead} rows at zero leave it, at first by "
        f"less than any power of the distance; {how_far}"
    )


def _on_the_minimum(p: StationaryPoint) -> str:
    if p.theory is None:
        return ""
    if p.theory.minimum == -np.inf:
        return (
            "exact up to rounding of the data: the energy is unbounded below, it falls like "
            f"{float(p.theory.slope):g} log gamma along a ray "
            "(theory.unbounded_ray; proof.certify_unbounded asks for a proof without rounding)"
        )
    if np.isfinite(p.theory.minimum):
        gap = float(p.loss - p.theory.minimum)
        return f"exact: energy {gap:.1e} above the affine model's global minimum"
    doubt = p.theory.doubt
    if doubt is not None and not np.isnan(doubt):
        return (
            "undecided: whether the energy is unbounded below, for beside this alpha float64 loses "
            f"the data: by {float(doubt):.1g} of what rounding them may change "
            "(proof.certify_unbounded knows no rounding)"
        )
    return (
        "unknown: no lower bound on the energy is known here; compare starts (stationary.best_of)"
    )


def _on_the_probe(p: StationaryPoint) -> str:
    """Only where nothing else decided."""
    if p.probe is None:
        return ""
    if p.kind == Kind.DEGENERATE or (p.kind == Kind.SADDLE and p.probe.falls):
        return f"{_along_flat_directions(p.probe)} (distances in units of the parameters' sizes)"
    return ""


def _along_flat_directions(probe: Probe) -> str:
    where = f"by {float(probe.drop):.3g} at distance {float(probe.radius):.3g}"
    if probe.falls:
        return (
            f"found: along a flat direction the loss falls, {where}; from distance "
            f"{float(probe.begins):.1g} on, nearer than which rounding hides its values"
        )
    if probe.rises:
        return (
            f"lower along a flat direction, {where}, but only from distance "
            f"{float(probe.begins):.1g} on: nearer to the point it rises, which makes this a fact "
            "about that distance: no verdict"
        )
    if probe.drop > 0:
        return (
            f"lower along a flat direction, {where}, but no fall all the way there could be told "
            "from rounding: no verdict"
        )
    return (
        f"nothing lower found along {int(probe.directions)} flat directions, "
        f"up to distance {float(probe.radius):.3g}"
    )
