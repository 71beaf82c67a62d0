"""How does a diagnosis read, under another likelihood than the Gaussian? What to do, and why.

Statuses are those of `evidence`. *Closed form* is the second-order form at a decoder; the best
affine VAEs are *measured*: found numerically.
"""

import math

from vaesurface.diagnose import evidence
from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.terms import SHARP_STD, Collapse, Component, Likelihood

__all__ = ["change", "sentences"]

LOSSES = {
    "bernoulli": "binary cross entropy",
    "poisson": "negative Poisson log-likelihood",
    "categorical": "cross entropy",
}


def sentences(facts: Facts) -> dict[str, str]:
    """The reasons, by topic."""
    likelihood = _known(facts)
    reasons = evidence.of_posteriors(facts) | {"likelihood": _nats(likelihood)}
    if facts.unsettled:
        parts = "; ".join(f"{part.nats:.3g} by {part.what}" for part in facts.unsettled)
        reasons["training"] = f"{likelihood.status}: nats to gain by one part alone: {parts}"
    if not facts.inactive:
        return reasons
    if facts.active.any():
        std = facts.std[facts.active]
        reasons["sharp"] = (
            f"exact: root mean square posterior deviation of the active latents {std.min():.3g} to "
            f"{std.max():.3g} (sharp up to {SHARP_STD:g})"
        )
    if not math.isnan(likelihood.bound):
        reasons["latents alone"] = (
            f"measured: a decoder that sees nothing but latents at this KL has "
            f"{likelihood.bound:.5g} nats at least"
        )
    reasons["additions"] = _additions(facts)
    reasons["affine"] = _affine(facts, likelihood)
    if facts.component is not None:
        reasons["any decoder"] = _any_decoder(facts.component, facts.beta)
    return reasons | _with_less_noise(facts, likelihood)


def _known(facts: Facts) -> Likelihood:
    assert facts.likelihood is not None
    return facts.likelihood


def _nats(likelihood: Likelihood) -> str:
    prior = likelihood.prior
    drawn = "" if math.isnan(prior) else f", {prior:.5g} with latents from the prior"
    return (
        f"{likelihood.status}: {LOSSES[likelihood.name]} {likelihood.nats:.5g} nats per datum "
        f"({likelihood.at_mean:.5g} with latents at the posterior mean{drawn}); that of the best "
        f"constant decoder {likelihood.constant:.5g}"
    )


def _additions(facts: Facts) -> str:
    """D^(-1/2) S D^(-1/2) against beta."""
    answer = {
        1: "a further affine latent would pay",
        -1: "no further affine latent pays, to second order",
        0: "whether a further affine latent pays beyond these data is unclear",
    }
    return (
        f"closed form for small affine additions to the natural parameter: what the decoder leaves "
        f"has, in units of the data's deviation under it, leading variance "
        f"{facts.residual[0]:.4g} ({facts.lasting:.4g} from one half of the data to the other), "
        f"beta is {facts.beta:.4g}, so {answer[facts.pays]}"
    )


def _affine(facts: Facts, likelihood: Likelihood) -> str:
    part = "" if likelihood.fitted_to == facts.n else f" ({likelihood.fitted_to} of the data)"
    beyond = "" if facts.family else "; this decoder's family does not contain affine maps"
    lower = (
        f"is {likelihood.lower:.4g} nats per datum lower ({likelihood.lower_lasting:.4g} if fitted "
        f"to one half of the data and used on the other)"
        if likelihood.lower > 0.0
        else "is not lower by more latents"
    )
    return (
        f"measured: the best VAE affine in the natural parameter that was found{part}, at beta = "
        f"{facts.beta:g}, uses {int(facts.affine.kept)} latents and {lower}{beyond}"
    )


def _any_decoder(component: Component, beta: float) -> str:
    if component.gain > 0.0:
        return (
            f"measured: at beta = {beta:g} another decoder, affine or not, may be better than a "
            f"constant one (Lindsay's criterion)"
        )
    status, verb = ("proved", "is") if component.proved else ("measured", "was found to be")
    return (
        f"{status}: at beta = {beta:g} no decoder at all {verb} better than the best constant one "
        f"(Lindsay's criterion)"
    )


def _with_less_noise(facts: Facts, likelihood: Likelihood) -> dict[str, str]:
    """What beta = 1 would do, and what the likelihood takes for noise."""
    reasons = {}
    if not math.isnan(likelihood.freed):
        reasons["beta = 1"] = (
            f"measured: with beta = 1 the best affine VAE that was found uses "
            f"{int(facts.free.kept)} latents ({facts.free_lasting} last from one half of the data "
            f"to the other) and is {likelihood.freed:.4g} nats per datum lower than this one"
        )
    if likelihood.dispersion < 1.0 and likelihood.name != "categorical":
        reasons["dispersion"] = (
            f"exact: the data vary by {100 * likelihood.dispersion:.3g} % of what the likelihood "
            f"has under the constant decoder (100 % for zeros and ones, less for grey values)"
        )
    return reasons


