"""What is known of a trained VAE before anything is said of it? The types of a diagnosis.

`Facts` holds the numbers, and what follows from them by arithmetic: whether an affine latent pays,
whether the decoder sees more than its latents. `judge` names the kind, `verdict` has the words.

>>> Collapse.LOCAL.words
'(v) a bad local optimum'
>>> f"{affine_gain(4.0):.3f}"  # nats, where the residual's variance is four times beta gamma
'0.807'
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from vaesurface.theory import Optimum

__all__ = [
    "ACTIVE_NATS",
    "BURDA_VARIANCE",
    "SHARP_STD",
    "Collapse",
    "Component",
    "Facts",
    "Information",
    "Search",
    "Spike",
    "affine_gain",
    "is_fixed",
]

# A latent is active if its KL divergence, averaged over data, is at least this many nats: epsilon
# of Lucas et al. 2019 ("Don't blame the ELBO!", section 6). An energy is lower if it is so by more
# than that: what a latent of that kind could gain.
ACTIVE_NATS = 0.01
# Variance of the posterior mean over data above which Burda et al. 2016 call a unit active.
BURDA_VARIANCE = 0.01
# Root mean square posterior deviation up to which an active latent is sharp: half the prior's. At
# the affine optimum a direction of variance lambda has sigma^2 = beta gamma / lambda: so what it
# codes has four times the variance of the noise.
SHARP_STD = 0.5
# Relative difference between gamma and the expected error per coordinate up to which eq. 10 is said
# to hold: draws and the end of training leave a few percent.
GAMMA_TOLERANCE = 0.1
# Ratio of the beta gamma given to the one that posteriors were fitted to from which one of them
# must be wrong.
FITTED_FACTOR = 10.0
# A decoder is said to see more than latents if its error is below this part of the least that they
# allow, by 3 standard errors.
BEYOND_BOUND = 0.9
# Variance of the posterior mean over posterior variance up to which a datum's own latents cannot be
# told from another's. Only then is the error at the posterior mean, without draws, held against
# what latents allow: else a steep decoder may make it.
INDISTINCT = 1e-4
# Latents are not used where the error with latents from the prior is at most so many times that
# with the posterior's, and the latter is below this part of the data's variance.
UNUSED_FACTOR = 1.05
UNUSED_ERROR = 0.5
# (1 + sqrt(d / n))^2 up to which an eigenvalue that does not last is taken for the sampling noise
# of white rows.
WHITE_NOISE = 2.0

TINY = math.ulp(0.0)  # stands for an error of zero where its logarithm or inverse is asked for


class Collapse(IntEnum):
    """The paper's five kinds of posterior collapse (section 3), none, or undecided."""

    NONE = 0
    SUPERFLUOUS = 1
    GAMMA = 2
    COVARIANCE = 3
    FLEXIBLE = 4
    LOCAL = 5
    UNDECIDED = 6

    @property
    def words(self) -> str:
        """In the paper's numbering."""
        return _COLLAPSE_WORDS[self]


_COLLAPSE_WORDS = {
    Collapse.NONE: "no collapse",
    Collapse.SUPERFLUOUS: "(i) superfluous",
    Collapse.GAMMA: "(ii) gamma or beta too large",
    Collapse.COVARIANCE: "(iii) infinite density on few data",
    Collapse.FLEXIBLE: "(iv) a decoder that needs no latents",
    Collapse.LOCAL: "(v) a bad local optimum",
    Collapse.UNDECIDED: "undecided",
}


class Information(NamedTuple):
    """I(x; z) under the mixture of posteriors, nats.

    value: the estimate.
    error: its standard error.
    limit: the most it can be, the logarithm of the number of data used.
    """

    value: float
    error: float
    limit: float


class Component(NamedTuple):
    """Whether any decoder at all could be better than the collapsed one.

    gain: logarithm of the largest ratio D of Lindsay's criterion; 0 where none is above 1.
    proved: whether every place was looked at, by concavity.
    """

    gain: float
    proved: bool


class Spike(NamedTuple):
    """How density is spread by a decoder covariance that varies.

    share: of data on which density concentrates; 0 where it does so on none.
    spread: by how many factors of e their typical variance is below the others'.
    diffuse: squared error over variance of the other data.
    """

    share: float
    spread: float
    diffuse: float


