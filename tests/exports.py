"""Exports whose kind is known by how their arrays were made: conditional and skip decoders,
plateaus and early stops, repeated data, and files that are not what they say.

Everything is in closed form: data x = A t + B c + noise with latents t and a covariate c that some
decoders see, the best affine decoder of some of it, posteriors at their best. `of_known_kind` lists
them at one size; seed, size and units can be varied, and no answer may depend on them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaesurface import diagnose
from vaesurface.diagnose import Collapse, Diagnosis

__all__ = [
    "ExportRow",
    "Setting",
    "affine",
    "answer",
    "beside",
    "data_of",
    "learned",
    "of_known_kind",
    "off",
    "table",
    "variance",
]

Arrays = dict[str, Any]
SPECTRUM = (9.0, 4.0, 2.0)  # variances of three directions of the data, beside noise
NOISE = 0.1  # variance


class Setting(NamedTuple):
    """What should not matter.

    seed: of the data.
    n: number of data.
    d: number of features.
    unit: what x is measured in.
    """

    seed: int = 0
    n: int = 600
    d: int = 12
    unit: float = 1.0


class ExportRow(NamedTuple):
    """An export, and what may be said of it.

    name: as the table has it.
    made: what it was made to be.
    allowed: answers that are right; the first is what it was made to be.
    arrays: arguments of `diagnose.arrays`.
    """

    name: str
    made: str
    allowed: tuple[str, ...]
    arrays: Arrays

    @property
    def answer(self) -> str:
        """What is said of it."""
        return answer(diagnose.arrays(**self.arrays))


def answer(diagnosis: Diagnosis) -> str:
    """In a word: the kind; "not ended" and "contradiction" where that is said instead of one."""
    words = dict(zip(Collapse, ("none", "(i)", "(ii)", "(iii)", "(iv)", "(v)", "?"), strict=True))
    if diagnosis.label.startswith("the export contradicts itself"):
        return "contradiction"
    if diagnosis.kind == Collapse.UNDECIDED and "training has not ended" in diagnosis.label:
        return "not ended"
    if diagnosis.kind == Collapse.LOCAL and diagnosis.search is None:
        return "(v) or not ended"
    return words[diagnosis.kind]


def table(rows: Sequence[ExportRow]) -> str:
    """As it is printed, a line per export."""
    lines = [f"{row.name:52} {row.made:18} {row.answer}" for row in rows]
    return "\n".join([f"{'export':52} {'made':18} {'all keys'}", *lines])


# Data and decoders


def data_of(setting: Setting, variances: tuple[float, ...] = SPECTRUM) -> np.ndarray:
    """Centered rows (n, d) with these variances along some directions and NOISE along the others,
    exactly.
    """
    rng = np.random.default_rng(setting.seed)
    spectrum = np.full(setting.d, NOISE)
    spectrum[: len(variances)] = variances
    rows = rng.standard_normal((setting.n, setting.d))
    white = math.sqrt(setting.n) * np.linalg.qr(rows - rows.mean(axis=0)).Q
    turned = np.linalg.qr(rng.standard_normal((setting.d, setting.d))).Q
    return setting.unit * ((white * np.sqrt(spectrum)) @ turned)


def affine(
    x: np.ndarray, latents: int, gamma: float, beta: float = 1.0, keep: int | None = None
) -> Arrays:
    """All keys of the best affine VAE of x that keeps no more than `keep` directions: with fewer
    than pay it is a saddle.
    """
    rng = np.random.default_rng(1)
    center, level = x.mean(axis=0), beta * gamma
    values, directions = np.linalg.eigh(np.cov(x.T, bias=True))
    values, directions = values[::-1][:latents], directions[:, ::-1][:, :latents]
    kept = np.arange(latents) < (latents if keep is None else keep)
    ratio = np.where(kept, np.minimum(level / values, 1.0), 1.0)
    columns = directions * np.sqrt(values * (1.0 - ratio))
    mean = (x - center) @ directions * np.sqrt((1.0 - ratio) / values)
    std = np.sqrt(ratio)[None] * np.ones_like(mean)
    drawn, prior = rng.standard_normal((2, *mean.shape))
    return {
        "x": x,
        "mean": mean,
        "log_std": np.log(std),
        "reconstruction": center + mean @ columns.T,
        "sampled_reconstruction": center + (mean + std * drawn) @ columns.T,
        "prior_reconstruction": center + prior @ columns.T,
        "gamma": gamma,
        "beta": beta,
    }


def learned(x: np.ndarray, kept: int, beta: float = 1.0) -> float:
    """gamma of an affine VAE that keeps so many directions, at its optimum."""
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    return float(values[kept:].sum() / (x.shape[1] - beta * kept))


def off(x: np.ndarray, latents: int, gamma: float, seen: np.ndarray | None = None) -> Arrays:
    """A decoder that answers what it sees, the mean of the data if nothing, and makes nothing of
    its latents; the encoder's last layers jitter.
    """
    rng = np.random.default_rng(2)
    answered = np.tile(x.mean(axis=0), (len(x), 1)) if seen is None else seen
    return {
        "x": x,
        "mean": 1e-3 * rng.standard_normal((len(x), latents)),
        "log_std": 1e-3 * rng.standard_normal((len(x), latents)),
        "reconstruction": answered,
        "sampled_reconstruction": answered,
        "prior_reconstruction": answered,
        "gamma": gamma,
    }


def beside(x: np.ndarray, seen: np.ndarray, latents: int, gamma: float, **more: Any) -> Arrays:
    """A decoder W z + what it sees, W the best for what that leaves."""
    arrays = affine(x - seen, latents, gamma, **more)
    answers = ("reconstruction", "sampled_reconstruction", "prior_reconstruction")
    return arrays | {"x": x} | {name: arrays[name] + seen for name in answers}


def variance(rows: np.ndarray) -> float:
    """Per coordinate."""
    return float(np.mean((rows - rows.mean(axis=0)) ** 2))


# What they are


def of_known_kind(setting: Setting | None = None) -> list[ExportRow]:
    """All of them."""
    setting = setting or Setting()
    parts: tuple[Callable[[Setting], Iterator[ExportRow]], ...] = (
        conditional,
        skip,
        unfinished,
        misexported,
        repeated,
    )
    return [row for part in parts for row in part(setting)]


def conditional(setting: Setting) -> Iterator[ExportRow]:
    """The decoder sees a covariate, ten classes: x = x' + its class's mean."""
    rng = np.random.default_rng(setting.seed + 100)
    classes = rng.integers(0, 10, setting.n)
    seen = setting.unit * 3.0 * rng.standard_normal((10, setting.d))[classes]
    unit = setting.unit**2
    plain = data_of(setting, ()) + seen
    rich = data_of(setting) + seen
    half = setting.d / 2 * unit
    enough = variance(plain - seen)
    yield ExportRow(
        "conditional, classes are enough",
        "(iv)",
        ("(iv)",),
        off(plain, 3, enough, seen) | {"learned_gamma": True},
    )
    yield ExportRow(
        "conditional, classes are enough, gamma = d / 2",
        "(iv)",
        ("(iv)",),
        off(plain, 3, half, seen) | {"learned_gamma": False},
    )
    large = max(half, 20.0 * unit)
    yield ExportRow(
        "conditional, gamma too large for 3 latents",
        "(ii)",
        ("(ii)",),
        off(rich, 3, large, seen) | {"learned_gamma": False},
    )
    yield ExportRow(
        "conditional, gamma too large for 2 of 3 latents",
        "(ii)",
        ("(ii)",),
        beside(rich, seen, 3, 6.0 * unit) | {"learned_gamma": False},
    )
    heavy = learned(rich - seen, 0)
    yield ExportRow(
        "conditional, beta too large",
        "(ii)",
        ("(ii)",),
        off(rich, 3, heavy, seen) | {"beta": large / heavy, "learned_gamma": True},
    )
    yield ExportRow(
        "conditional, all off though latents pay",
        "(v) or not ended",
        ("(v) or not ended", "?"),
        off(rich, 3, variance(rich - seen), seen) | {"learned_gamma": True},
    )
    yield ExportRow(
        "conditional, all latents in use",
        "none",
        ("none",),
        beside(rich, seen, 3, learned(rich - seen, 3)) | {"learned_gamma": True},
    )


def skip(setting: Setting) -> Iterator[ExportRow]:
    """The decoder sees the datum past the latents."""
    rng = np.random.default_rng(setting.seed + 200)
    x = data_of(setting)
    missed = 0.1 * setting.unit * rng.standard_normal(x.shape)
    missed -= missed.mean(axis=0)
    yield ExportRow(
        "skip past the latents",
        "(iv)",
        ("(iv)",),
        off(x, 3, variance(missed), x - missed) | {"learned_gamma": True},
    )
    yield ExportRow(
        "skip past the latents, gamma = 1",
        "(iv)",
        ("(iv)",),
        off(x, 3, setting.unit**2, x - missed) | {"learned_gamma": False},
    )
    smooth = 0.8 * x  # leaves a fifth of everything
    yield ExportRow(
        "skip that leaves structure, gamma = 1",
        "(ii)",
        ("(ii)",),
        off(x, 3, setting.unit**2, smooth) | {"learned_gamma": False},
    )
    yield ExportRow(
        "skip that leaves structure, gamma learned",
        "(v) or not ended",
        ("(v) or not ended", "?", "not ended"),
        off(x, 3, variance(x - smooth), smooth) | {"learned_gamma": True},
    )


def unfinished(setting: Setting) -> Iterator[ExportRow]:
    """Plateaus and early stops."""
    x, unit = data_of(setting) + 2.0 * setting.unit, setting.unit
    ended, spread = ("not ended",), variance(x)
    yield ExportRow(
        "plateau, all latents off",
        "(v) or not ended",
        ("(v) or not ended",),
        off(x, 3, spread) | {"learned_gamma": True},
    )
    yield ExportRow(
        "plateau, 1 of 3 latents on",
        "(v) or not ended",
        ("(v) or not ended", "?"),
        affine(x, 3, learned(x, 1), keep=1) | {"learned_gamma": True},
    )
    bias = unit * math.sqrt(2 * 0.58 * spread / unit**2 / setting.d)
    late = off(x, 3, spread)
    for name in ("reconstruction", "sampled_reconstruction", "prior_reconstruction"):
        late[name] = late[name] + bias
    yield ExportRow(
        "bias 0.58 nats from the mean", "not ended", ended, late | {"learned_gamma": True}
    )
    yield ExportRow(
        "gamma learned, twice the error",
        "not ended",
        ended,
        off(x, 3, 2.0 * spread) | {"learned_gamma": True},
    )
    yield ExportRow(
        "gamma learned, 1 of 3 latents on, half the error",
        "not ended",
        ended,
        affine(x, 3, learned(x, 1), keep=1) | {"learned_gamma": True, "gamma": 0.5 * learned(x, 1)},
    )
    start = off(x, 3, unit**2) | {"learned_gamma": False}
    start |= dict.fromkeys(
        ("reconstruction", "sampled_reconstruction", "prior_reconstruction"), 0.0 * x
    )
    yield ExportRow("before the first step", "not ended", ("not ended", "?"), start)


def misexported(setting: Setting) -> Iterator[ExportRow]:
    """Files that are not what they say."""
    x, unit = data_of(setting), setting.unit
    good = affine(x, 3, learned(x, 3))
    good_2 = affine(x, 4, learned(x, 2), keep=2)
    wrong = ("contradiction",)
    std = np.exp(good["log_std"])
    yield ExportRow("sigma saved as log_std", wrong[0], wrong, good | {"log_std": std})
    all_off = off(x, 3, variance(x))
    yield ExportRow(
        "sigma saved as log_std, all off",
        wrong[0],
        wrong,
        all_off | {"log_std": np.exp(all_off["log_std"])},
    )
    yield ExportRow(
        "log variance saved as log_std", wrong[0], wrong, good | {"log_std": 2 * good["log_std"]}
    )
    relu = np.maximum(all_off["log_std"], 0.0)
    yield ExportRow("a ReLU on the log_std head", wrong[0], wrong, all_off | {"log_std": relu})
    used = good_2 | {"log_std": np.zeros_like(good_2["log_std"])}
    yield ExportRow("a ReLU on the log_std head, 2 of 4 on", wrong[0], wrong, used)
    yield ExportRow(
        "reconstruction twice",
        wrong[0],
        wrong,
        good | {"sampled_reconstruction": good["reconstruction"]},
    )
    yield ExportRow(
        "reconstructions exchanged",
        wrong[0],
        wrong,
        good
        | {
            "reconstruction": good["sampled_reconstruction"],
            "sampled_reconstruction": good["reconstruction"],
        },
    )
    spare = affine(x, 5, learned(x, 3), keep=3) | {"learned_gamma": True}
    yield ExportRow(
        "draws from the prior are the reconstruction",
        wrong[0],
        wrong,
        spare | {"prior_reconstruction": spare["reconstruction"]},
    )
    yield ExportRow(
        "posteriors of an untrained encoder",
        wrong[0],
        wrong,
        good | {"mean": 1e-3 * good["mean"], "log_std": 0.0 * good["log_std"]},
    )
    yield ExportRow(
        "gamma 50, trained at its error", wrong[0], wrong, good | {"gamma": 50.0 * unit**2}
    )
    yield ExportRow(
        "gamma 1/2, trained at d/2",
        wrong[0],
        wrong,
        affine(x, 3, 6.0 * unit**2) | {"gamma": 0.05 * unit**2},
    )
    yield ExportRow("x 255 times, 2 of 4 latents on", wrong[0], wrong, good_2 | {"x": 255.0 * x})
    yield ExportRow(
        "rows in another order", "?", ("?", *wrong, "not ended"), good_2 | {"x": x[::-1]}
    )
    backwards = {name: good[name][::-1] for name in ("mean", "log_std")}
    yield ExportRow("rows of mean in another order", wrong[0], wrong, good | backwards)
    yield from _sigmoids(setting)
    pixels = np.linspace(1.0, 9.0, setting.d)
    scaled = {
        name: value * np.sqrt(pixels) if name == "x" or "reconstruction" in name else value
        for name, value in off(x, 3, 1.0).items()
    }
    yield ExportRow(
        "gamma per pixel, all off",
        "(v) or not ended",
        ("(v) or not ended",),
        scaled | {"gamma": variance(x) * pixels},
    )


def _sigmoids(setting: Setting) -> Iterator[ExportRow]:
    """Outputs that stay between 0 and 1 on standardized data, in use and not."""
    x = data_of(setting)
    x = x / x.std(axis=0)
    arrays = affine(x, 3, learned(x, 3))
    squashed = {
        name: 1.0 / (1.0 + np.exp(-6.0 * (arrays[name] - 0.5)))
        for name in ("reconstruction", "sampled_reconstruction", "prior_reconstruction")
    }
    yield ExportRow(
        "a sigmoid on standardized data",
        "contradiction",
        ("contradiction",),
        arrays | squashed,
    )
    flat = np.tile(1e-3 * np.linspace(1.0, 5.0, setting.d), (setting.n, 1))
    yield ExportRow(
        "a sigmoid on standardized data, all off",
        "contradiction",
        ("contradiction",),
        off(x, 3, 1.0, flat),
    )


def repeated(setting: Setting) -> Iterator[ExportRow]:
    """The same data several times over."""
    rng = np.random.default_rng(setting.seed + 300)
    few = setting.unit * rng.standard_normal((60, 40))
    once = off(few, 2, variance(few))
    yield ExportRow("60 data of noise", "?", ("?",), once)
    five = np.tile(few, (5, 1))
    yield ExportRow("60 data of noise, five times", "?", ("?",), off(five, 2, variance(five)))
    moved = five + 1e-3 * setting.unit * rng.standard_normal(five.shape)
    yield ExportRow(
        "60 data of noise, augmented five times", "?", ("?",), off(moved, 2, variance(moved))
    )
