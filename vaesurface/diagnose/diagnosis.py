"""What is said of a trained VAE's collapse, and how is it known? The types of a diagnosis, and its
words.

Numbers are fields; `label`, `evidence` and `change` read them as words.

>>> Collapse.LOCAL.words
'(v) a bad local optimum'
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from vaesurface.diagnose.measures import Affine, Component, Information, gain

# A latent is active if its KL divergence, averaged over data, is at least this many nats: epsilon
# of Lucas et al. 2019 ("Don't blame the ELBO!", section 6). An energy is lower if it is so by more
# than that: what a latent of that kind could gain.
ACTIVE = 0.01
# variance of the posterior mean over data above which Burda et al. 2016 call a unit active
BURDA = 0.01
# Root mean square posterior deviation up to which an active latent is sharp: half the prior's. At
# the affine optimum a direction of variance lambda has sigma^2 = beta gamma / lambda: so what it
# codes has four times the variance of the noise.
SHARP = 0.5
# Relative difference between gamma and the expected error per coordinate up to which eq. 10 is said
# to hold: draws and the end of training leave a few percent.
MATCH = 0.1
# ratio of the beta gamma given to the one that posteriors were fitted to from which one of them
# must be wrong
AGREE = 10.0
# A decoder is said to see more than latents if its error is below this part of the least that they
# allow, by 3 standard errors.
SHOWN = 0.9
# Variance of the posterior mean over posterior variance up to which a datum's own latents cannot be
# told from another's. Only then is the error at the posterior mean, without draws, held against
# what latents allow: else a steep decoder may make it.
SAME = 1e-4
# nats of KL of one datum from which a latent that most data do not use is not said to be
# superfluous
LOUD = 1.0
# an error with latents from the prior at most so many times that with the posterior's: they are not
# used
UNSEEN = 1.05
# (1 + sqrt(d / n))^2 up to which an eigenvalue that does not last is taken for the sampling noise
# of white rows
WHITE = 2.0


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
        return _WORDS[self]


_WORDS = {
    Collapse.NONE: "no collapse",
    Collapse.SUPERFLUOUS: "(i) superfluous",
    Collapse.GAMMA: "(ii) gamma or beta too large",
    Collapse.COVARIANCE: "(iii) infinite density on few data",
    Collapse.FLEXIBLE: "(iv) a decoder that needs no latents",
    Collapse.LOCAL: "(v) a bad local optimum",
    Collapse.UNDECIDED: "undecided",
}


class Spike(NamedTuple):
    """Of a decoder covariance that varies. share: of data on which density concentrates (0: on
    none); spread: by how many factors of e their typical variance is below the others'; diffuse:
    squared error over variance of the other data.
    """

    share: float
    spread: float
    diffuse: float


class Search(NamedTuple):
    """What was tried with a problem; energies in its units.

    energy: of the parameters; dropped: by how much it rises where inactive latents are switched
    off; polished: where descent from the parameters as they are leads to, polished_active: its
    active latents; best: the lowest end of all starts, best_active: its active latents; starts:
    their number; revived: the lowest energy with gamma learned and beta = 1, revived_active: its
    active latents (NaN and -1 where that is the same problem or cannot be made); own and fresh:
    squared error per coordinate of the deterministic autoencoder of the same networks, trained from
    the parameters and from random ones (NaN: the problem has none); minimum: the global minimum
    where it is known, else NaN; ray_active: latents that are active at the end of a ray along which
    the energy falls without bound, -1 where none is known; point: the label of the parameters as a
    stationary point, "" where that was not asked for.
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
        """Active latents at an end: towards gamma = 0 no more than are active at the end of the
        ray, however far a run came.
        """
        return number if self.ray_active < 0 else min(number, self.ray_active)

    @property
    def gain(self) -> float:
        """Nats per datum by which the best end is below what descent from the parameters as they
        are leads to.
        """
        return 0.5 * (min(self.energy, self.polished) - self.best)