class Search(NamedTuple):
    """What was tried with a problem; energies in its units, -1 and NaN where something is unknown.

    energy: of the parameters.
    dropped: by how much it rises where inactive latents are switched off.
    polished: where descent from the parameters as they are leads to.
    polished_active: active latents there.
    best: the lowest end of all starts.
    best_active: active latents there.
    starts: number of starts.
    revived: the lowest energy with gamma learned and beta = 1; NaN where that is the same problem.
    revived_active: active latents there; -1 where revived is NaN.
    own: squared error per coordinate of the deterministic autoencoder of the same networks, trained
        from the parameters; NaN where the problem has none.
    fresh: the same, the best of random starts.
    minimum: the global minimum where it is known and finite.
    ray_active: active latents at the end of a ray along which the energy falls without bound.
    point: label of the parameters as a stationary point; "" where that was not asked for.
    """

    energy: float
    dropped: float
    polished: float
    polished_active: int
    best: float
    best_active: int
    starts: int
    revived: float
    revived_active: int
    own: float
    fresh: float
    minimum: float
    ray_active: int
    point: str

    def used(self, number: int) -> int:
        """Active latents of an end that has `number` of them: towards gamma = 0 no more than are
        active at the end of the ray, however far a run came.
        """
        return number if self.ray_active < 0 else min(number, self.ray_active)

    @property
    def gain(self) -> float:
        """Nats per datum by which the best end is below what descent from the parameters as they
        are leads to.
        """
        return 0.5 * (min(self.energy, self.polished) - self.best)


