"""Does an export hold together? What cannot be true of a trained VAE with these arrays.

An export that contradicts itself is of another model than it says, so no kind of collapse is read
off it. Every check asks for what holds at an optimum of any VAE, and by a margin that training
which has not quite ended does not reach.

>>> import numpy as np
>>> from vaesurface.diagnose.export import check
>>> x = np.random.default_rng(0).standard_normal((50, 4))
>>> saved_sigma = check(x, np.zeros((50, 2)), np.ones((50, 2)), 0 * x, gamma=1.0)
>>> [c.what for c in find(saved_sigma, np.array([False, False]), level=1.0, fitted=math.nan)]
['every posterior is wider than the prior (log_std >= 0), as no trained one is']
"""

import math

import numpy as np

from vaesurface.diagnose import answers, order
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.fitted import (
    LINEAR,
    TELLING_VARIANCE,
    is_measured,
    noise_added,
    slopes,
)
from vaesurface.diagnose.terms import ACTIVE_NATS, Contradiction

__all__ = [
    "GAMMA_TOLERANCE",
    "find",
    "find_in_posteriors",
    "is_consistent",
    "levels_of_the_loss",
    "matches",
]

# Ratio of the beta gamma given to the one that posteriors were fitted to from which one of them
# must be wrong.
FITTED_FACTOR = 10.0
# Log deviations from which on a posterior is wider than the prior by ACTIVE_NATS, to leading order:
# (e^2s - 1 - 2s) / 2 = s^2.
WIDE_LOG_STD = math.sqrt(ACTIVE_NATS)
MOST = 0.99  # share that counts as all: some rows of an export may be anything
# Variance of a posterior mean, in the prior's, up to which it is about where it started: a small
# start has every log_std at 0, too.
STILL = 1e-5
SAME = 1e-6  # difference of two arrays, in their deviations: more than float32 rounds to
SIGNIFICANT = 3.0  # standard errors
# Reconstructions are in other units than x where a factor of so much, or its inverse, ...
UNITS_FACTOR = 1.5
UNITS_SHARE = 0.3  # ... takes off at least this part of the squared error, ...
TOLD_SHARE = 0.2  # ... and then leaves less than all but this part of the variance.
CONSTANT_FACTOR = 5.0  # The same of a constant, which training moves from 0 to the mean.
# Deviations are misread where noise is less than it should be by the first factor, and within the
# second once they are read otherwise: of a decoder that is linear in the means, and of one that is
# so up to this R^2. (Right ones of networks with that R^2 had 0.47 to 1.7 of it.)
MISREAD = (2.5, 1.4)
MISREAD_ROUGHLY = (4.0, 2.2)
MOSTLY_LINEAR = 0.65
SHARP_VARIANCE = 0.4  # below which a variance and its square differ by that factor
# Of x to the answers, from which a range that x leaves is one of its units; of latents to the
# prior, from which they are in other units, where a latent wastes as many nats.
OTHER_SCALE = 20.0
SCALE_NATS = 1.0
BEYOND_ALL = 2.0  # times the data's variance that noise does not add
RANGES = ((0.0, 1.0), (-1.0, 1.0))  # of sigmoid and tanh
NEAR_BOUND = 0.02  # part of a range within which outputs are at its bound
BEYOND_BOUND = 0.05  # part of a range by which data are beyond it
FEW_FEATURES = 5  # of fewer, chance alone puts all on one side
CONFINED_SHARE = 0.02  # of numbers, at a bound which the data leave there
# Relative difference between gamma and the expected error per coordinate up to which eq. 10 is said
# to hold: draws and the end of training leave a few percent.
GAMMA_TOLERANCE = 0.1
LARGEST_LOG_GAMMA = 300.0  # whose exponential float64 holds among others
READING_TOLERANCE = 0.03  # the same of what gamma would be, read otherwise: a coincidence is rarer


def find(
    export: Export, active: np.ndarray, level: float, fitted: float
) -> tuple[Contradiction, ...]:
    """What cannot be true, the surest first; active (k,): latents that carry something; level: beta
    gamma as given; fitted: what posteriors were fitted to.
    """
    checks = (
        _copied(export, level),
        _wide(export, active),
        *answers.find(export, active),
        _better_draws(export, active),
        _confined(export),
        _units(export, level, fitted),
        _constant_units(export),
        _other_scale(export, active),
        _log_variance(export, active, level) or _misfit(export, active),
        _level(export, level, fitted),
        _gamma(export, fitted),
        *_in_another_order(export, active, level),
    )
    return tuple(check for check in checks if check is not None)