class Diagnosis(NamedTuple):
    """What was found; n data, d features, k latents; nats per datum, energies in the paper's units.

    kind: of the whole, a `Collapse`; kinds (k,): of each latent, NONE where it is active (but in
    kind (iii) of all). kl (k,): KL divergence from the prior; loudest (k,): that of the datum that
    has most; carried (k,): the most that a latent can carry of a datum, `measures.carried`;
    mean_variance (k,): variance of the posterior mean over data; std (k,): root mean square
    posterior deviation; active (k,): carried >= ACTIVE; active_units (k,): mean_variance > BURDA;
    counts and edges: histogram of all posterior deviations, the last bin open; information: I(x;
    z). error: expected squared error per coordinate, known by error_status (exact, measured,
    estimated), with standard error error_noise; error_at_mean: with latents at the posterior mean;
    prior_error: with latents from the prior, NaN where not given; gammabar: variance of the data
    per coordinate; gamma: decoder variance (geometric mean where it varies); beta; learned: whether
    gamma was trained, or None; energy. residual (min(n, d),): eigenvalues of the covariance of x -
    reconstruction; lasting: variance of one half of those rows along the leading direction of the
    other; affine: best affine VAE at this gamma and beta; affine_lasting: the same with the
    directions of one half of the data used on the other; family: whether the decoder's family comes
    close to containing affine maps; free: best affine VAE at learned gamma and beta = 1 (none keeps
    what gains less than ACTIVE); free_lasting: how many of its directions last; component: whether
    any decoder could beat the collapsed one, None unless all latents are inactive; fitted: the beta
    gamma that deviations of active latents tell of; codes: what `measures.codes` finds in the
    residual, where that decides, else empty; binary: whether data are zeros and ones and nobody
    says that the decoder is Gaussian; alone: whether the decoder is known to see nothing but
    latents; bound: least error per coordinate of one that does, bound_proved; spike: None where
    gamma is one number; search: what was tried, None without a problem.
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
    affine: Affine
    affine_lasting: Affine
    family: bool
    free: Affine
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
    def fixed(self) -> bool:
        """Whether gamma is held: as said or, where nothing was said, because it is not the expected
        error (eq. 10).
        """
        return not self.matches if self.learned is None else not self.learned

    @property
    def matches(self) -> bool:
        """Eq. 10: gamma is the expected squared error per coordinate."""
        return abs(self.error / self.gamma - 1.0) <= MATCH

    @property
    def pays(self) -> int:
        """Would an affine latent added to this decoder gain more than ACTIVE? 1 yes, -1 no, 0
        unclear: where what it gains on these data does not last from one half of them to the other.
        """
        return self.pays_at(self.beta * self.gamma)

    def pays_at(self, level: float) -> int:
        """`pays` at another beta gamma."""
        if gain(self.lasting / level) > ACTIVE:
            return 1
        white = (1.0 + math.sqrt(self.d / self.n)) ** 2
        return (
            -1
            if gain(self.residual[0] / (level * (white if white <= WHITE else 1.0))) <= ACTIVE
            else 0
        )

    @property
    def least(self) -> float:
        """beta gamma or, if that is less, the expected error per coordinate: what it would be with
        gamma learned, beta = 1.
        """
        return min(self.beta * self.gamma, max(self.error, math.ulp(0.0)))

    @property
    def lower(self) -> float:
        """Nats per datum, less two standard errors, by which the best affine VAE is lower if it
        uses more latents; else 0.
        """
        return self._below(self.affine, self.energy)

    @property
    def lower_lasting(self) -> float:
        """The same where the affine VAE's directions are those of one half of the data, used on the
        other.
        """
        return self._below(self.affine_lasting, self.energy)

    def coded(self, level: float) -> bool:
        """Whether a code of the residual would gain more than ACTIVE at that beta gamma."""
        return any(saved / (2.0 * level) - nats > ACTIVE for saved, nats in self.codes)

    @property
    def coded_free(self) -> bool:
        """The same with gamma learned and beta = 1, so that gamma falls with the error."""
        left = [
            max(1.0 - saved / (self.d * self.error), math.ulp(0.0)) if self.error > 0 else 1.0
            for saved, _ in self.codes
        ]
        return any(
            -0.5 * self.d * math.log(a) - nats > ACTIVE
            for a, (_, nats) in zip(left, self.codes, strict=True)
        )

    @property
    def freed(self) -> float:
        """Nats per datum by which the best affine VAE with gamma learned and beta = 1 is below this
        decoder and its posteriors at their own best gamma.
        """
        own = (
            self.d * (math.log(max(self.error, math.ulp(0.0))) + 1.0)
            + 2.0 * self.kl.sum()
            + len(self.kl)
        )
        return 0.5 * (own - self.free.energy)

    def _below(self, affine: Affine, energy: float) -> float:
        noise = 2.0 * self.d * self.error_noise / self.gamma
        more = affine.kept > self.active.sum()
        return max(0.0, 0.5 * (energy - noise - affine.energy)) if more else 0.0

    @property
    def flexible(self) -> bool:
        """Whether the decoder does better than anything that sees the latents alone, or as well
        without them.
        """
        unseen = (
            self.prior_error <= UNSEEN * self.error_at_mean
            and self.error_at_mean < 0.5 * self.gammabar
        )
        told = self.error_status != "estimated" or bool(
            (self.mean_variance <= SAME * self.std**2).all()
        )
        return not self.alone and (
            (told and self.error + 3.0 * self.error_noise < SHOWN * self.bound) or unseen
        )

    @property
    def consistent(self) -> bool:
        """Whether gamma and beta as given can be those that the posteriors were fitted to."""
        level = self.beta * self.gamma
        return math.isnan(self.fitted) or level / AGREE <= self.fitted <= level * AGREE

    @property
    def idle(self) -> bool:
        """Whether latents differ from datum to datum and reconstruct nothing: no better than the
        mean of the data.
        """
        return (
            self.spike is None and bool(self.active.any()) and self.error_at_mean >= self.gammabar
        )

    @property
    def off_center(self) -> bool:
        """Whether all latents are inactive and what the decoder answers instead is not even the
        data's mean.
        """
        return (
            self.spike is None
            and not self.active.any()
            and self.error_at_mean > (1.0 + MATCH) * self.gammabar
        )

    @property
    def label(self) -> str:
        """The verdict in a line."""
        k, off = len(self.kl), self.inactive
        if self.kind == Collapse.NONE:
            return f"no collapse: {_all(k)} carr{'ies' if k == 1 else 'y'} information"
        if self.kind == Collapse.COVARIANCE:
            return self.kind.words
        if not off:
            return (
                f"{self.kind.words}: {_all(k)} differ{'s' if k == 1 else ''} between data, "
                f"which the decoder makes no use of"
            )
        parts = [
            (c, int((self.kinds == c).sum()))
            for c in Collapse
            if c != Collapse.NONE and (self.kinds == c).any()
        ]
        if len(parts) == 1:
            return f"{self.kind.words}: {off} of {k} latents inactive"
        return f"{self.kind.words}: {off} of {k} latents inactive; " + ", ".join(
            f"{m} {c.words}" for c, m in parts
        )

    @property
    def evidence(self) -> dict[str, str]:
        """Why, and by what right it is said: each sentence begins with its status."""
        from vaesurface.diagnose.words import evidence

        return evidence(self)

    @property
    def change(self) -> str:
        """What would change it."""
        from vaesurface.diagnose.words import change

        return change(self)


def _all(k: int) -> str:
    return "the latent" if k == 1 else f"all {k} latents"
