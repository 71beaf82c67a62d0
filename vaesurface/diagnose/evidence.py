"""Why is a verdict believed, and by what right is each reason said?

Every sentence begins with its status: *exact* (arithmetic on what was given), *proved*, *closed
form* (for affine decoders or affine additions to this one, posteriors being at their best),
*measured*, *estimated*, *judged*, *unknown*.

>>> from vaesurface.diagnose import arrays
>>> diagnosis = arrays(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
...     reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=0.5)
>>> diagnosis.evidence["error"]
"estimated: expected squared error per coordinate 1, 100 % of the data's variance 1"
"""

import math

from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.terms import (
    ACTIVE_NATS,
    BURDA_VARIANCE,
    SHARP_STD,
    Component,
    Gap,
    Search,
    Spike,
)

__all__ = ["of_posteriors", "sentences"]

KL_SHOWN = 16  # latents whose KL is written out
# Part of the most that data can show from which on the information may be more than was measured.
NEAR_LIMIT = 0.9


def sentences(facts: Facts) -> dict[str, str]:
    """The reasons, by topic."""
    reasons = of_posteriors(facts) | {"error": _error(facts)}
    if facts.spike is not None:
        return reasons | {"covariance": _covariance(facts.spike)}
    reasons |= {"gamma": _gamma(facts)} | _doubts(facts) | _decoder(facts)
    if facts.inactive and facts.flexible:
        reasons |= _beside_what_is_seen(facts)
    elif facts.inactive:
        reasons |= _alternatives(facts)
    if facts.search is not None:
        reasons |= _searched(facts, facts.search)
    return reasons if facts.gap is None else reasons | {"gap": _gap(facts, facts.gap)}


def of_posteriors(facts: Facts) -> dict[str, str]:
    """What holds under every likelihood."""
    return _contradictions(facts) | {
        "latents": _latents(facts),
        "information": _information(facts),
    }


def _contradictions(facts: Facts) -> dict[str, str]:
    if not facts.contradictions:
        return {}
    return {"contradictions": "exact: " + "; ".join(c.what for c in facts.contradictions)}


# What posteriors and reconstructions say

_SCALED = "; each coordinate in units in which gamma is the same for all"


def _latents(facts: Facts) -> str:
    kl = ", ".join(f"{nats:.3g}" for nats in facts.kl[:KL_SHOWN])
    if len(facts.kl) > KL_SHOWN:
        kl += ", ..."
    spiking = facts.spike is not None and facts.spike.share > 0
    left_out = ", the data on which density spikes left out" if spiking else ""
    alike = int(((facts.kl >= ACTIVE_NATS) & ~facts.active).sum())
    same = (
        f" ({alike} more {'differs' if alike == 1 else 'differ'} from the prior, but in the same "
        f"way for all data)"
        if alike
        else ""
    )
    return (
        f"exact: KL from the prior {kl} nats per datum; "
        f"{int(facts.active.sum())} of {len(facts.kl)} latents can carry {ACTIVE_NATS:g} or more"
        f"{left_out}{same}; "
        f"{int(facts.active_units.sum())} with a variance of the posterior mean above "
        f"{BURDA_VARIANCE:g}"
    )


def _information(facts: Facts) -> str:
    information = facts.information
    near = information.value > NEAR_LIMIT * information.limit
    full = ", about the most that so many data can show" if near else ""
    return (
        f"measured: I(x; z) = {information.value:.3g} +- {information.error:.1g} nats of at most "
        f"log n = {information.limit:.3g}{full}; mean KL {facts.kl.sum():.3g}"
    )


def _error(facts: Facts) -> str:
    return (
        f"{facts.error_status}: expected squared error per coordinate {facts.error:.4g}, "
        f"{100 * facts.error / facts.gammabar:.3g} % of the data's variance {facts.gammabar:.4g}"
        f"{_SCALED if facts.scaled else ''}"
    )


def _covariance(spike: Spike) -> str:
    if spike.share == 0:
        return (
            "measured: gamma varies from datum to datum, but there are no few data on which it is "
            "far below that of all others; of such a gamma no more than kind (iii) is judged"
        )
    return (
        f"measured: on {100 * spike.share:.3g} % of the data the log variances are "
        f"{spike.spread:.3g} below the others', whose squared error is {100 * spike.diffuse:.3g} % "
        f"of their variance; as those few variances shrink to zero the energy has no lower bound"
    )


def _gamma(facts: Facts) -> str:
    how = {True: "learned", False: "fixed", None: "learned or fixed, that was not given"}
    agree = (
        "as eq. 10 has it at its optimum"
        if facts.matches
        else "not its optimum, the error (eq. 10)"
    )
    times = f"{facts.gamma / facts.error:.3g}" if facts.error > 0 else "infinitely many"
    return (
        f"{facts.error_status}: gamma = {facts.gamma:.4g} ({how[facts.learned]}) is "
        f"{times} times the expected error, {agree}"
    )


