"""What is to be done about it? Advice for who trains the model, with what to expect of it.

Numbers are those of the best affine VAE with as many directions as last from one half of the data
to the other; a network does a little better or worse.

>>> import numpy as np
>>> from vaesurface.diagnose import arrays
>>> x = np.random.default_rng(0).standard_normal((300, 2)) * [2.0, 0.5]
>>> off = np.zeros((300, 1))
>>> found = arrays(x, mean=off, log_std=off, reconstruction=0 * x + x.mean(axis=0), gamma=9.0)
>>> found.label
'(ii) gamma or beta too large: 1 of 1 latents inactive'
>>> found.change.split(" (")[0]
'Learn gamma: expect about 1 of 1 latents in use and 11 % of the variance left'
"""

import math

from vaesurface.diagnose.contradictions import levels_of_the_loss
from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.terms import Collapse, Search

__all__ = ["change"]

# Relative difference up to which a gamma is d / 2: it comes as it was typed, in float32.
AVERAGED = 1e-3
# Nats per datum by which the best affine VAE is lower from which a VAE that uses all its latents
# has not been trained far enough: so many, more where so many a feature are more.
FAR_NATS = 0.3
FAR_NATS_PER_FEATURE = 0.03
SURE = 2.0  # standard errors
# Nats that a learned gamma gains, and part of the error that it leaves, from which it is advised
# where all latents are in use.
FREED_NATS = 1.0
MUCH_LESS = 0.7


def change(facts: Facts) -> str:
    """What to do, a part per kind that is there."""
    if facts.contradictions and facts.kind == Collapse.UNDECIDED:
        return " ".join(dict.fromkeys(c.remedy for c in facts.contradictions))
    present = {*facts.present, facts.kind}
    if facts.kind != Collapse.NONE:
        present -= {Collapse.NONE}
    if facts.kind != Collapse.UNDECIDED:
        present -= {Collapse.UNDECIDED}
    order = sorted(present, key=lambda kind: (kind != facts.kind, kind))
    return " ".join(_cure(facts, kind) for kind in order)


def _cure(facts: Facts, kind: Collapse) -> str:
    match kind:
        case Collapse.NONE:
            return _nothing(facts)
        case Collapse.SUPERFLUOUS:
            return _leave(facts)
        case Collapse.GAMMA:
            return _learn_gamma(facts)
        case Collapse.COVARIANCE:
            return (
                f"Give the decoder one learned variance for all data (in PyTorch log_gamma = "
                f"{_parameter(facts)}) in place of an output of the network; a floor on its "
                f"variances only bounds the spike."
            )
        case Collapse.FLEXIBLE:
            return _see_less(facts)
        case Collapse.LOCAL:
            return _train_on(facts) if facts.search is None else _escape(facts, facts.search)
        case Collapse.UNDECIDED:
            return _missing(facts)


def _nothing(facts: Facts) -> str:
    left = f"they leave {_percent(facts.error / facts.gammabar)} of the data's variance"
    if facts.unsettled:
        parts = ", ".join(f"{part.nats:.3g} nats by {part.what}" for part in facts.unsettled)
        return (
            f"Train on: latents are in use, but training has not ended, there are {parts} to gain."
        )
    if not facts.consistent:
        return (
            f"{levels_of_the_loss(facts.d)} Latents are in use, but the encoder's deviations fit a "
            f"beta gamma of {_fitted(facts):.3g}, not {facts.level:.3g}."
        )
    if facts.unbounded and not facts.fixed and facts.family and not facts.flexible:
        return f"{_hold(facts)} Latents are in use, {left}."
    nats = _lower_affine(facts)
    if nats > max(FAR_NATS, FAR_NATS_PER_FEATURE * facts.d):
        return (
            f"Train on: latents are in use, but the best affine VAE at this gamma and beta is "
            f"{nats:.3g} nats per datum lower and leaves {_percent(facts.affine_left)} of the "
            f"data's variance; {left}."
        )
    if _would_pay_free(facts):
        return (
            f"{len(facts.kl)} of {len(facts.kl)} latents are in use; learn gamma: expect "
            f"{_percent(facts.expected[1])} of the variance left ({left} now), {facts.freed:.3g} "
            f"nats per datum lower."
        )
    return f"Nothing has to change: {len(facts.kl)} of {len(facts.kl)} latents are in use, {left}."


def _fitted(facts: Facts) -> float:
    """The beta gamma that posteriors have been fitted to, as well as it is known."""
    return facts.fitted if math.isnan(facts.exact) else facts.exact


