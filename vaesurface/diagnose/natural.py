"""Which numbers does a verdict rest on, under another likelihood than the Gaussian?

As `measures`, in units in which the decoder looks Gaussian with gamma = 1: to second order an
affine addition to the natural parameter pays if and only if the residual's variance, in units of
the data's deviation under the decoder, is above beta (`theory.natural`). What is further away is
found numerically (`fits`) or held against every decoder (`mixtures`).

>>> from vaesurface.diagnose.export import check
>>> x = np.repeat([[1.0] * 6, [0.0] * 6], [9, 7], axis=0)
>>> off = np.zeros((16, 1))
>>> facts = measured(check(x, off, off, 0 * x + 9 / 16, likelihood="bernoulli"))
>>> facts.residual.round(6), facts.pays  # six pixels that are one
(array([6., 0., 0., 0., 0., 0.]), 1)
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaesurface import theory
from vaesurface.diagnose import contradictions, halves, measures, mixtures, posteriors
from vaesurface.diagnose.diagnosis import Facts, affine_gain
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.likelihoods import nats
from vaesurface.diagnose.measures import OfData, measure
from vaesurface.diagnose.terms import ACTIVE_NATS, Contradiction, Likelihood, Unsettled
from vaesurface.diagnose.threads import one_of_few
from vaesurface.theory.natural import inverse_root, scaled

if TYPE_CHECKING:
    from vaesurface.diagnose import fits

__all__ = ["SURE", "known", "measured", "measured_here", "of_data"]

SURE = 3.0  # standard errors
# Nats that the bias alone has to gain from which training has not ended: these, more where so much
# a coordinate is more. A constant learning rate leaves a few hundredths.
LEFT_NATS = 0.1
LEFT_NATS_PER_FEATURE = 0.001
# Data of so few coordinates repeat by chance: of more, and of many distinct ones, equal rows are
# one datum.
FEW_COORDINATES = 10
MANY_ROWS = 50


def measured(export: Export) -> Facts:
    """All that the verdict rests on."""
    with one_of_few(export.x.shape):
        facts, own, groups = _measured(export, None)
        if facts.inactive:
            facts = _with_others(facts, export, own, groups)
        return _with_doubts(facts, export, own)


def measured_here(export: Export, of_rows: OfData) -> Facts:
    """The same without what other decoders reach, which takes JAX and seconds to find.

    of_rows: `of_data` of the export's x.
    """
    with one_of_few(export.x.shape):
        facts, own, _ = _measured(export, of_rows)
        if facts.inactive:
            likelihood = known(facts)._replace(bound=_bound(facts, export.x))
            facts = facts._replace(likelihood=likelihood)
        return _with_doubts(facts, export, own)


def of_data(x: np.ndarray, latent: int, likelihood: str, classes: int) -> OfData:
    """What data (n, d) alone decide, in units of their deviation under the constant decoder."""
    center = x.mean(axis=0)[None]
    known = measures.of_data(scaled(x, inverse_root(center, likelihood, classes)), latent)
    return known._replace(groups=_groups(x))


def _measured(export: Export, known: OfData | None) -> tuple[Facts, "_Nats", np.ndarray]:
    """Facts of this decoder alone, its nats, and which rows are one datum."""
    scaled_export = _in_own_units(export)
    base = measure(scaled_export, known=known, in_full=known is None)
    groups = _groups(export.x) if known is None else known.groups
    residual = scaled_export.x - scaled_export.reconstruction
    own = _own_nats(export)
    energy = 2.0 * own.expected + export.beta * (2.0 * float(base.kl.sum()) + len(base.kl))
    facts = base._replace(
        lasting=float(halves.held_out(residual, 1, groups)[0]),
        distinct=int(groups.max()) + 1,
        energy=energy,
        learned=None,
        bound=math.nan,
        fitted=_fitted(export, base, own),
        component=None,
        likelihood=_likelihood(export, own),
    )
    return facts, own, groups


def _with_doubts(facts: Facts, export: Export, own: "_Nats") -> Facts:
    """With what in the export cannot be true and what training has not settled."""
    found = _contradictions(facts, export, own)
    return facts._replace(contradictions=found, unsettled=_unsettled(facts))


def _in_own_units(export: Export) -> Export:
    """With gamma = 1 and everything in units of the deviation under the decoder."""
    root = inverse_root(export.reconstruction, export.likelihood, export.classes)
    names = ("x", "reconstruction", "sampled_reconstruction", "prior_reconstruction")
    arrays = {name: getattr(export, name) for name in names}
    rescaled: dict[str, Any] = {
        name: scaled(a, root) for name, a in arrays.items() if a is not None
    }
    return export._replace(gamma=np.asarray(1.0), learned_gamma=False, **rescaled)


class _Nats(NamedTuple):
    """Of this VAE, per datum.

    least: (n,), no more than the expected ones: those at the posterior mean where these are only
        estimated.
    expected: their mean.
    status: how they are known.
    noise: standard error of the mean.
    added: what noise in the latents adds, by draws; NaN without.
    added_noise: its standard error.
    at_mean: with latents at the posterior mean.
    """

    least: np.ndarray
    expected: float
    status: str
    noise: float
    added: float
    added_noise: float
    at_mean: float


def _own_nats(export: Export) -> _Nats:
    """Exact where they are given; by draws; or else from those at the posterior mean, to which
    noise adds beta / 2 sum_j (1 - sigma_j^2) to first order, deviations being at their best.
    """
    at_mean = nats(export.x, export.reconstruction, export.likelihood)
    added, added_noise, drawn = math.nan, 0.0, None
    if export.sampled_reconstruction is not None:
        drawn = nats(export.x, export.sampled_reconstruction, export.likelihood)
        added = float(np.mean(drawn - at_mean))
        added_noise = float(np.std(drawn - at_mean) / math.sqrt(len(drawn)))
    if export.nats is not None:
        least, status, noise = export.nats, "exact", 0.0
        expected = float(least.mean())
    elif drawn is not None:
        least, status, noise = drawn, "measured", added_noise
        expected = float(least.mean())
    else:
        widths = np.mean(np.sum(1.0 - np.exp(2.0 * export.log_std), axis=1))
        least, status, noise = at_mean, "estimated", 0.0
        expected = float(at_mean.mean() + max(0.5 * export.beta * widths, 0.0))
    return _Nats(
        least=least,
        expected=expected,
        status=status,
        noise=noise,
        added=added,
        added_noise=added_noise,
        at_mean=float(at_mean.mean()),
    )


def _fitted(export: Export, facts: Facts, own: _Nats) -> float:
    """The beta that active latents' deviations were fitted to: by what noise adds to the nats,
    beta / 2 (1 - sigma_j^2) each, where draws show it, or by slopes, as `measures` has it.
    """
    variance = np.exp(2.0 * export.log_std[:, facts.active]).mean(axis=0)
    widths = float(np.sum(1.0 - variance))
    if widths > 0.0 and abs(own.added) > SURE * own.added_noise:
        return 2.0 * own.added / widths
    return facts.fitted


def _likelihood(export: Export, own: _Nats) -> Likelihood:
    """Without what affine and other decoders reach."""
    x, name, classes = export.x, export.likelihood, export.classes
    prior = export.prior_reconstruction
    ratios = theory.collapse_ratios(x, name, classes)
    return Likelihood(
        name=name,
        status=own.status,
        nats=own.expected,
        noise=own.noise,
        at_mean=own.at_mean,
        prior=math.nan if prior is None else float(nats(x, prior, name).mean()),
        constant=float(nats(x, x.mean(axis=0), name).mean()),
        dispersion=float(ratios.mean()),
        ratios=ratios[: min(x.shape)],
        fitted_to=0,
        lower=0.0,
        lower_lasting=0.0,
        freed=math.nan,
        free_component=None,
        bound=math.nan,
    )


def _groups(x: np.ndarray) -> np.ndarray:
    """Number (n,) of the datum that each row is, from 0 on, so that copies stay together.

    Discrete data of few coordinates repeat by chance. There all counts share a factor if data were
    repeated on purpose, and so many rows are one.
    """
    distinct, inverse, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    varied = int((x.var(axis=0) > 0).sum())
    if varied >= FEW_COORDINATES or len(distinct) >= MANY_ROWS:
        return inverse
    copies = int(np.gcd.reduce(counts))
    groups = np.empty(len(x), int)
    groups[np.argsort(inverse, kind="stable")] = np.arange(len(x)) // copies
    return groups


# What other decoders reach


def _with_others(facts: Facts, export: Export, own: _Nats, groups: np.ndarray) -> Facts:
    """With what the best affine VAEs that are found reach, at this beta and at 1, and whether any
    decoder at all could be better than a constant one.
    """
    from vaesurface.diagnose import fits  # by JAX, which a monitor does without

    rows = fits.part(export.x, len(facts.kl), export.likelihood)
    best = _best_affine(facts, export, rows, groups, facts.beta)
    own_energy = _own_energy(facts, export, own, rows, facts.beta)
    lower, lower_lasting = (
        _gain(own_energy, own.noise, fit) if fit.kept > facts.active.sum() else 0.0 for fit in best
    )
    facts = facts._replace(
        affine=best.whole,
        affine_lasting=best.lasting,
        likelihood=known(facts)._replace(
            fitted_to=len(rows), lower=lower, lower_lasting=lower_lasting
        ),
    )
    if facts.beta > 1.0 and facts.pays_at(1.0) != -1:
        free = _best_affine(facts, export, rows, groups, 1.0)
        own_energy = _own_energy(facts, export, own, rows, 1.0)
        freed = min(_gain(own_energy, own.noise, fit) for fit in free)
        facts = facts._replace(
            free=free.whole,
            free_lasting=int(free.lasting.kept),
            likelihood=known(facts)._replace(freed=freed),
        )
    return _with_any_decoder(facts, export)


def known(facts: Facts) -> Likelihood:
    """Of facts that are not of a Gaussian."""
    assert facts.likelihood is not None
    return facts.likelihood


def _best_affine(
    facts: Facts, export: Export, rows: np.ndarray, groups: np.ndarray, beta: float
) -> "fits.Fits":
    """With no more latents than may pay near the constant decoder, one at least; of those that
    last, no more than pay there along directions that do.
    """
    from vaesurface.diagnose import fits

    x, name, classes, k = export.x, export.likelihood, export.classes, len(facts.kl)
    paying = max(1, int((known(facts).ratios > beta).sum()))
    best = fits.best_affine(x[rows], k, name, beta, classes, paying, groups[rows])
    units = scaled(x, inverse_root(x.mean(axis=0)[None], name, classes))
    lasting = halves.held_out(units, min(k, units.shape[1]), groups)
    number = max(1, sum(affine_gain(value / beta) > ACTIVE_NATS for value in lasting))
    kept = min(int(best.lasting.kept), number)
    return best._replace(lasting=best.lasting._replace(kept=kept))


def _own_energy(facts: Facts, export: Export, own: _Nats, rows: np.ndarray, beta: float) -> float:
    """Of this VAE on the data that affine ones were fitted to, or of the constant decoder where
    that is lower: a bias that is not at its best yet is no sign of latents.
    """
    x, name, k = export.x[rows], export.likelihood, len(facts.kl)
    kl = posteriors.divergences(export.mean[rows], export.log_std[rows]).sum(axis=1).mean()
    likelihood = float(own.least[rows].mean())
    energy = 2.0 * likelihood + beta * (2.0 * float(kl) + k)
    return min(energy, 2.0 * float(nats(x, x.mean(axis=0), name).mean()) + beta * k)


def _gain(energy: float, noise: float, fit: theory.Optimum) -> float:
    """Nats per datum, less two standard errors."""
    return max(0.0, 0.5 * (energy - float(fit.energy)) - 2.0 * noise)


def _with_any_decoder(facts: Facts, export: Export) -> Facts:
    """With Lindsay's criterion, and what it leaves to decoders that see nothing but latents."""
    x, name = export.x, export.likelihood
    likelihood = known(facts)
    component = free_component = None
    if not facts.active.any():
        component = free_component = mixtures.best_component(x, name, facts.beta)
        if facts.beta > 1.0:
            free_component = mixtures.best_component(x, name, 1.0)
    return facts._replace(
        component=component,
        likelihood=likelihood._replace(free_component=free_component, bound=_bound(facts, x)),
    )