def find_in_posteriors(export: Export, active: np.ndarray) -> tuple[Contradiction, ...]:
    """The same of what holds under every likelihood."""
    checks = (
        _wide(export, active),
        *answers.find(export, active),
        *_in_another_order(export, active, math.inf),
    )
    return tuple(check for check in checks if check is not None)


def is_consistent(level: float, fitted: float) -> bool:
    """Whether posteriors can have been fitted to beta gamma = level; fitted is NaN where nothing
    tells.
    """
    return math.isnan(fitted) or level / FITTED_FACTOR <= fitted <= level * FITTED_FACTOR


def matches(error: float, gamma: float) -> bool:
    """Whether gamma is the expected error per coordinate, as eq. 10 has it at its optimum."""
    return abs(error / gamma - 1.0) <= GAMMA_TOLERANCE


def _makes_nothing(export: Export) -> bool:
    """Whether the decoder makes nothing of its latents, as early in training: it is no better than
    the data's mean.
    """
    error = float(np.mean((export.x - export.reconstruction) ** 2))
    return error >= float(export.x.var(axis=0).mean())


# Posteriors


def _in_another_order(
    export: Export, active: np.ndarray, level: float
) -> tuple[Contradiction, ...]:
    """Rows of mean, where the decoder reconstructs anything at all."""
    return () if _makes_nothing(export) else order.find(export, active, level)


def _wide(export: Export, active: np.ndarray) -> Contradiction | None:
    """A posterior at its best is never wider than the prior: dF / d sigma^2 = beta gamma (1 /
    sigma^2 - 1) is not negative for any decoder that is the mean of its data.
    """
    log_std = export.log_std
    if np.mean(log_std >= 0) < MOST:
        return None
    remedy = (
        "Save the logarithm of the deviation: log_std = 0.5 * log_var, or std.log(). If that is "
        "what log_std is, the encoder's head cannot go below 0 (a ReLU, a softplus or a clamp at "
        "its end): take it off and train again; nothing else helps before that."
    )
    if np.mean(log_std >= WIDE_LOG_STD) >= MOST:
        return Contradiction(
            what="every posterior is wider than the prior (log_std >= 0), as no trained one is",
            remedy=remedy,
        )
    if active.any():
        return Contradiction(
            what="latents differ from datum to datum, but no posterior is narrower than the prior "
            "(every log_std is 0 or more)",
            remedy=remedy,
        )
    floor = np.mean(log_std == 0) >= 1.0 - MOST
    if floor and (log_std.max() > 0 or export.mean.var(axis=0).max() > STILL):
        return Contradiction(
            what="no log_std is below 0 and many are exactly 0, as a ReLU at the end of the "
            "encoder leaves them",
            remedy=remedy,
        )
    return None


def _better_draws(export: Export, active: np.ndarray) -> Contradiction | None:
    """Noise in the latents cannot make the error smaller."""
    if export.sampled_reconstruction is None or not active.any():
        return None
    added, error = noise_added(export)
    at_mean = float(np.mean(np.sum((export.x - export.reconstruction) ** 2, axis=1)))
    if added >= -max(SIGNIFICANT * error, SAME * at_mean) or _makes_nothing(export):
        return None
    return Contradiction(
        what="latents drawn from the posteriors reconstruct better than the posterior means do: "
        "the beta gamma that this would fit is negative",
        remedy="Exchange reconstruction (of the posterior mean) and sampled_reconstruction (of a "
        "draw) if they are swapped; else take both from the same trained model, in eval mode, on "
        "the rows of x in their order.",
    )


def _log_variance(export: Export, active: np.ndarray, level: float) -> Contradiction | None:
    """Of a decoder that is linear in the means, W mean + b, noise adds |w_j|^2 sigma_j^2, which at
    the posteriors' best is beta gamma (1 - sigma_j^2): whether that holds once log_std is read as
    log sigma^2, and not as it is.
    """
    telling = active & (np.mean(np.exp(2.0 * export.log_std), axis=0) < TELLING_VARIANCE)
    if not telling.any():
        return None
    squared, share = slopes(export, telling)
    linear = share >= LINEAR
    if not linear and (share < MOSTLY_LINEAR or not is_measured(export)):
        return None
    as_said, misread = (np.mean(np.exp(c * export.log_std[:, telling]), axis=0) for c in (2.0, 1.0))
    if is_measured(export):
        added = noise_added(export)[0]
        ratio, reread = float(squared @ as_said) / added, float(squared @ misread) / added
    else:
        sharp = misread < SHARP_VARIANCE
        if not sharp.any():
            return None
        ratio, reread = (
            float(np.median((squared * v / (1.0 - v))[sharp])) / level for v in (as_said, misread)
        )
    factor, fits = MISREAD if linear else MISREAD_ROUGHLY
    if not 1.0 / fits <= reread <= fits or ratio > 1.0 / factor:
        return None
    return Contradiction(
        what="log_std is half of what latents' noise does to the reconstruction says: it is the "
        "logarithm of the variance",
        remedy="Save log_std = 0.5 * log_var.",
    )


