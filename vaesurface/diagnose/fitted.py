"""To which beta gamma have posteriors been fitted? What latents' noise does to the reconstruction.

Where deviations are at their best, dF / d sigma_j^2 = beta gamma (1 / sigma_j^2 - 1), F the
expected squared error; to that of a decoder W mean + b noise adds sum_j |w_j|^2 sigma_j^2.

>>> import numpy as np
>>> from vaesurface.diagnose.export import check
>>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
>>> mean = 0.5 * x[:, :1]  # of N(0, 2 I) and a column of length 1: sigma^2 = 1 / 2, beta gamma = 1
>>> export = check(x, mean, np.full((4, 1), -0.5 * np.log(2)), mean * [1.0, 0.0], gamma=1.0)
>>> round(level(export, np.array([True])), 12)
1.0
"""

import math

import numpy as np

from vaesurface.diagnose.export import Export

__all__ = ["LINEAR", "TELLING_VARIANCE", "exactly", "is_measured", "level", "noise_added", "slopes"]

# Posterior variance, in the prior's, below which a latent's deviations tell what they were fitted
# to: at the prior they do so for no level.
TELLING_VARIANCE = 0.9
# Standard errors from which what draws add to the error is known at all.
SURE = 3.0
# R^2 of a linear fit of the reconstruction to posterior means from which its slopes are those of
# the decoder; of others it sees a part.
LINEAR = 0.9
EXACTLY_LINEAR = 0.999  # and from which there are no others
EXACT = 0.01  # relative range of levels that are one


def level(export: Export, active: np.ndarray) -> float:
    """The beta gamma that posteriors of active latents (k,) fit, NaN where nothing tells: by what
    draws add to the error, or else by slopes of the reconstruction.

    Slopes of a decoder that is not linear are too small, so they only tell that beta gamma is
    larger than was given; of one that sees more than latents they are too large.
    """
    variance = np.exp(2.0 * export.log_std[:, active]).mean(axis=0)
    telling = variance < TELLING_VARIANCE
    if not telling.any():
        return math.nan
    if is_measured(export):
        return noise_added(export)[0] / float(np.sum(1.0 - variance[telling]))
    squared, share = slopes(export, active)
    levels = squared * variance / np.abs(1.0 - variance)
    fitted = float(np.median(levels[telling]))
    return (
        fitted
        if share >= LINEAR or fitted > export.beta * float(np.median(export.gamma))
        else math.nan
    )


def exactly(export: Export, active: np.ndarray) -> float:
    """The beta gamma that widths and means of all telling latents fit alike, to EXACT of it; NaN
    where they do not, or the decoder is not linear in its latents.

    Of a decoder W z + b posteriors at their best have sigma_j^2 = L / (L + |w_j|^2) and (W'W + L I)
    mean = W' (x - b), L = beta gamma.
    """
    variance = np.exp(2.0 * export.log_std).mean(axis=0)
    if not active.any() or (variance[active] >= TELLING_VARIANCE).any():
        return math.nan
    mean = export.mean[:, active] - export.mean[:, active].mean(axis=0)
    columns, share = _columns(export, active)
    if share < EXACTLY_LINEAR:
        return math.nan
    left = export.x - export.x.mean(axis=0) - mean @ columns
    by_width = np.sum(columns**2, axis=1) * variance[active] / (1.0 - variance[active])
    by_mean = np.sum((left @ columns.T) * mean, axis=0) / np.sum(mean**2, axis=0)
    levels = np.append(by_width, by_mean)
    center = float(np.median(levels))
    return center if center > 0 and np.ptp(levels) <= EXACT * center else math.nan


def is_measured(export: Export) -> bool:
    """Whether draws show what noise adds to the error."""
    if export.sampled_reconstruction is None:
        return False
    added, error = noise_added(export)
    return abs(added) > SURE * error


def noise_added(export: Export) -> tuple[float, float]:
    """What latents' noise adds to the squared error per datum, by draws, and its standard error."""
    drawn = np.sum((export.x - export.sampled_reconstruction) ** 2, axis=1)
    added = drawn - np.sum((export.x - export.reconstruction) ** 2, axis=1)
    return float(added.mean()), float(added.std() / math.sqrt(len(added)))


def slopes(export: Export, active: np.ndarray) -> tuple[np.ndarray, float]:
    """|w_j|^2 of the active latents, by a linear fit of the reconstruction to posterior means, and
    its R^2.
    """
    columns, share = _columns(export, active)
    return np.sum(columns**2, axis=1), share


def _columns(export: Export, active: np.ndarray) -> tuple[np.ndarray, float]:
    """W' (active, d) of that fit, and its R^2."""
    mean = export.mean[:, active] - export.mean[:, active].mean(axis=0)
    answers = export.reconstruction - export.reconstruction.mean(axis=0)
    columns = np.linalg.lstsq(mean, answers, rcond=None)[0]
    left, total = float(np.sum((answers - mean @ columns) ** 2)), float(np.sum(answers**2))
    return columns, 1.0 - left / total if total > 0 else 0.0
