"""Which numbers does a verdict rest on? One call from an export to all of them.

Arrays in, `Facts` out: float64 NumPy, whatever made the export. Of what is said of decoders, some
holds for affine additions to the one at hand (`residual`, `lasting`), some for affine decoders
(`affine`, `free`), some for every decoder there is (`component`, `bound`).

>>> from vaesurface.diagnose.export import check
>>> facts = measure(check(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]],
...     log_std=[[0.0], [0.0]], reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=0.5))
>>> int(facts.affine.kept), facts.pays  # the best affine VAE uses the latent; it would pay here too
(1, 1)
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from vaesurface import theory
from vaesurface.diagnose import (
    bounds,
    contradictions,
    fitted,
    gap,
    halves,
    posteriors,
    repeats,
    unsettled,
)
from vaesurface.diagnose.diagnosis import Facts, is_fixed
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.terms import (
    ACTIVE_NATS,
    BURDA_VARIANCE,
    Collapse,
    Information,
    Search,
    Spike,
)
from vaesurface.diagnose.threads import one_of_few

__all__ = ["OfData", "active_latents", "measure", "of_data"]

# Of posterior deviations: bins around 0, 0.05, ..., 2, and one of what is beyond.
STD_EDGES = np.append(0.05 * np.arange(42) - 0.025, np.inf)
# A datum's density spikes where its log variance, averaged over coordinates, is so far below the
# median, and so far below the next datum's: a variance that spans decades without a gap is a model
# of noise.
SPIKE_DEPTH = math.log(100.0)
SPIKE_GAP = math.log(10.0)
# Few data are at most this share of them, and at most so many distinct ones: of more, even where
# they are sharp, a decoder has to know something.
FEW_SHARE = 0.25
FEW_POINTS = 3
TWO_VALUED = 0.99  # share of numbers that are the least or the largest, of zeros and ones
# Share of the variance up to which what leading directions leave is rounding.
NO_REST = 1e-12
# In the paper's units, twice nats: an affine VAE keeps no direction that gains less.
AFFINE_SLACK = 2.0 * ACTIVE_NATS


class OfData(NamedTuple):
    """What data (n, d) alone decide, whatever is trained on them.

    values: (d,), eigenvalues of their covariance, descending.
    lasting: (d,), the same where those of leading directions, one a latent, are what lasts from one
        half of the data to the other.
    groups: (n,), numbers of the distinct rows.
    """

    values: np.ndarray
    lasting: np.ndarray
    groups: np.ndarray


def of_data(x: np.ndarray, latent: int) -> OfData:
    """Of data (n, d) and the number of latents: for whoever measures the same rows many times."""
    with one_of_few(x.shape):
        values, groups = theory.eigenvalues(x), repeats.groups(x)
        lasting = _lasting_eigenvalues(x, values, latent, groups)
    return OfData(values=values, lasting=lasting, groups=groups)


def measure(
    export: Export,
    search: Search | None = None,
    known: OfData | None = None,
    in_full: bool = True,
) -> Facts:
    """All numbers that a verdict rests on, of an export and of what was tried with its problem.

    known: `of_data` of the export's x, if it is at hand; in_full: with what takes longest: the
    distance to the best of all decoders, which decides only whether a decoder sees more than
    latents, and the mutual information, which decides nothing.
    """
    with one_of_few(export.x.shape):
        return _measured(export, search, known, in_full)


def _measured(export: Export, search: Search | None, known: OfData | None, in_full: bool) -> Facts:
    export, scaled = _of_one_variance(export)
    if known is None or scaled:
        known = of_data(export.x, export.mean.shape[1])
    spike, ordinary = _spiking(export)
    x, beta = export.x, export.beta
    gamma = math.exp(float(np.mean(np.log(export.gamma))))
    level = beta * gamma
    active = _carrying(export, ordinary)
    of_posteriors = _of_posteriors(export, in_full)
    kl = float(of_posteriors["kl"].sum())
    of_error = _of_error(export, level)
    error = of_error["error"]
    held_gamma = gamma if is_fixed(export.learned_gamma, error, gamma) else None
    decided_without = active.any() or spike is not None
    facts = Facts(
        kind=Collapse.UNDECIDED,
        kinds=np.full(len(active), int(Collapse.UNDECIDED)),
        n=len(x),
        d=x.shape[1],
        active=active,
        gammabar=float(np.mean((x - x.mean(axis=0)) ** 2)),
        gamma=gamma,
        beta=beta,
        learned=export.learned_gamma,
        energy=_energy(export, gamma, error, kl),
        family=export.affine,
        component=None if decided_without else bounds.best_component(x, level),
        fitted=math.nan if spike is not None else fitted.level(export, active),
        exact=math.nan if spike is not None else fitted.exactly(export, active),
        codes=np.zeros((0, 2)),
        binary=export.learned_gamma is None and not export.stated and _is_binary(x, known.groups),
        alone=export.alone,
        spike=spike,
        search=search,
        distinct=int(known.groups.max()) + 1,
        scaled=scaled,
        **of_posteriors,
        **of_error,
        **_of_residual(export, known.groups),
        **_of_affine_decoders(export, known, held_gamma),
        **_of_any_decoder(export, known.values, kl, error),
    )
    facts = _with_doubts(facts, export)
    if in_full:
        facts = facts._replace(gap=gap.of_facts(x, known.values, facts))
    return _with_what_decides(facts, export, known.groups)


def _is_binary(x: np.ndarray, groups: np.ndarray) -> bool:
    """Whether data are zeros and ones in whatever units: nearly all are at the two ends, in more
    patterns than two, which any two data have; groups (n,): numbers of the distinct rows.
    """
    low, high = float(x.min()), float(x.max())
    if groups.max() < 2:
        return False
    return float(np.mean((x == low) | (x == high))) >= TWO_VALUED


def _of_one_variance(export: Export) -> tuple[Export, bool]:
    """In units in which gamma is one number where it differs between coordinates only: each times
    sqrt(gamma / its own), gamma their geometric mean; and whether that changed anything.
    """
    if export.gamma.ndim == 0 or np.ptp(export.gamma, axis=0).any():
        return export, False
    own = export.gamma[0]
    gamma = np.exp(np.mean(np.log(own)))
    scale = np.sqrt(gamma / own)[None]
    names = ("x", "reconstruction", "sampled_reconstruction", "prior_reconstruction")
    given = {name: getattr(export, name) for name in names}
    rescaled = {name: a * scale for name, a in given.items() if a is not None}
    # Squared errors that are known exactly are in the old units.
    return export._replace(gamma=np.asarray(gamma), squared_error=None, **rescaled), True


def _with_what_decides(facts: Facts, export: Export, groups: np.ndarray) -> Facts:
    """With what only some verdicts ask for: clusters in the residual, and what latents could add to
    a decoder that sees more.
    """
    residual = export.x - export.reconstruction
    if facts.flexible and facts.inactive:
        values = theory.eigenvalues(residual)
        lasting = _lasting_eigenvalues(residual, values, facts.inactive, groups)
        added = theory.affine_optimum(lasting, facts.inactive, None, 1.0, AFFINE_SLACK)
        left = _left(values, int(added.kept), None, 1.0) / (facts.d * facts.gammabar)
        facts = facts._replace(added=added, added_left=left)
    return facts._replace(codes=halves.codes(residual, groups)) if _codes_decide(facts) else facts


def _with_doubts(facts: Facts, export: Export) -> Facts:
    """With what in the export cannot be true and what training has not settled; neither is asked of
    a problem, where all is known, or where gamma varies from datum to datum.
    """
    if export.squared_error is not None or facts.spike is not None:
        return facts
    active = facts.active
    return facts._replace(
        contradictions=contradictions.find(export, active, facts.level, facts.fitted),
        unsettled=unsettled.find(export, active, facts.error, facts.error_status),
    )


def active_latents(export: Export) -> np.ndarray:
    """Latents (k,) that can carry ACTIVE_NATS per datum or more; data on which density spikes are
    left out.
    """
    return _carrying(export, _spiking(export)[1])


def _carrying(export: Export, ordinary: np.ndarray) -> np.ndarray:
    """The same, of data `ordinary` (n,) bool."""
    nats = posteriors.carried(export.mean[ordinary], export.log_std[ordinary])
    return nats >= ACTIVE_NATS


def _spiking(export: Export) -> tuple[Spike | None, np.ndarray]:
    """How density is spread where gamma varies, and the data (n,) on which it does not spike."""
    x, gamma, n = export.x, export.gamma, len(export.x)
    if gamma.ndim == 0:
        return None, np.ones(n, bool)
    logs = np.log(gamma)
    # Relative to the coordinate's median, so that faint coordinates are no spike.
    depth = (logs - np.median(logs, axis=0)).mean(axis=1)
    sharp = depth < -SPIKE_DEPTH
    if not (sharp.any() and _are_few(x[sharp], n) and _gap(depth, sharp) >= SPIKE_GAP):
        sharp = np.zeros(n, bool)
    others = x[~sharp]
    left = np.mean((others - export.reconstruction[~sharp]) ** 2)
    spike = Spike(
        share=float(sharp.mean()),
        spread=float(np.median(depth) - depth[sharp].mean()) if sharp.any() else 0.0,
        diffuse=float(left / np.mean((others - others.mean(axis=0)) ** 2)),
    )
    return spike, ~sharp


def _are_few(x: np.ndarray, n: int) -> bool:
    """Whether the data x are few of n, repetitions counted as one."""
    return len(x) <= FEW_SHARE * n and len(np.unique(x, axis=0)) <= FEW_POINTS


def _gap(depth: np.ndarray, sharp: np.ndarray) -> float:
    """From the least sharp of the sharp data to the next datum, in log variance."""
    return float(depth[~sharp].min() - depth[sharp].max())


def _of_posteriors(export: Export, in_full: bool) -> dict[str, Any]:
    """Of `Facts`, what posteriors say."""
    mean, log_std = export.mean, export.log_std
    std, divergences = np.exp(log_std), posteriors.divergences(mean, log_std)
    information = Information(math.nan, math.nan, math.log(len(mean)))
    if in_full:
        information = posteriors.information(mean, log_std)
    return {
        "kl": divergences.mean(axis=0),
        "loudest": divergences.max(axis=0),
        "carried": posteriors.carried(mean, log_std),
        "mean_variance": mean.var(axis=0),
        "std": np.sqrt(np.mean(std**2, axis=0)),
        "active_units": mean.var(axis=0) > BURDA_VARIANCE,
        "counts": np.histogram(std, STD_EDGES)[0],
        "edges": STD_EDGES,
        "information": information,
    }


def _of_error(export: Export, level: float) -> dict[str, Any]:
    """Of `Facts`, how well data are reconstructed at that beta gamma."""
    x, d = export.x, export.x.shape[1]
    squared, status, noise = _squared_error(export, level)
    prior = export.prior_reconstruction
    return {
        "error": float(np.mean(squared)) / d,
        "error_status": status,
        "error_noise": noise / d,
        "error_at_mean": float(np.mean((x - export.reconstruction) ** 2)),
        "prior_error": math.nan if prior is None else float(np.mean((x - prior) ** 2)),
    }


def _squared_error(export: Export, level: float) -> tuple[np.ndarray, str, float]:
    """Expected squared errors (n,), how they are known, and the standard error of their mean, by
    the draws of latents.

    With latents at the posterior mean alone, noise adds beta gamma sum_j (1 - sigma_j^2), to first
    order in sigma^2: where posterior deviations are at their best, dF / d sigma_j^2 = beta gamma (1
    / sigma_j^2 - 1).
    """
    if export.squared_error is not None:
        return export.squared_error, "exact", 0.0
    at_mean = np.sum((export.x - export.reconstruction) ** 2, axis=1)
    if export.sampled_reconstruction is not None:
        drawn = np.sum((export.x - export.sampled_reconstruction) ** 2, axis=1)
        return drawn, "measured", float(np.std(drawn - at_mean) / math.sqrt(len(drawn)))
    added = level * np.sum(1.0 - np.exp(export.log_std) ** 2, axis=1)
    return at_mean + np.maximum(added, 0.0), "estimated", 0.0


def _energy(export: Export, gamma: float, error: float, kl: float) -> float:
    """F / gamma + d log gamma + beta (2 KL + k); where gamma varies, with the squared error at the
    posterior mean, each over its own gamma.
    """
    d, k = export.x.shape[1], export.mean.shape[1]
    if export.gamma.ndim == 0:
        likelihood = error * d / gamma
    else:
        squared = (export.x - export.reconstruction) ** 2
        likelihood = float(np.mean(np.sum(squared / export.gamma, axis=1)))
    return likelihood + d * math.log(gamma) + export.beta * (2.0 * kl + k)


def _of_residual(export: Export, groups: np.ndarray) -> dict[str, Any]:
    """Of `Facts`, what the reconstruction leaves to affine additions."""
    residual = export.x - export.reconstruction
    # To some digits of the largest, which decides: so in a tenth of the time of all digits of all.
    products = halves.gram(residual - residual.mean(axis=0))
    values = linalg.eigvalsh(products)[::-1] / len(residual)
    return {
        "residual": np.maximum(values, 0.0),
        "lasting": float(halves.held_out(residual, 1, groups)[0]),
    }


def _of_affine_decoders(export: Export, known: OfData, gamma: float | None) -> dict[str, Any]:
    """Of `Facts`, the best affine VAEs with as many latents; gamma: None where it is learned.

    Posteriors of amortized encoders are as good: at the optimum they are affine.
    """
    values, lasting, _ = known
    k, beta, total = export.mean.shape[1], export.beta, float(values.sum())
    affine, affine_lasting = (
        theory.affine_optimum(v, k, gamma, beta, AFFINE_SLACK) for v in (values, lasting)
    )
    free, free_lasting = (
        theory.affine_optimum(v, k, None, 1.0, AFFINE_SLACK) for v in (values, lasting)
    )
    kept = int(min(affine.kept, affine_lasting.kept))
    freed = int(min(free.kept, free_lasting.kept))
    return {
        "affine": affine,
        "affine_lasting": affine_lasting,
        "affine_left": _left(values, kept, gamma, beta) / total,
        "free": free,
        "free_lasting": int(free_lasting.kept),
        "free_left": _left(values, freed, None, 1.0) / total,
    }


def _left(values: np.ndarray, kept: int, gamma: float | None, beta: float) -> float:
    """Expected squared error of the best affine VAE that keeps so many leading directions of data
    whose covariance has these eigenvalues (d,): the others' sum, and beta gamma for each; gamma =
    others / (d - beta kept) where it is learned (None).
    """
    others = float(values[kept:].sum())
    variance = others / (len(values) - beta * kept) if gamma is None else gamma
    return others + kept * beta * variance


def _lasting_eigenvalues(
    x: np.ndarray, values: np.ndarray, latent: int, groups: np.ndarray
) -> np.ndarray:
    """Eigenvalues (d,) with those of the `latent` leading directions as one half of the data has
    them on the other, and what is left of the data's variance spread evenly over the others.
    """
    d = x.shape[1]
    leading = np.sort(halves.held_out(x, min(latent, d), groups))[::-1]
    others = d - len(leading)
    rest = values.sum() - leading.sum()
    if rest <= NO_REST * values.sum():
        return np.append(leading, np.zeros(others))
    return np.append(leading, np.full(others, rest / max(others, 1)))


def _of_any_decoder(export: Export, values: np.ndarray, kl: float, error: float) -> dict[str, Any]:
    """Of `Facts`, the least error per coordinate that these posteriors allow any decoder of latents
    alone.
    """
    d = export.x.shape[1]
    bound, proved = bounds.least_error(export.x, kl, d * error, float(values[0]))
    return {"bound": bound / d, "bound_proved": proved}


def _codes_decide(facts: Facts) -> bool:
    """Whether what is not affine decides: nothing was tried, some latents are inactive and some are
    not, or the decoder sees more than latents, and no affine addition pays.
    """
    some = (facts.active.any() or facts.flexible) and not facts.active.all()
    judged = facts.search is None and facts.spike is None
    return bool(some) and judged and facts.pays_at(facts.least) == -1