# What to do


def change(facts: Facts) -> str:
    """A part per kind that is there."""
    if facts.contradictions and facts.kind == Collapse.UNDECIDED:
        return " ".join(dict.fromkeys(c.remedy for c in facts.contradictions))
    present = {*facts.present, facts.kind}
    if facts.kind != Collapse.NONE:
        present -= {Collapse.NONE}
    if facts.kind in (Collapse.LOCAL, Collapse.GAMMA):  # what is left then shows itself
        present -= {Collapse.UNDECIDED}
    order = sorted(present, key=lambda kind: (kind != facts.kind, kind))
    return " ".join(_cure(facts, _known(facts), kind) for kind in order)


def _cure(facts: Facts, likelihood: Likelihood, kind: Collapse) -> str:
    k = len(facts.kl)
    match kind:
        case Collapse.SUPERFLUOUS:
            return (
                f"Leave superfluous latents as they are: {k - facts.count(kind)} would do as well "
                f"as {k}."
            )
        case Collapse.GAMMA:
            return _lower_beta(facts, likelihood)
        case Collapse.FLEXIBLE:
            return (
                f"Let the decoder see less of the datum itself if latents are wanted (drop skips, "
                f"labels or teacher forcing, shorten what it looks back on): it has "
                f"{likelihood.nats:.4g} nats per datum, a constant decoder "
                f"{likelihood.constant:.4g}, and no latent pays beside what it sees. As density it "
                f"needs no change."
            )
        case Collapse.LOCAL:
            return (
                f"Train on, and export again: arrays alone do not tell a plateau, which a run "
                f"leaves by itself, from a bad local optimum. Expect about "
                f"{int(facts.affine_lasting.kept)} of {k} latents in use and "
                f"{likelihood.lower_lasting:.3g} nats per datum less: the best affine VAE has "
                f"that. If as many epochs again change nothing, train the same networks without "
                f"KL: if they do not get below {likelihood.constant:.4g} nats either, they or "
                f"their optimization are to blame; if they do, start the VAE from them, or from "
                f"larger weights or other seeds."
            )
        case Collapse.UNDECIDED:
            return _missing(facts, likelihood)
        case _ if facts.unsettled:
            parts = ", ".join(f"{part.nats:.3g} nats by {part.what}" for part in facts.unsettled)
            return (
                f"Train on: latents are in use, but training has not ended, there are {parts} to "
                f"gain."
            )
        case _:
            return (
                f"Nothing has to change: {k} of {k} latents are in use, {likelihood.nats:.4g} nats "
                f"per datum against {likelihood.constant:.4g} of a constant decoder."
            )


def _lower_beta(facts: Facts, likelihood: Likelihood) -> str:
    pays = f"below {facts.residual[0]:.3g} a further latent begins to pay"
    if not math.isnan(likelihood.freed):
        number = min(int(facts.free.kept), facts.free_lasting)
        return (
            f"Train with beta = 1, not {facts.beta:g}: expect about {number} of {len(facts.kl)} "
            f"latents in use and {likelihood.freed:.3g} nats per datum less at that beta, as the "
            f"best affine VAE has; {pays}."
        )
    return (
        f"Lower beta: {pays}, beta is {facts.beta:g}. The data vary by "
        f"{100 * likelihood.dispersion:.2g} % of what this likelihood has: of grey pixels cross "
        f"entropy makes noise of p (1 - p). Or train with squared error and gamma learned, where "
        f"the noise is the data's own."
    )


def _missing(facts: Facts, likelihood: Likelihood) -> str:
    """For a decision."""
    if facts.unsettled:
        parts = ", ".join(f"{part.nats:.3g} by {part.what}" for part in facts.unsettled)
        return (
            f"Train on (to gain, in nats per datum: {parts} alone), and export again; or x is not "
            f"what it was fed (units, order), or reconstruction not the decoder's mean."
        )
    if facts.active.any() and likelihood.at_mean >= likelihood.constant:
        return (
            "Train on: latents differ from datum to datum, but the decoder makes nothing of it; or "
            "x is not what it was fed (row by row in the order of mean)."
        )
    if facts.pays == 1:
        return (
            "Train on, and export again: a further latent would pay beside what the decoder does, "
            "but no lower VAE is known."
        )
    return (
        "To decide, give more data or optional arrays (sampled_reconstruction, "
        "prior_reconstruction): what was tried is not lower, and that no decoder is is not known."
    )
