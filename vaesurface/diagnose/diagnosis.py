"""What is known of a trained VAE before anything is said of it?

`Facts` holds the numbers, and what follows from them by arithmetic: whether an affine latent pays,
whether the decoder sees more than its latents. `judge` names the kind, `verdict` has the words.

>>> f"{affine_gain(4.0):.3f}"  # nats, where the residual's variance is four times beta gamma
'0.807'
"""

import math
from typing import NamedTuple

import numpy as np

from vaesurface.diagnose.contradictions import GAMMA_TOLERANCE, is_consistent, matches
from vaesurface.diagnose.terms import (
    ACTIVE_NATS,
    Collapse,
    Component,
    Contradiction,
    Gap,
    Information,
    Likelihood,
    Search,
    Spike,
    Unsettled,
)
from vaesurface.diagnose.unsettled import BIAS
from vaesurface.theory import Optimum

__all__ = ["Facts", "affine_gain", "is_fixed"]

# A decoder is said to see more than latents if its error is below this part of the least that they
# allow, by so many standard errors.
BEYOND_BOUND = 0.9
SURE = 3.0
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
WHITE_EDGE = 1.1  # and what the largest eigenvalue of white rows has beyond that at times

TINY = math.ulp(0.0)  # stands for an error of zero where its logarithm or inverse is asked for


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
    exact: the same where widths and means of all of them fit it alike; else NaN.
    codes: (sizes, 2), what `halves.codes` finds in the residual; empty where it decides nothing.
    binary: whether data are zeros and ones, in whatever units, and nobody says that the decoder is
        Gaussian.
    alone: whether the decoder is known to see nothing but latents.
    bound: least error per coordinate of a decoder that does.
    bound_proved: whether that is proved.
    spike: None where gamma is one number.
    search: what was tried; None without a problem.
    distinct: number of data that are not repeats.
    affine_left: part of the data's variance that is left by the best affine VAE at this gamma and
        beta that keeps no more directions than last.
    free_left: the same with gamma learned and beta = 1.
    added: best affine addition to a decoder that sees more than latents, gamma learned and
        beta = 1, with the directions that last; None for others.
    added_left: part of the data's variance that is left with as many.
    scaled: whether gamma differs between coordinates; all numbers are then in units in which it
        does not, each coordinate times sqrt(gamma / its own).
    contradictions: what in the export cannot be true.
    unsettled: what a finished training would have settled.
    likelihood: None where it is Gaussian. Else gamma is 1, data, errors and residual are in units
        of the data's deviation under the decoder, and affine VAEs are affine in the natural
        parameter, the best that were found; free: with beta = 1.
    gap: how far collapse is from the best of all decoders; None where that says nothing.
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
    distinct: int = 0
    affine_left: float = math.nan
    free_left: float = math.nan
    added: Optimum | None = None
    added_left: float = math.nan
    scaled: bool = False
    contradictions: tuple[Contradiction, ...] = ()
    unsettled: tuple[Unsettled, ...] = ()
    likelihood: Likelihood | None = None
    gap: Gap | None = None
    exact: float = math.nan

    def count(self, kind: Collapse) -> int:
        """Number of latents of that kind."""
        return int((self.kinds == kind).sum())

    @property
    def present(self) -> list[Collapse]:
        """The kinds that latents are of."""
        return [kind for kind in Collapse if self.count(kind)]

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
        gamma learned, beta = 1, and the bias settled.
        """
        nats = sum(part.nats for part in self.unsettled if part.what == BIAS)
        return min(self.level, max(self.error - 2.0 * self.gamma * nats / self.d, TINY))

    @property
    def matches(self) -> bool:
        """Eq. 10: gamma is the expected squared error per coordinate."""
        return matches(self.error, self.gamma)

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
        white = (1.0 + math.sqrt(self.d / (self.distinct or self.n))) ** 2
        noise = white if white <= WHITE_NOISE else 1.0
        return -1 if affine_gain(self.residual[0] / (level * noise)) <= ACTIVE_NATS else 0

    @property
    def like_noise(self) -> bool:
        """Whether the residual may be white noise of the least beta gamma: nothing lasts, and its
        largest eigenvalue is one that white rows have.
        """
        rows = self.distinct or self.n
        edge = WHITE_EDGE * (1.0 + math.sqrt(self.d / rows)) ** 2
        few = self.d <= rows and self.residual[0] <= edge * self.least
        return bool(few and self.pays_at(self.least) != 1)

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
        noise = 2.0 * self.energy_noise
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

    @property
    def expected(self) -> tuple[int, float]:
        """Latents in use and part of the data's variance left, where advice is followed: of a bad
        local optimum those of the best affine VAE at this gamma and beta, else with gamma learned
        and beta = 1; as many as last.
        """
        on = int(self.active.sum())
        if self.kind == Collapse.LOCAL:
            return int(min(self.affine.kept, self.affine_lasting.kept)), self.affine_left
        if self.added is not None:
            return on + int(self.added.kept), self.added_left
        return max(on, min(int(self.free.kept), self.free_lasting)), self.free_left

    @property
    def unbounded(self) -> bool:
        """Whether data lie in no more dimensions than there are latents (`free.kept`), so that the
        energy falls without end as gamma, learned, goes to 0.
        """
        return bool(np.isneginf(self.free.energy))

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
        if self.alone:
            return False
        return self._beats_bound or self._ignores_latents or self.below_floor

    @property
    def _comparable(self) -> bool:
        """Whether the error is known well enough to be held against what latents allow."""
        indistinct = bool((self.mean_variance <= INDISTINCT * self.std**2).all())
        return self.error_status != "estimated" or indistinct

    @property
    def _beats_bound(self) -> bool:
        surely = self.error + SURE * self.error_noise
        return self._comparable and surely < BEYOND_BOUND * self.bound

    @property
    def energy_noise(self) -> float:
        """Standard error of the energy, by the draws of latents."""
        return self.d * self.error_noise / self.gamma

    @property
    def below_floor(self) -> bool:
        """Whether the energy is below what any decoder of latents alone has, with any encoder."""
        if self.gap is None or self.alone or self.contradictions or not self._comparable:
            return False
        return bool(self.energy + SURE * self.energy_noise < self.gap.energy - 2.0 * ACTIVE_NATS)

    @property
    def _ignores_latents(self) -> bool:
        return (
            self.prior_error <= UNUSED_FACTOR * self.error_at_mean
            and self.error_at_mean < UNUSED_ERROR * self.gammabar
        )

    @property
    def consistent(self) -> bool:
        """Whether gamma and beta as given can be those that the posteriors were fitted to."""
        near = math.isnan(self.exact) or matches(self.exact, self.level)
        return near and is_consistent(self.level, self.fitted)

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
    return not matches(error, gamma) if learned is None else not learned