def _lower_affine(facts: Facts) -> float:
    """Nats per datum, less SURE standard errors, by which the best affine VAE is lower, with its
    directions those of one half of the data too; of an error that is only estimated no more than
    that at the posterior means counts. 0 where it says nothing of such decoders.
    """
    if not facts.family or facts.flexible or facts.spike is not None:
        return 0.0
    surely = SURE * facts.error_noise
    if facts.error_status == "estimated":
        surely = max(0.0, facts.error - facts.error_at_mean)
    own = facts.energy - facts.d * surely / facts.gamma
    return 0.5 * (own - max(float(facts.affine.energy), float(facts.affine_lasting.energy)))


def _would_pay_free(facts: Facts) -> bool:
    """Whether gamma is said to be held, and learning it would take off much."""
    if facts.learned is not False or facts.beta > 1.0 or facts.flexible or not facts.family:
        return False
    if facts.unbounded:
        return False
    much = facts.expected[1] < MUCH_LESS * facts.error / facts.gammabar
    return much and facts.freed > max(FREED_NATS, FAR_NATS_PER_FEATURE * facts.d)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else "100 %"


def _leave(facts: Facts) -> str:
    """Of superfluous latents."""
    k = len(facts.kl)
    return (
        f"Leave superfluous latents as they are: {k - facts.count(Collapse.SUPERFLUOUS)} would do "
        f"as well as {k}."
    )


# gamma or beta too large


def _learn_gamma(facts: Facts) -> str:
    """With beta = 1, what it brings, how, and what would do instead."""
    if facts.unbounded and facts.search is None:
        return f"{_hold(facts)}{_averaged(facts)}"
    if not facts.fixed:
        return f"Train with beta = 1, not {facts.beta:g}: {_expected(facts)}."
    first = "Learn gamma" if facts.beta <= 1.0 else "Learn gamma, with beta = 1"
    return (
        f"{first}: {_expected(facts)} (in PyTorch: log_gamma = {_parameter(facts)}, loss "
        f"= squared_error.sum(1).mean() / (2 * log_gamma.exp()) + {facts.d / 2:g} * log_gamma + "
        f"kl.sum(1).mean(); it settles at the expected error per coordinate, eq. 10). Or hold "
        f"gamma below {facts.residual[0] / facts.beta:.4g}, where a further latent begins to pay."
        f"{_averaged(facts)}{_if_learned(facts)}"
    )


def _parameter(facts: Facts) -> str:
    """A log gamma that starts at the error now: from 1 it takes Adam thousands of steps there."""
    if facts.scaled or facts.error <= 0:
        return "nn.Parameter(torch.zeros(()))"
    return f"nn.Parameter(torch.tensor({math.log(facts.error):.3g}))"


def _hold(facts: Facts) -> str:
    """Where no gamma is the best one."""
    beta = "" if facts.beta <= 1.0 else f", with beta = 1 and not {facts.beta:g}"
    return (
        f"Hold gamma at what counts as noise{beta}, or give it such a floor (in PyTorch: gamma = "
        f"floor + log_gamma.exp()): the data lie in {int(facts.free.kept)} dimensions, no more "
        f"than there are latents, so that a learned gamma falls to 0 and the energy without end. "
        f"Below {facts.residual[0] / facts.beta:.4g} a further latent begins to pay."
    )


def _expected(facts: Facts) -> str:
    """How many latents come into use with gamma learned and beta = 1, and what they leave."""
    k, search = len(facts.kl), facts.search
    if search is not None and search.revived_active >= 0:
        return f"{search.revived_active} of {k} latents were in use when that was tried"
    number, left = facts.expected
    return f"expect about {number} of {k} latents in use and {_percent(left)} of the variance left"


def _averaged(facts: Facts) -> str:
    """Where gamma is that of a squared error averaged over features."""
    half = facts.d / 2
    if facts.d < 3 or not facts.fixed or abs(facts.gamma / half - 1.0) > AVERAGED:
        return ""
    return (
        f" (gamma = {half:g} is d / 2: a squared error averaged over {facts.d} features, as "
        f"nn.MSELoss() does. Summed over them, at gamma = 1/2, it is the usual loss.)"
    )


def _if_learned(facts: Facts) -> str:
    if facts.learned is not None or not facts.fixed:
        return ""
    return " If gamma is trained already, train on: it is not yet the error."


# A decoder that sees more


def _see_less(facts: Facts) -> str:
    without = (
        f"no latent pays beside what it sees, at gamma = {facts.gamma:.4g} or learned; its error "
        f"is {facts.error:.4g} per coordinate"
    )
    if facts.bound > facts.error:
        without += f", of latents alone at this KL at least {facts.bound:.4g}"
    return (
        f"Let the decoder see less of the datum itself if latents are wanted (drop skips, labels "
        f"or teacher forcing, shorten what it looks back on): {without}. As density it needs no "
        f"change."
    )