def _misfit(export: Export, active: np.ndarray) -> Contradiction | None:
    """Whether draws are of other latents than mean and log_std have: of a decoder that is linear in
    the means noise adds sum_j |w_j|^2 sigma_j^2, whatever has been trained.

    Where no latent carries anything, these may be means in other units.
    """
    narrow = np.mean(np.exp(2.0 * export.log_std), axis=0) < TELLING_VARIANCE
    telling = narrow & (active if active.any() else export.mean.var(axis=0) > 0)
    if not telling.any() or not is_measured(export):
        return None
    squared, share = slopes(export, telling)
    added, error = noise_added(export)
    as_said = float(squared @ np.mean(np.exp(2.0 * export.log_std[:, telling]), axis=0))
    more = as_said > MISREAD[0] * (added + SIGNIFICANT * error)
    less = as_said * MISREAD_ROUGHLY[0] < added - SIGNIFICANT * error
    if share < LINEAR or added <= 0 or not (more or less):
        return None
    return Contradiction(
        what=f"log_std says that latents' noise adds {as_said:.3g} to the squared error, and draws "
        f"show {added:.3g}",
        remedy="Save the logarithm of the deviation, log_std = 0.5 * log_var, mean in the same "
        "units, and the decoder's answer to one draw mean + exp(log_std) * randn as "
        "sampled_reconstruction.",
    )


def _other_scale(export: Export, active: np.ndarray) -> Contradiction | None:
    """Whether all latents in use together are much wider or narrower than the prior, and that costs
    much: a KL part that counts has long scaled them.
    """
    if not active.any():
        return None
    mean, log_std = export.mean[:, active], export.log_std[:, active]
    scale = np.sqrt(mean.var(axis=0) + np.mean(np.exp(2.0 * log_std), axis=0))
    wasted = export.beta * (0.5 * (scale**2 - 1.0) - np.log(scale))
    off = (scale > OTHER_SCALE).all() or (scale < 1.0 / OTHER_SCALE).all()
    if not off or wasted.min() < SCALE_NATS:
        return None
    return Contradiction(
        what=f"the latents are in other units than the prior: over all data they have deviations "
        f"of {scale.min():.3g} to {scale.max():.3g}, where the prior's are 1",
        remedy="Save mean and log_std in the units in which the KL part has them, or give "
        "prior_mean and prior_std; do not normalize or scale latents for the export.",
    )


# Reconstructions


def _copied(export: Export, level: float) -> Contradiction | None:
    """A reconstruction that is x to the last digit of float32. Posteriors at their best shrink it
    by beta gamma over the variance, which only a tiny beta gamma hides in rounding.
    """
    rounding = 2.0 * float(np.finfo(np.float32).eps) * float(np.abs(export.x).max())
    apart = float(np.abs(export.x - export.reconstruction).max())
    spread = float(np.abs(export.x - export.x.mean(axis=0)).max())
    hidden = max(SAME, rounding / spread)  # more where data are far from 0
    if apart > rounding or level <= hidden * float(export.x.var(axis=0).max()):
        return None
    return Contradiction(
        what="reconstruction is x itself: x was saved as reconstruction",
        remedy="Save what the decoder answers to mean as reconstruction, and to mean + "
        "exp(log_std) * randn as sampled_reconstruction. If that is x itself, the decoder is "
        "handed x past its latents: take that out and train again.",
    )