def _bound(facts: Facts, x: np.ndarray) -> float:
    """Least nats of a decoder of latents alone with this KL, where that decides; else NaN."""
    likelihood, kl = known(facts), float(facts.kl.sum())
    gained, ratio = likelihood.constant - likelihood.nats, float(likelihood.ratios[0])
    if facts.alone or kl <= 0.0 or gained <= ratio * kl + ACTIVE_NATS:
        return math.nan
    above = max(ratio, np.finfo(float).tiny)
    return likelihood.constant - _least_beta(x.tobytes(), x.shape, likelihood.name, above) * kl


@lru_cache(maxsize=2)
def _least_beta(x: bytes, shape: tuple[int, int], likelihood: str, above: float) -> float:
    """Takes seconds, and a monitor asks for the same rows again and again."""
    return mixtures.least_beta(np.frombuffer(x).reshape(shape), likelihood, above)


# What is wrong with the export


def _contradictions(facts: Facts, export: Export, own: _Nats) -> tuple[Contradiction, ...]:
    """What cannot be true of a trained VAE."""
    found = list(contradictions.find_in_posteriors(export, facts.active))
    if facts.active.any() and own.added < -SURE * own.added_noise:
        found.append(
            Contradiction(
                what="latents drawn from the posteriors answer better than the posterior means do",
                remedy="Exchange reconstruction (of the posterior mean) and sampled_reconstruction "
                "(of a draw) if they are swapped; else take both from the same trained model, in "
                "eval mode, on the rows of x in their order.",
            )
        )
    elif not contradictions.is_consistent(facts.beta, facts.fitted):
        found.append(
            Contradiction(
                what=f"deviations of the active latents fit a beta of {facts.fitted:.3g}, not the "
                f"{facts.beta:.3g} that was given",
                remedy="Give beta as the loss has it (diagnose.convention): a cross entropy "
                f"averaged over d numbers makes it d = {facts.d} times as large. If it is right, "
                "train the encoder on, or log_std is not the logarithm of the deviation.",
            )
        )
    return tuple(found)


def _unsettled(facts: Facts) -> tuple[Unsettled, ...]:
    """What a finished training would have settled."""
    likelihood, found = known(facts), []
    bias = likelihood.at_mean - likelihood.constant
    if not facts.active.any() and bias > max(LEFT_NATS, LEFT_NATS_PER_FEATURE * facts.d):
        found.append(Unsettled("the decoder's bias", bias))
    wasted = float(np.sum(facts.kl - facts.carried))
    if wasted > max(LEFT_NATS, ACTIVE_NATS * len(facts.kl)):
        found.append(Unsettled("the posteriors' means and widths", wasted))
    return tuple(found)
