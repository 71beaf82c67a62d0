"""Which kind of collapse is it? From an export to numbers, and from numbers to a verdict."""

import math

import numpy as np

from vaesurface.diagnose import measures
from vaesurface.diagnose.diagnosis import (
    ACTIVE,
    BURDA,
    LOUD,
    SHARP,
    Collapse,
    Diagnosis,
    Search,
    Spike,
)
from vaesurface.diagnose.export import Export

EDGES = np.append(
    0.05 * np.arange(42) - 0.025, np.inf
)  # of posterior deviations: bins around 0, 0.05, ..., 2 and beyond
SPIKE = math.log(
    100.0
    # by which a datum's log variance, averaged over coordinates, is below the median for density to
    # spike
)
GAP = math.log(
    10.0
)  # to the next datum: a variance that spans decades without one is a model of noise
FEW = 0.25  # share of data up to which it is few of them
# distinct data up to which it is few: of more, even where they are sharp, a decoder has to know
# something
POINTS = 3
DIFFUSE = 0.5  # squared error over variance from which on data are not reconstructed


def judge(given: Export, search: Search | None = None) -> Diagnosis:
    """The verdict on an export and, where a problem was there to try things with, on what that
    showed.
    """
    found = _measured(given, search)
    kinds = _kinds(found)
    order = (
        Collapse.LOCAL,
        Collapse.GAMMA,
        Collapse.COVARIANCE,
        Collapse.FLEXIBLE,
        Collapse.UNDECIDED,
        Collapse.SUPERFLUOUS,
    )
    kind = next((c for c in order if (kinds == c).any()), Collapse.NONE)
    return found._replace(kind=kind, kinds=kinds)


def active(given: Export) -> np.ndarray:
    """Latents (k,) that carry ACTIVE nats per datum or more; data on which density spikes are left
    out.
    """
    _, ordinary = _spike(given)
    return measures.carried(given.mean[ordinary], given.log_std[ordinary]) >= ACTIVE


def _measured(given: Export, search: Search | None) -> Diagnosis:
    x, n, d, k = given.x, *given.x.shape, given.mean.shape[1]
    each = measures.divergences(given.mean, given.log_std)
    kl = each.mean(axis=0)
    std, on = np.exp(given.log_std), active(given)
    residual = x - given.reconstruction
    spike, _ = _spike(given)
    values = measures.spectrum(x)
    log_gamma = float(np.mean(np.log(given.gamma)))
    gamma, beta = math.exp(log_gamma), given.beta
    squared, status, noise = _squared_error(given, beta * gamma * np.sum(1.0 - std**2, axis=1))
    error = float(np.mean(squared)) / d
    total = (
        np.mean(np.sum(residual**2 / given.gamma, axis=1))
        if spike is not None
        else error * d / gamma
    )
    learned = given.learned_gamma
    free = measures.affine_optimum(values, k, None, 1.0, 2.0 * ACTIVE)
    blank = Diagnosis(
        kind=Collapse.UNDECIDED,
        kinds=np.zeros(k, int),
        n=n,
        d=d,
        kl=kl,
        loudest=each.max(axis=0),
        carried=measures.carried(given.mean, given.log_std),
        mean_variance=given.mean.var(axis=0),
        std=np.sqrt(np.mean(std**2, axis=0)),
        active=on,
        active_units=given.mean.var(axis=0) > BURDA,
        counts=np.histogram(std, EDGES)[0],
        edges=EDGES,
        information=measures.information(given.mean, given.log_std),
        error=error,
        error_status=status,
        error_noise=noise / d,
        error_at_mean=float(np.mean(residual**2)),
        prior_error=math.nan
        if given.prior_reconstruction is None
        else float(np.mean((x - given.prior_reconstruction) ** 2)),
        gammabar=float(np.mean((x - x.mean(axis=0)) ** 2)),
        gamma=gamma,
        beta=beta,
        learned=learned,
        energy=float(total + d * log_gamma + beta * (2.0 * kl.sum() + k)),
        residual=measures.variances(residual),
        lasting=float(measures.held_out(residual, 1)[0]),
        affine=measures.Affine(0, gamma, math.inf),
        affine_lasting=measures.Affine(0, gamma, math.inf),
        family=given.affine,
        free=free,
        free_lasting=0,
        component=None
        if on.any() or spike is not None
        else measures.best_component(x, beta * gamma),
        fitted=math.nan,
        codes=np.zeros((0, 2)),
        binary=learned is None and bool(np.isin(x, (0.0, 1.0)).all()),
        alone=given.alone,
        bound=math.nan,
        bound_proved=True,
        spike=spike,
        search=search,
    )
    bound, proved = measures.least_error(x, float(kl.sum()), d * error, float(values[0]))
    level = gamma if blank.fixed else None
    last = measures.held_out(x, min(k, d))
    rest = max(values.sum() - last.sum(), 0.0)
    others = (
        np.full(d - len(last), rest / max(d - len(last), 1))
        if rest > 1e-12 * values.sum()
        else np.zeros(d - len(last))
    )
    lasting = np.append(np.sort(last)[::-1], others)
    found = blank._replace(
        bound=bound / d,
        bound_proved=proved,
        affine=measures.affine_optimum(values, k, level, beta, 2.0 * ACTIVE),
        affine_lasting=measures.affine_optimum(lasting, k, level, beta, 2.0 * ACTIVE),
        free_lasting=measures.affine_optimum(lasting, k, None, 1.0, 2.0 * ACTIVE).kept,
        fitted=_fitted(given, on) if spike is None else math.nan,
    )
    # What is not affine is looked at where nothing affine decides and it does.
    asked = (
        search is None
        and spike is None
        and on.any()
        and not on.all()
        and found.pays_at(found.least) == -1
    )
    return found._replace(codes=measures.codes(residual)) if asked else found