def _units(export: Export, level: float, fitted: float) -> Contradiction | None:
    """At an optimum no factor c on the decoder's outputs lowers the expected error: <x, y> = <y, y>
    + N, centered, N = beta gamma sum_j (1 - sigma_j^2) what latents' noise adds. With draws y it is
    in them.
    """
    drawn = export.sampled_reconstruction
    y = export.reconstruction if drawn is None else drawn
    x, y = export.x - export.x.mean(axis=0), y - y.mean(axis=0)
    n = len(x)
    together, own = float(np.sum(x * y)) / n, float(np.sum(y * y)) / n
    total = float(np.sum(x * x)) / n
    if (
        not own > SAME * total
        or together <= 0
        or (together / own * (together / total) < TOLD_SHARE)
    ):
        return None
    largest = level if math.isnan(fitted) else max(level, fitted)
    noise = largest * float(np.mean(np.sum(1.0 - np.exp(2.0 * export.log_std), axis=1)))
    added = max(noise, 0.0) if drawn is None else 0.0
    # Without draws the factor is between these two, up to what is not known of beta gamma.
    most, least = together / own, together / (own + added)
    factor = least if least > UNITS_FACTOR else most
    error = float(np.mean(np.sum((export.x - export.reconstruction) ** 2, axis=1)))
    left = float(np.mean(np.sum((x - most * y) ** 2, axis=1)))
    off = least > UNITS_FACTOR or most < 1.0 / UNITS_FACTOR
    if not off or left > (1.0 - UNITS_SHARE) * error:
        return None
    return _in_other_units(factor)


def _constant_units(export: Export) -> Contradiction | None:
    """A decoder that always answers the same answers with the data's mean, in the same units."""
    answer, center = export.reconstruction.mean(axis=0), export.x.mean(axis=0)
    if _varies(export) or len(answer) < FEW_FEATURES or not np.any(answer):
        return None
    factor = float(answer @ center / (answer @ answer))
    left = float(np.sum((center - factor * answer) ** 2))
    chance = float(export.x.var(axis=0).sum()) / len(export.x)  # of the mean of so many rows
    if factor <= 0 or left > max((1.0 - MOST) * float(center @ center), 2.0 * chance):
        return None
    if factor * factor * float(answer @ answer) <= SIGNIFICANT**2 * chance:
        return None
    off = factor > CONSTANT_FACTOR or factor < 1.0 / CONSTANT_FACTOR
    return _in_other_units(factor) if off else None


def _varies(export: Export) -> bool:
    """Whether what the decoder answers differs from datum to datum."""
    varied = export.reconstruction.var(axis=0).sum()
    return bool(varied > SAME * export.x.var(axis=0).sum())


def _in_other_units(factor: float) -> Contradiction:
    return Contradiction(
        what=f"x is not in the units of the decoder's answers: it is about {factor:.3g} times as "
        f"large",
        remedy="Give x exactly as the loss compares it with the decoder's output (after ToTensor, "
        "Normalize or StandardScaler), row by row in the order of mean, and gamma in the same "
        "units. If that is so, train on: the outputs' scale has not settled.",
    )


def _confined(export: Export) -> Contradiction | None:
    """Outputs that stand at a bound of a range which the data leave there."""
    answers = [export.reconstruction, export.sampled_reconstruction, export.prior_reconstruction]
    given = [a for a in answers if a is not None]
    lowest, highest = min(a.min() for a in given), max(a.max() for a in given)
    x, answer = export.x, export.reconstruction
    if x.std() > OTHER_SCALE * answer.std() > 0 and _varies(export):
        return None  # in other units altogether
    for low, high in RANGES:
        if low <= lowest and highest <= high and _squeezed(x, answer, low, high):
            return _confined_to(f"between {low:g} and {high:g}", (x < low) | (x > high))
    if _cut_off(x, answer):
        return _confined_to(f"{lowest:.3g} or more", x < lowest)
    return None


def _confined_to(where: str, beyond: np.ndarray) -> Contradiction:
    return Contradiction(
        what=f"all that the decoder answers is {where}, which {100 * beyond.mean():.3g} % of x "
        f"is not",
        remedy="Take the sigmoid, tanh or ReLU off the decoder's output and train again, or scale "
        "x to that range, for training and export alike.",
    )


def _squeezed(x: np.ndarray, answer: np.ndarray, low: float, high: float) -> bool:
    """Whether answers pile up within [low, high] next to a bound where x is beyond it: more of them
    than next to these. Of a constant answer: whether it is just inside, and above the mean in every
    coordinate.
    """
    near, far = NEAR_BOUND * (high - low), BEYOND_BOUND * (high - low)
    if np.all(answer.var(axis=0) <= SAME * x.var(axis=0)):
        above = np.all((answer > low) & (answer <= low + near) & (answer > x.mean(axis=0)))
        return bool(above and len(answer.T) >= FEW_FEATURES and np.mean(x < low - far) > 0.1)
    at, next_to = 0.0, 0.0
    for gap, beyond in ((answer - low, low - x), (high - answer, x - high)):
        at += float(np.mean((gap <= near) & (beyond > far)))
        next_to += float(np.mean((gap > near) & (gap <= 2.0 * near) & (beyond > far)))
    return at >= CONFINED_SHARE and at >= 2.0 * next_to