# A bad local optimum


def _train_on(facts: Facts) -> str:
    """From arrays alone."""
    return (
        f"Train on, and export again: arrays alone do not tell a plateau, which a run leaves by "
        f"itself, from a bad local optimum. {_expected_here(facts)} If as many "
        f"epochs again change nothing, train the deterministic autoencoder with the same networks: "
        f"if it cannot get below gamma = {facts.gamma:.4g} per coordinate either, they or their "
        f"optimization are to blame (fewer layers, skips, normalization) and no schedule on the KL "
        f"term helps; if it can, start the VAE from it, or from larger weights or other seeds."
        f"{_given_level(facts) if facts.fixed else ''}"
    )


def _expected_here(facts: Facts) -> str:
    """At this gamma and beta, or of a gamma that is learned."""
    number, left = facts.expected
    in_use = f"Expect {number} of {len(facts.kl)} latents in use"
    if math.isinf(facts.affine.energy):
        return f"{in_use}, and gamma on its way to 0. {_hold(facts)}"
    return (
        f"{in_use} and {_percent(left)} of the variance left, {facts.lower_lasting:.3g} nats per "
        f"datum lower: the best affine VAE at this gamma and beta has that."
    )


def _given_level(facts: Facts) -> str:
    return (
        f" All this holds for beta gamma = {facts.level:.4g}, as given; had the loss one above "
        f"{facts.residual[0]:.4g} (a squared error averaged over d features makes gamma d / 2), it "
        f"would be kind (ii)."
    )


def _escape(facts: Facts, search: Search) -> str:
    """Where other starts were tried."""
    lower = (
        f"the best of {search.starts} has {search.best_active} of {len(facts.kl)} latents in use "
        f"and is {search.gain:.3g} nats per datum lower"
    )
    if math.isnan(search.fresh):
        return f"Start elsewhere (larger weights, other seeds): {lower}."
    if search.fresh >= facts.gamma:
        return (
            f"Change the networks (fewer layers, skips, normalization) or their optimization: the "
            f"deterministic autoencoder of the same networks is stuck too, at {search.fresh:.4g} "
            f"per coordinate against gamma = {facts.gamma:.4g}; a schedule on the KL term does not "
            f"move this point. Of other starts, {lower}."
        )
    return (
        f"Start elsewhere (larger weights, other seeds, or from the deterministic autoencoder of "
        f"the same networks, which reaches {search.fresh:.4g} per coordinate, below gamma = "
        f"{facts.gamma:.4g}): {lower}."
    )


# Undecided


def _missing(facts: Facts) -> str:
    """For a decision."""
    if facts.spike is not None:
        return (
            "Train with one gamma for all data and export that: of a gamma that varies from datum "
            "to datum only kind (iii) is judged."
        )
    if facts.binary:
        return (
            "Say what the likelihood is: likelihood='bernoulli' for a Bernoulli decoder trained "
            "with cross entropy (x in [0, 1], no gamma), likelihood='gaussian' or learned_gamma "
            "for squared error."
        )
    if facts.idle:
        return (
            "Train on: latents differ from datum to datum, but the decoder makes nothing of it; or "
            "x is not what it was fed (row by row in the order of mean, in the loss's units)."
        )
    if facts.search is None and (facts.unsettled or facts.off_center):
        return _settle(facts)
    if facts.search is None and not facts.consistent:
        return (
            f"Posteriors fit a beta gamma of {_fitted(facts):.3g}, not {facts.level:.3g}. "
            f"{levels_of_the_loss(facts.d)}"
        )
    if facts.search is None and facts.flexible and facts.pays == 1:
        return (
            f"Train on, and export again: the decoder sees more than latents, and beside that a "
            f"further latent would still pay (leading variance of the residual "
            f"{facts.residual[0]:.4g}, beta gamma {facts.level:.4g})."
        )
    if facts.search is None:
        return (
            "To decide, diagnose the problem itself, where other starts can be tried, or give more "
            "data or optional arrays (sampled_reconstruction, prior_reconstruction, learned_gamma)."
        )
    return f"Try more starts or steps: the {facts.search.starts} that were tried do not decide."


def _settle(facts: Facts) -> str:
    """What training, or another export, would have settled."""
    parts = ", ".join(f"{part.nats:.3g} by {part.what}" for part in facts.unsettled)
    gain = f" (to gain, in nats per datum: {parts} alone)" if parts else ""
    return (
        f"Train on until the decoder answers with the data's mean at least and gamma is the "
        f"error{gain}, and export again; or x is not what it was fed (units, centering, order), or "
        f"gamma or log_std are not those of the loss."
    )