def _squared_error(given: Export, noise: np.ndarray) -> tuple[np.ndarray, str, float]:
    """Expected squared errors (n,), how they are known, and the standard error of their mean, by
    the draws of latents.

    With latents at the posterior mean alone, noise adds beta gamma sum_j (1 - sigma_j^2), to first
    order in sigma^2: where posterior deviations are at their best, dF / d sigma_j^2 = beta gamma (1
    / sigma_j^2 - 1).
    """
    if given.squared_error is not None:
        return given.squared_error, "exact", 0.0
    at_mean = np.sum((given.x - given.reconstruction) ** 2, axis=1)
    if given.sampled_reconstruction is not None:
        drawn = np.sum((given.x - given.sampled_reconstruction) ** 2, axis=1)
        return drawn, "measured", float(np.std(drawn - at_mean) / math.sqrt(len(drawn)))
    return at_mean + np.maximum(noise, 0.0), "estimated", 0.0


def _fitted(given: Export, on: np.ndarray) -> float:
    """The beta gamma that active latents' posteriors have been fitted to, NaN where nothing tells.

    Where deviations are at their best, dF / d sigma_j^2 = beta gamma (1 / sigma_j^2 - 1): what
    noise adds to the error shows it, or else the slopes of the reconstruction, of which a linear
    fit sees a part.
    """
    variance = np.exp(2.0 * given.log_std[:, on]).mean(axis=0)
    told = variance < 0.9
    if not told.any():
        return math.nan
    if given.sampled_reconstruction is not None:
        added = np.sum(
            (given.x - given.sampled_reconstruction) ** 2 - (given.x - given.reconstruction) ** 2,
            axis=1,
        )
        return float(np.mean(added) / np.sum(1.0 - variance[told]))
    mean = given.mean[:, on] - given.mean[:, on].mean(axis=0)
    slopes = np.linalg.lstsq(
        mean, given.reconstruction - given.reconstruction.mean(axis=0), rcond=None
    )[0]
    return float(np.median((np.sum(slopes**2, axis=1) * variance / np.abs(1.0 - variance))[told]))


def _spike(given: Export) -> tuple[Spike | None, np.ndarray]:
    """How density is spread where gamma varies, and the data (n,) on which it does not spike."""
    n = len(given.x)
    if given.gamma.ndim == 0:
        return None, np.ones(n, bool)
    logs = np.log(given.gamma)
    relative = (logs - np.median(logs, axis=0)).mean(
        axis=1
    )  # so that faint coordinates are no spike
    sharp = relative < -SPIKE
    if (
        not sharp.any()
        or not _few(given.x[sharp], n)
        or relative[~sharp].min() - relative[sharp].max() < GAP
    ):
        sharp = np.zeros(n, bool)
    rest = given.x[~sharp]
    diffuse = float(
        np.mean((rest - given.reconstruction[~sharp]) ** 2)
        / np.mean((rest - rest.mean(axis=0)) ** 2)
    )
    spread = float(np.median(relative) - relative[sharp].mean()) if sharp.any() else 0.0
    return Spike(float(sharp.mean()), spread, diffuse), ~sharp


def _few(x: np.ndarray, n: int) -> bool:
    return len(x) <= FEW * n and len(np.unique(x, axis=0)) <= POINTS


