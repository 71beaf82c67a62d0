"""Which words does a diagnosis speak in? The kinds of collapse, and the small records of what was
found.

>>> Collapse.LOCAL.words
'(v) a bad local optimum'
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from vaesurface.glance import brief

__all__ = [
    "ACTIVE_NATS",
    "BURDA_VARIANCE",
    "SAME_NATS",
    "SHARP_STD",
    "Collapse",
    "Component",
    "Contradiction",
    "Gap",
    "Information",
    "Likelihood",
    "Search",
    "Spike",
    "Unsettled",
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
SAME_NATS = 1e-9  # energies that are no further apart differ by rounding


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


class Gap(NamedTuple):
    """How far from the best of all decoders that see only latents, with any encoder, at this gamma
    and beta; energies in the paper's units, what collapse costs in nats per datum.

    energy: that none is below, proved.
    measured: the same where the supremum that it rests on was searched: higher, and no proof.
    least: what collapse costs at least, by a model that is known to be lower; 0 where none is.
    known: which that is; "" where none is.
    most: what it costs at most, proved.
    most_measured: the same by `measured`.
    """

    energy: float
    measured: float
    least: float
    known: str
    most: float
    most_measured: float

    @property
    def words(self) -> str:
        """In a sentence."""
        best = (
            "proved: at this gamma and beta no decoder that sees only z, with any encoder, has an "
            f"energy below {self.energy:.4g}"
        )
        if self.most < SAME_NATS:
            return f"{best}, which is that of collapse: it costs nothing"
        close = self.most - self.most_measured < ACTIVE_NATS
        measured = "" if close else f" (measured: {self.most_measured:.3g})"
        if not self.known:
            return (
                f"{best}; collapse costs at most {self.most:.3g} nats per datum{measured}, and "
                "nothing lower is known"
            )
        return (
            f"{best}; collapse costs at least {self.least:.3g} ({self.known} is so much lower) and "
            f"at most {self.most:.3g} nats per datum{measured}"
        )


class Spike(NamedTuple):
    """How density is spread by a decoder covariance that varies.

    share: of data on which density concentrates; 0 where it does so on none.
    spread: by how many factors of e their typical variance is below the others'.
    diffuse: squared error over variance of the other data.
    """

    share: float
    spread: float
    diffuse: float


@brief()
class Likelihood(NamedTuple):
    """What is known of a VAE whose likelihood is not Gaussian, in nats per datum.

    name: bernoulli, poisson or categorical.
    status: how nats are known: exact, measured, estimated.
    nats: expected negative log-likelihood.
    noise: its standard error.
    at_mean: negative log-likelihood with latents at the posterior mean.
    prior: with latents from the prior; NaN where not given.
    constant: that of the best constant decoder.
    dispersion: variance of the data over that under the constant decoder, averaged over coordinates
        that vary: 1 for zeros and ones, less for grey pixels.
    ratios: (min(n, d),), of the leading directions there, descending: the beta below which a latent
        pays.
    fitted_to: number of data that affine VAEs were fitted to, of the same VAE all the same.
    lower: by how much the best affine VAE that was found is lower if it uses more latents, less two
        standard errors; else 0.
    lower_lasting: the same where it was fitted to one half of the data and used on the other.
    freed: by how much the best affine VAE that was found with beta = 1 is below this VAE at beta =
        1; NaN where beta is no more, or no latent pays there to second order.
    free_component: whether at beta = 1, where that is less, any decoder could beat the constant
        one; None unless all latents are inactive.
    bound: least nats of a decoder of latents alone with this KL, measured; NaN where not needed.
    """

    name: str
    status: str
    nats: float
    noise: float
    at_mean: float
    prior: float
    constant: float
    dispersion: float
    ratios: np.ndarray
    fitted_to: int
    lower: float
    lower_lasting: float
    freed: float
    free_component: Component | None
    bound: float


class Contradiction(NamedTuple):
    """What cannot be true of a trained VAE, so that an export is not what it says.

    what: it, in a clause.
    remedy: what to do about it, a sentence or two.
    """

    what: str
    remedy: str


class Unsettled(NamedTuple):
    """What a finished training would have settled.

    what: the part of the model.
    nats: per datum, to be gained by that part alone.
    """

    what: str
    nats: float


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