def _cut_off(x: np.ndarray, answer: np.ndarray) -> bool:
    """Whether the least answer is that of several coordinates which vary, where x is less: a ReLU
    or a clamp.
    """
    low = answer.min()
    cut = (answer == low) & (x < low)
    columns = cut.any(axis=0)
    varied = (answer[:, columns] > low).any(axis=0)
    return bool(varied.sum() > 1 and cut.mean() >= CONFINED_SHARE)


# gamma and beta


def _level(export: Export, level: float, fitted: float) -> Contradiction | None:
    """Posteriors are fitted to one beta gamma.

    One that is larger than what was given, by slopes alone, may be that of a decoder which sees
    more than latents.
    """
    if _makes_nothing(export):
        return None
    if is_consistent(level, fitted) or not (fitted < level or is_measured(export)):
        return _more_than_all(export, level)
    return Contradiction(
        what=f"deviations of the active latents fit a beta gamma of {fitted:.3g}, not the "
        f"{level:.3g} that was given",
        remedy=levels_of_the_loss(export.x.shape[1]),
    )


def _more_than_all(export: Export, level: float) -> Contradiction | None:
    """Noise adds beta gamma sum_j (1 - sigma_j^2) to the squared error at least, where that is
    concave in the variances; at an optimum that is less than the data's variance.
    """
    narrower = np.maximum(1.0 - np.exp(2.0 * export.log_std), 0.0)
    added = level * float(np.mean(np.sum(narrower, axis=1)))
    total = float(export.x.var(axis=0).sum())
    if added <= BEYOND_ALL * total:
        return None
    return Contradiction(
        what=f"at the beta gamma of {level:.3g} that was given posteriors as narrow as these would "
        f"let noise add {added:.3g} to the squared error, and the data's variance is {total:.3g}",
        remedy=levels_of_the_loss(export.x.shape[1]),
    )


def levels_of_the_loss(d: int) -> str:
    """What to do where gamma and beta are not those that posteriors were fitted to."""
    return (
        f"Give gamma and beta as the loss has them: a squared error averaged over d features makes "
        f"gamma d / 2 = {d / 2:g}, a KL part averaged makes beta smaller (docs/diagnose.md). If "
        f"they are right, train the encoder on."
    )


def _gamma(export: Export, fitted: float) -> Contradiction | None:
    """A gamma that was learned is the expected error; one that is so once it is read otherwise is
    the deviation, the precision or the like.

    The posteriors of active latents, where they tell, have been fitted to that reading rather than
    to gamma itself.
    """
    if not export.learned_gamma or export.gamma.ndim:
        return None
    gamma = float(export.gamma)
    if matches(_error(export, gamma)[0], gamma):
        return None
    for name, (reading, remedy) in _readings(gamma).items():
        error, noise = _error(export, reading)
        allowed = READING_TOLERANCE * reading + SIGNIFICANT * noise
        if abs(error - reading) <= min(allowed, GAMMA_TOLERANCE * reading) and (
            math.isnan(fitted) or _is_nearer(fitted / export.beta, reading, gamma)
        ):
            return Contradiction(
                what=f"gamma = {gamma:.4g} is said to be learned, and it is the {name} that "
                f"belongs to the error {error:.4g}, not the variance",
                remedy=f"Give the decoder's variance as gamma: {remedy}.",
            )
    return None


def _readings(gamma: float) -> dict[str, tuple[float, str]]:
    """What else the number may be: the variance that it then stands for, and how that is made."""
    return {
        "deviation": (gamma**2, "std ** 2"),
        "precision": (1.0 / gamma, "1 / precision"),
        "inverse deviation": (gamma**-2, "deviation ** 2"),
        "logarithm": (math.exp(min(gamma, LARGEST_LOG_GAMMA)), "exp(log_gamma)"),
    }


def _is_nearer(level: float, first: float, second: float) -> bool:
    """Whether a level is nearer to the first, by its factor."""
    if level <= 0:
        return False
    return abs(math.log(level / first)) < abs(math.log(level / second))


def _error(export: Export, gamma: float) -> tuple[float, float]:
    """Expected squared error per coordinate of posteriors that are at their best at that gamma, and
    its standard error by draws: these show it, whatever gamma is.
    """
    d = export.x.shape[1]
    at_mean = float(np.mean((export.x - export.reconstruction) ** 2))
    if export.sampled_reconstruction is not None:
        added, noise = noise_added(export)
        return at_mean + added / d, noise / d
    narrower = float(np.mean(np.sum(1.0 - np.exp(2.0 * export.log_std), axis=1)))
    return at_mean + export.beta * gamma * max(narrower, 0.0) / d, 0.0