class Facts(NamedTuple):
    """The numbers of a trained VAE: n data, d features, k latents; nats per datum, energies in the
    paper's units.

    kind: of the whole; UNDECIDED until `judge` has named it.
    kinds: (k,), of each latent, NONE where it is active (but in kind (iii) of all).
    n: number of data.
    d: number of features.
    kl: (k,), KL divergence from the prior.
    loudest: (k,), that of the datum that has most.
    carried: (k,), the most that a latent can carry of a datum, `posteriors.carried`.
    mean_variance: (k,), variance of the posterior mean over data.
    std: (k,), root mean square posterior deviation.
    active: (k,), carried >= ACTIVE_NATS, data on which density spikes left out.
    active_units: (k,), mean_variance > BURDA_VARIANCE.
    counts: (bins,), histogram of all posterior deviations.
    edges: (bins + 1,), of its bins, the last one open.
    information: I(x; z).
    error: expected squared error per coordinate.
    error_status: how it is known: exact, measured, estimated.
    error_noise: its standard error.
    error_at_mean: with latents at the posterior mean.
    prior_error: with latents from the prior; NaN where not given.
    gammabar: variance of the data per coordinate.
    gamma: decoder variance; the geometric mean where it varies.
    beta: weight of the KL part.
    learned: whether gamma was trained; None where that is not said.
    energy: of this VAE.
    residual: (min(n, d),), eigenvalues of the covariance of x - reconstruction, descending.
    lasting: variance of one half of those rows along the leading direction of the other.
    affine: best affine VAE at this gamma and beta.
    affine_lasting: the same with the directions of one half of the data used on the other.
    family: whether the decoder's family comes close to containing affine maps.
    free: best affine VAE at learned gamma and beta = 1, without what gains less than ACTIVE_NATS.
    free_lasting: how many of its directions last.
    component: whether any decoder could beat the collapsed one; None unless all are inactive.
    fitted: the beta gamma that deviations of active latents tell of; NaN where they do not.
    codes: (sizes, 2), what `halves.codes` finds in the residual; empty where it decides nothing.
    binary: whether data are zeros and ones and nobody says that the decoder is Gaussian.
    alone: whether the decoder is known to see nothing but latents.
    bound: least error per coordinate of a decoder that does.
    bound_proved: whether that is proved.
    spike: None where gamma is one number.
    search: what was tried; None without a problem.
    """

    kind: Collapse
    kinds: np.ndarray
    n: int
    d: int
    kl: np.ndarray
    loudest: np.ndarray
    carried: np.ndarray
    mean_variance: np.ndarray
    std: np.ndarray
    active: np.ndarray
    active_units: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    information: Information
    error: float
    error_status: str
    error_noise: float
    error_at_mean: float
    prior_error: float
    gammabar: float
    gamma: float
    beta: float
    learned: bool | None
    energy: float
    residual: np.ndarray
    lasting: float
    affine: Optimum
    affine_lasting: Optimum
    family: bool
    free: Optimum
    free_lasting: int
    component: Component | None
    fitted: float
    codes: np.ndarray
    binary: bool
    alone: bool
    bound: float
    bound_proved: bool
    spike: Spike | None
    search: Search | None = None

    @property
    def inactive(self) -> int:
        """Number of latents that carry nothing."""
        return int((~self.active).sum())

    @property
    def level(self) -> float:
        """beta gamma: the variance from which on an affine latent pays."""
        return self.beta * self.gamma

    @property
    def least(self) -> float:
        """beta gamma or, if that is less, the expected error per coordinate: what it would be with
        gamma learned, beta = 1.
        """
        return min(self.level, max(self.error, TINY))

    @property
    def matches(self) -> bool:
        """Eq. 10: gamma is the expected squared error per coordinate."""
        return _matches(self.error, self.gamma)

    @property
    def fixed(self) -> bool:
        """Whether gamma is held, see `is_fixed`."""
        return is_fixed(self.learned, self.error, self.gamma)

    @property
    def pays(self) -> int:
        """`pays_at` this beta gamma."""
        return self.pays_at(self.level)

    def pays_at(self, level: float) -> int:
        """Would an affine latent added to this decoder gain more than ACTIVE_NATS at that beta
        gamma? 1 yes, -1 no, 0 unclear: what it gains on these data does not last from one half of
        them to the other.

        Of white rows the largest eigenvalue is (1 + sqrt(d / n))^2 times their variance.
        """
        if affine_gain(self.lasting / level) > ACTIVE_NATS:
            return 1
        white = (1.0 + math.sqrt(self.d / self.n)) ** 2
        noise = white if white <= WHITE_NOISE else 1.0
        return -1 if affine_gain(self.residual[0] / (level * noise)) <= ACTIVE_NATS else 0

    @property
    def lower(self) -> float:
        """Nats per datum, less two standard errors, by which the best affine VAE is lower if it
        uses more latents; else 0.
        """
        return self._lower(self.affine)

    @property
    def lower_lasting(self) -> float:
        """The same where the affine VAE's directions are those of one half of the data, used on the
        other.
        """
        return self._lower(self.affine_lasting)

    def _lower(self, affine: Optimum) -> float:
        if affine.kept <= self.active.sum():
            return 0.0
        noise = 2.0 * self.d * self.error_noise / self.gamma
        return max(0.0, 0.5 * float(self.energy - noise - affine.energy))

    @property
    def freed(self) -> float:
        """Nats per datum by which the best affine VAE with gamma learned and beta = 1 is below this
        decoder and its posteriors at their own best gamma, the expected error F: d (log F + 1) +
        2 KL + k.
        """
        at_best_gamma = self.d * (math.log(max(self.error, TINY)) + 1.0)
        own = at_best_gamma + 2.0 * self.kl.sum() + len(self.kl)
        return 0.5 * float(own - self.free.energy)

    def coded(self, level: float) -> bool:
        """Whether a code of the residual would gain more than ACTIVE_NATS at that beta gamma: what
        it saves over 2 beta gamma, less its entropy.
        """
        return any(saved / (2.0 * level) - nats > ACTIVE_NATS for saved, nats in self.codes)

    @property
    def coded_free(self) -> bool:
        """The same with gamma learned and beta = 1, so that gamma falls with the error: d/2 times
        the logarithm of what is left of it.
        """
        return any(
            -0.5 * self.d * math.log(self._left(saved)) - nats > ACTIVE_NATS
            for saved, nats in self.codes
        )

    def _left(self, saved: float) -> float:
        """Part of the expected error that is left where `saved` is taken off."""
        if self.error <= 0:
            return 1.0
        return max(1.0 - saved / (self.d * self.error), TINY)

    @property
    def flexible(self) -> bool:
        """Whether the decoder does better than anything that sees the latents alone, or as well
        without them.
        """
        return not self.alone and (self._beats_bound or self._ignores_latents)

    @property
    def _beats_bound(self) -> bool:
        indistinct = bool((self.mean_variance <= INDISTINCT * self.std**2).all())
        comparable = self.error_status != "estimated" or indistinct
        return comparable and self.error + 3.0 * self.error_noise < BEYOND_BOUND * self.bound

    @property
    def _ignores_latents(self) -> bool:
        return (
            self.prior_error <= UNUSED_FACTOR * self.error_at_mean
            and self.error_at_mean < UNUSED_ERROR * self.gammabar
        )

    @property
    def consistent(self) -> bool:
        """Whether gamma and beta as given can be those that the posteriors were fitted to."""
        if math.isnan(self.fitted):
            return True
        return self.level / FITTED_FACTOR <= self.fitted <= self.level * FITTED_FACTOR

    @property
    def idle(self) -> bool:
        """Whether latents differ from datum to datum and reconstruct nothing: no better than the
        mean of the data.
        """
        differ = self.spike is None and bool(self.active.any())
        return differ and self.error_at_mean >= self.gammabar

    @property
    def off_center(self) -> bool:
        """Whether all latents are inactive and what the decoder answers instead is not even the
        data's mean.
        """
        off = self.spike is None and not self.active.any()
        return off and self.error_at_mean > (1.0 + GAMMA_TOLERANCE) * self.gammabar


def affine_gain(ratio: float) -> float:
    """Nats per datum that an affine latent gains where the residual's variance is `ratio` beta
    gamma: (r - 1 - log r) / 2, and 0 up to r = 1.
    """
    return 0.5 * (ratio - 1.0 - math.log(ratio)) if ratio > 1.0 else 0.0


def is_fixed(learned: bool | None, error: float, gamma: float) -> bool:
    """Whether gamma is held: as said or, where nothing was said, because it is not the expected
    error (eq. 10).
    """
    return not _matches(error, gamma) if learned is None else not learned


def _matches(error: float, gamma: float) -> bool:
    return abs(error / gamma - 1.0) <= GAMMA_TOLERANCE