def _doubts(facts: Facts) -> dict[str, str]:
    """What makes one doubt that gamma, beta and data are those of the loss."""
    sentences = {}
    if facts.binary:
        sentences["likelihood"] = (
            "unknown: all data are one of two numbers, or nearly all; if the decoder was trained "
            "with a Bernoulli likelihood, no gamma stands for that, and what is said of gamma is "
            "void"
        )
    if not facts.consistent:
        sentences["posteriors"] = (
            f"{_fit(facts)}, not the {facts.level:.3g} that was given: gamma and beta are not "
            f"those of the loss, or the encoder is far from its optimum"
        )
    if facts.unsettled:
        parts = ", ".join(f"{part.nats:.3g} by {part.what}" for part in facts.unsettled)
        sentences["settled"] = (
            f"{facts.error_status}: training has not ended, or x is not what was trained on: to "
            f"gain, in nats per datum, {parts} alone"
        )
    if facts.idle or facts.off_center:
        sentences["use"] = (
            f"exact: at the posterior mean the squared error per coordinate is "
            f"{facts.error_at_mean:.4g}, that of always answering with the mean of the data "
            f"{facts.gammabar:.4g}"
        )
    return sentences


def _fit(facts: Facts) -> str:
    """To which beta gamma posteriors have been fitted, and how well that is known."""
    if math.isnan(facts.exact):
        return f"estimated: deviations of the active latents fit a beta gamma of {facts.fitted:.3g}"
    return (
        f"closed form for affine decoders: deviations and means of all active latents fit one beta "
        f"gamma, {facts.exact:.3g} (to 1 %)"
    )


def _decoder(facts: Facts) -> dict[str, str]:
    """How the decoder uses its latents, and whether it sees more."""
    sentences = {}
    if not facts.alone:
        sentences["latents alone"] = _alone(facts)
    if not math.isnan(facts.prior_error):
        sentences["prior draws"] = (
            f"measured: squared error per coordinate {facts.prior_error:.4g} with latents drawn "
            f"from the prior, {facts.error_at_mean:.4g} with posterior means"
        )
    if facts.inactive and facts.active.any():
        std = facts.std[facts.active]
        sentences["sharp"] = (
            f"exact: root mean square posterior deviation of the active latents {std.min():.3g} to "
            f"{std.max():.3g} (sharp up to {SHARP_STD:g})"
        )
    return sentences


def _alone(facts: Facts) -> str:
    if facts.bound <= 0:
        return (
            "unknown: these posteriors carry enough that nothing bounds the error of a decoder "
            "that sees latents alone"
        )
    proved = facts.bound_proved and facts.error_status != "estimated"
    return (
        f"{'proved' if proved else 'measured'}: a decoder that sees nothing but latents at this KL "
        f"has an error of at least {facts.bound:.4g} per coordinate, "
        f"{'above' if facts.error < facts.bound else 'not above'} the one here"
    )


# What else there might be


def _beside_what_is_seen(facts: Facts) -> dict[str, str]:
    """What latents would add to a decoder that sees more than latents."""
    added = facts.added
    if added is None:
        return {}
    return {
        "additions": _additions(facts),
        "learned gamma": (
            f"closed form for affine additions: with gamma learned and beta = 1, "
            f"{int(added.kept)} of {facts.inactive} inactive latents pay beside what the decoder "
            f"sees (directions that last), at gamma = {float(added.gamma):.4g}"
        ),
    }


def _alternatives(facts: Facts) -> dict[str, str]:
    """What further latents, other decoders and a learned gamma would do."""
    sentences = {"additions": _additions(facts), "affine": _affine(facts)}
    if facts.component is not None:
        sentences["any decoder"] = _any_decoder(facts.component)
    if len(facts.codes):
        sentences["clusters"] = _clusters(facts)
    if facts.fixed or facts.beta > 1.0:
        sentences["learned gamma"] = _learned_gamma(facts)
    return sentences


def _additions(facts: Facts) -> str:
    answer = {
        1: "a further affine latent would pay",
        -1: "no further affine latent pays",
        0: "whether a further affine latent pays beyond these data is unclear",
    }
    return (
        f"closed form for affine additions: the residual's covariance has leading eigenvalue "
        f"{facts.residual[0]:.4g} ({facts.lasting:.4g} from one half of the data to the other), "
        f"beta gamma is {facts.level:.4g}, so {answer[facts.pays]}"
    )