def _kinds(f: Diagnosis) -> np.ndarray:
    """The kind of every latent; inactive ones are alike, so the first are given what holds for some
    of them.
    """
    off, on = np.flatnonzero(~f.active), int(f.active.sum())
    kinds = np.full(len(f.kl), int(Collapse.NONE))
    if f.spike is not None and f.spike.share > 0 and f.spike.diffuse >= DIFFUSE:
        # Whatever latents carry, it keeps other data away from the spike and reconstructs none of
        # them.
        kinds[:] = Collapse.COVARIANCE
        return kinds
    if not off.size:
        return np.full(len(f.kl), int(Collapse.UNDECIDED)) if f.idle else kinds
    if f.spike is not None:
        kinds[off] = Collapse.UNDECIDED
        return kinds
    if f.flexible:
        kinds[off] = Collapse.FLEXIBLE
        return kinds
    if f.binary or (f.search is None and (f.off_center or not f.consistent)):
        kinds[off] = Collapse.UNDECIDED
        return kinds
    lost = _lost(f, on)
    # What plain descent from here brings to life at this gamma is not gamma's fault.
    here = on if f.search is None else max(on, f.search.used(f.search.polished_active))
    revived = max(0, _revived(f, on, lost) - here - lost)
    parts = [Collapse.LOCAL] * lost + [Collapse.GAMMA] * revived
    parts = parts[: off.size]
    kinds[off] = parts + [Collapse.UNDECIDED] * (off.size - len(parts))
    if _superfluous(f, on, lost):
        quiet = (f.kl < ACTIVE) & (f.loudest < LOUD)
        kinds[(kinds == Collapse.UNDECIDED) & quiet] = Collapse.SUPERFLUOUS
    return kinds


def _lost(f: Diagnosis, on: int) -> int:
    """How many inactive latents something lower at this gamma and beta uses."""
    s = f.search
    if s is None:
        # Both: an affine latent pays where this decoder is, and an affine VAE is lower as a whole.
        # One alone may be a sign of training that has not ended.
        kept = min(f.affine.kept, f.affine_lasting.kept)
        return (
            max(0, kept - on)
            if f.family and f.pays == 1 and min(f.lower, f.lower_lasting) > ACTIVE
            else 0
        )
    # Latents that plain descent from here brings to life are no local optimum's: training has not
    # ended.
    on = max(on, s.used(s.polished_active))
    if f.family and f.affine.energy < s.best:
        return (
            max(0, f.affine.kept - on)
            if 0.5 * (min(s.energy, s.polished) - f.affine.energy) > ACTIVE
            else 0
        )
    return max(0, s.used(s.best_active) - on) if s.gain > ACTIVE else 0


def _revived(f: Diagnosis, on: int, lost: int) -> int:
    """How many latents would be active if gamma were learned and beta 1; `on` where that is so or
    nothing is known.
    """
    if not f.fixed and f.beta <= 1.0:
        return on
    if f.search is not None and f.search.revived_active >= 0:
        return (
            f.free.kept
            if f.family and f.free.energy < f.search.revived
            else f.search.revived_active
        )
    clear = (
        f.pays == -1
        and f.lower <= ACTIVE
        and not f.coded(f.beta * f.gamma)
        and (f.component is None or f.component.gain == 0.0)
    )
    # A decoder that at its own best gamma is better than any affine one does not need the latents
    # that those need.
    return max(on, min(f.free.kept, f.free_lasting)) if (clear or lost) and f.freed > ACTIVE else on


def _superfluous(f: Diagnosis, on: int, lost: int) -> bool:
    """Whether inactive latents that neither something lower nor a learned gamma uses are known to
    be superfluous.
    """
    if f.idle:
        return False
    if f.search is None:
        sharp = on > 0 and bool((f.std[f.active] <= SHARP).all())
        return (
            sharp
            and lost == 0
            and f.pays_at(f.least) == -1
            and f.lower <= ACTIVE
            and not f.coded(f.least)
            and not f.coded_free
        )
    optimal = abs(f.search.energy - f.search.minimum) <= 2.0 * ACTIVE
    # That more starts find nothing is no proof where an affine latent should pay, or where
    # everything is off; and where descent from here brings latents to life, training has not ended.
    stuck = (f.pays == 1 and lost == 0 and f.affine.kept > on) or f.search.used(
        f.search.polished_active
    ) > on
    return f.search.dropped <= 2.0 * ACTIVE and ((on + lost > 0 and not stuck) or optimal)