def _affine(facts: Facts) -> str:
    where = f"at gamma = {facts.gamma:.4g}" if facts.fixed else "gamma learned"
    if math.isinf(facts.affine.energy):
        return f"closed form for affine decoders: {_unbounded(facts)}"
    gap = 0.5 * (facts.energy - facts.affine.energy)
    beyond = "" if facts.family else "; this decoder's family does not contain affine maps"
    return (
        f"closed form for affine decoders: the best one ({where}, beta = {facts.beta:g}) keeps "
        f"{facts.affine.kept} latents and is {abs(gap):.4g} nats per datum "
        f"{'lower' if gap > 0 else 'higher'}{beyond}"
    )


def _any_decoder(component: Component) -> str:
    if component.gain > 0.0:
        return (
            "measured: at this beta gamma another decoder, affine or not, may be better than this "
            "one (Lindsay's criterion)"
        )
    status, verb = ("proved", "is") if component.proved else ("measured", "was found to be")
    return (
        f"{status}: at this beta gamma no decoder at all {verb} better than the collapsed one "
        f"(Lindsay's criterion)"
    )


def _clusters(facts: Facts) -> str:
    if facts.coded(facts.level):
        return (
            "measured: the residual has clusters that may be worth a latent, though no affine "
            "addition is"
        )
    if facts.coded_free:
        return (
            "measured: the residual has clusters that may be worth a latent once gamma has fallen "
            "with the error"
        )
    return (
        "measured: the residual has no clusters, along its leading directions, that are worth a "
        "latent"
    )


def _unbounded(facts: Facts) -> str:
    return (
        f"the data lie in {int(facts.free.kept)} dimensions, no more than there are latents, so "
        f"that with gamma learned the energy has no lower bound: it falls without end as gamma "
        f"goes to 0"
    )


def _learned_gamma(facts: Facts) -> str:
    if facts.unbounded:
        return f"closed form for affine decoders: {_unbounded(facts)}"
    return (
        f"closed form for affine decoders: with gamma learned and beta = 1 the best one keeps "
        f"{facts.free.kept} latents ({facts.free_lasting} of its directions last from one half of "
        f"the data to the other) at gamma = {facts.free.gamma:.4g}; it is {abs(facts.freed):.4g} "
        f"nats per datum {'lower' if facts.freed > 0 else 'higher'} than this VAE at its own best "
        f"gamma"
    )


# What was tried


def _gap(facts: Facts, gap: Gap) -> str:
    """Of a VAE that uses all its latents, how far it may be from the best; else what collapse
    costs; and whether the decoder is seen to be no one of those that this is about.
    """
    status = "proved" if facts.error_status == "exact" else facts.error_status
    if facts.below_floor:
        return (
            f"{status}: this VAE's energy {facts.energy:.4g} is below {gap.energy:.4g}, proved to "
            f"be the least of all decoders that see only z, with any encoder, at this gamma and "
            f"beta: its decoder sees more than z"
        )
    if facts.inactive or facts.contradictions:
        return gap.words
    return (
        f"{status}: this VAE is at most {max(0.0, 0.5 * (facts.energy - gap.energy)):.3g} nats per "
        f"datum above the best of all decoders that see only z, with any encoder, at this gamma "
        f"and beta (energy {gap.energy:.4g} or more)"
    )


def _searched(facts: Facts, search: Search) -> dict[str, str]:
    sentences = {}
    if facts.inactive and not math.isnan(search.dropped):
        sentences["dropping"] = (
            f"exact: without the inactive latents the energy is {abs(0.5 * search.dropped):.2g} "
            f"nats per datum {'higher' if search.dropped >= 0 else 'lower'}"
        )
    sentences["starts"] = _starts(search)
    if search.revived_active >= 0:
        sentences["revived"] = (
            f"measured: with gamma learned and beta = 1 the best of as many starts has "
            f"{search.revived_active} active latents"
        )
    if not math.isnan(search.fresh):
        sentences["autoencoder"] = (
            f"measured: the deterministic autoencoder of the same networks gets to "
            f"{search.own:.4g} per coordinate from these parameters and to {search.fresh:.4g} from "
            f"random ones; gamma is {facts.gamma:.4g}"
        )
    if search.ray_active >= 0:
        sentences["optimum"] = (
            f"exact up to rounding of the data: this energy has no lower bound, it falls with "
            f"gamma along a ray that uses {search.ray_active} latents"
        )
    if not math.isnan(search.minimum):
        sentences["optimum"] = (
            f"exact: {0.5 * (search.energy - search.minimum):.3g} nats per datum above the global "
            f"minimum of this problem"
        )
    if search.point:
        sentences["surface"] = f"judged (stationary.analyze): {search.point}"
    return sentences


def _starts(search: Search) -> str:
    lower = (
        f"{search.gain:.4g} nats per datum lower than descent from these parameters"
        if search.gain > 0
        else "not lower than these"
    )
    return (
        f"measured: of {search.starts} starts (as it is, perturbed, inactive latents switched on, "
        f"random) the best, at this gamma and beta, has {search.best_active} active latents and is "
        f"{lower}"
    )
