"""Which forty runs does a monitor have to tell apart? Twenty that end collapsed, in seven ways, and
twenty that do not, in six.

Of each is said what is replaced for a run without the cause (of those that do not collapse: for an
ordinary one), which is what decides; see `torch_runs`.
"""

from functools import partial

from torch import nn

from benchmarks.torch_data import (
    binary,
    blanks,
    blocks,
    digits,
    enlarged,
    gaussian,
    mixture,
    moons,
    standardized,
    switching,
    walk,
)
from benchmarks.torch_starts import columns, cyclical, dead, pretrained, scaled, zeros
from benchmarks.torch_vae import Knots, Run, autoregressive, skip, threshold

__all__ = ["COLLAPSED", "KEPT"]

ONE: Knots = ((0.0, 1.0),)
ORDINARY = {"start": None, "beta": ONE, "fading": ONE, "free": 0.0, "learned": True, "seed": 90}
SIX = (8.0, 6.0, 4.0, 0.6, 0.5, 0.4)  # three above a variance of 1, three below
FOUR = (5.0, 4.0, 3.0, 2.0)
MANY = 100_000  # rows, of which no direction has by chance more variance than is noise
FREE = {"learned": True, "gamma": 1.0}

COLLAPSED = {
    "weight-digits": Run("beta", standardized, 8, {"beta": ONE}, ("ii",), beta=((0, 30),), seed=1),
    "weight-gaussian": Run(
        "beta",
        partial(gaussian, 24, FOUR),
        4,
        {"beta": ONE},
        ("ii",),
        activation=nn.ReLU,
        beta=((0, 40),),
        seed=2,
    ),
    "weight-binary": Run(
        "beta", binary, 6, {"beta": ONE}, ("ii",), likelihood="bernoulli", beta=((0, 20),), seed=3
    ),
    "mse-digits": Run("gamma", digits, 8, FREE, ("ii",), gamma=32.0, learned=False, seed=4),
    "mse-enlarged": Run(
        "gamma",
        enlarged,
        10,
        FREE,
        ("ii",),
        hidden=(128,),
        activation=nn.ReLU,
        gamma=392.0,
        learned=False,
        steps=2000,
        seed=5,
    ),
    "mse-moons": Run(
        "gamma",
        partial(moons, 20),
        2,
        FREE,
        ("ii",),
        hidden=(64, 64),
        gamma=10.0,
        learned=False,
        steps=3000,
        seed=6,
    ),
    "gamma-some": Run(
        "gamma", partial(gaussian, 30, SIX), 6, FREE, ("ii",), gamma=1.0, learned=False, seed=7
    ),
    "seen-walk": Run(
        "seen",
        partial(walk, 16, MANY),
        4,
        {"decoder": None},
        ("iv",),
        decoder=autoregressive,
        gamma=0.4,
        learned=False,
        rate=4e-3,
        seed=8,
    ),
    "seen-skip": Run(
        "seen",
        partial(gaussian, 32, FOUR),
        4,
        {"decoder": None},
        ("iv",),
        activation=nn.ReLU,
        decoder=skip(16),
        gamma=0.1,
        learned=False,
        seed=9,
    ),
    "seen-binary": Run(
        "seen",
        partial(switching, 16, MANY, 0.2),
        4,
        {"decoder": None, "start": None, "rate": 2e-3},
        ("iv",),
        likelihood="bernoulli",
        decoder=autoregressive,
        start=pretrained(0.2),
        rate=3e-4,
        seed=10,
    ),
    "deep-sigmoid": Run(
        "deep",
        standardized,
        8,
        {"hidden": (64,)},
        ("v",),
        hidden=(64,) * 8,
        activation=nn.Sigmoid,
        steps=3000,
        seed=11,
    ),
    "deep-tanh": Run(
        "deep",
        partial(gaussian, 40, FOUR),
        4,
        {"hidden": (48,)},
        ("v",),
        hidden=(48,) * 12,
        steps=2500,
        seed=12,
    ),
    "deep-relu": Run(
        "deep",
        digits,
        8,
        {"hidden": (64,)},
        ("v",),
        hidden=(64,) * 10,
        activation=nn.ReLU,
        steps=2500,
        seed=13,
    ),
    "start-dead": Run(
        "start",
        partial(mixture, 24, 5, 0.1),
        4,
        {"start": None},
        ("v",),
        activation=nn.ReLU,
        start=dead,
        seed=14,
    ),
    "start-zero": Run("start", standardized, 6, {"start": None}, ("v",), start=zeros, seed=15),
    "start-threshold": Run(
        "start",
        partial(blocks, 4, 6, 1.0),
        4,
        {"start": columns(4, 6)},
        ("v",),
        decoder=threshold(1.0),
        start=columns(2, 6),
        seed=16,
    ),
    "late-ramp": Run(
        "late",
        standardized,
        8,
        {"beta": ONE},
        ("ii",),
        gamma=1.0,
        learned=False,
        beta=((0.5, 1.0), (0.9, 20.0)),
        seed=17,
    ),
    "late-mse": Run(
        "late",
        digits,
        6,
        FREE | {"beta": ONE},
        ("ii",),
        activation=nn.ReLU,
        gamma=32.0,
        learned=False,
        beta=((0.55, 0.0), (1.0, 1.0)),
        seed=18,
    ),
    "late-some": Run(
        "late",
        binary,
        6,
        {"beta": ONE},
        ("ii",),
        likelihood="bernoulli",
        beta=((0.6, 1.0), (0.8, 4.0)),
        seed=19,
    ),
    "spike": Run(
        "covariance",
        blanks,
        6,
        {"per_datum": False, "start": None},
        ("iii",),
        start=scaled(0.05),
        per_datum=True,
        rate=1e-3,
        fading=((0.3, 1.0), (1.0, 0.02)),
        gamma_rate=5.0,
        seed=20,
    ),
}

KEPT = {
    "plain-gaussian": Run(
        "plain", partial(gaussian, 20, FOUR), 4, ORDINARY, activation=nn.ReLU, seed=21
    ),
    "plain-binary": Run("plain", binary, 4, ORDINARY, likelihood="bernoulli", seed=22),
    "plain-enlarged": Run(
        "plain", enlarged, 6, ORDINARY, hidden=(128,), activation=nn.ReLU, steps=2000, seed=23
    ),
    "plateau-weights": Run(
        "plateau",
        partial(gaussian, 32, (5.0, 5.0, 5.0)),
        3,
        ORDINARY | {"rate": 2e-3},
        start=scaled(0.003),
        rate=4e-4,
        gamma_rate=4.0,
        seed=24,
    ),
    "plateau-slow": Run(
        "plateau",
        standardized,
        4,
        ORDINARY | {"rate": 2e-3},
        rate=2e-4,
        start=scaled(0.02),
        steps=6000,
        seed=25,
    ),
    "plateau-gamma": Run(
        "plateau",
        partial(gaussian, 24, FOUR),
        4,
        ORDINARY | {"gamma": 1.0},
        gamma=1000.0,
        steps=5000,
        seed=26,
    ),
    "plateau-deep": Run(
        "plateau",
        partial(gaussian, 40, (6.0,)),
        1,
        ORDINARY | {"hidden": (64,), "rate": 2e-3},
        hidden=(64,) * 4,
        start=scaled(0.4),
        rate=2.5e-4,
        gamma_rate=4.0,
        seed=27,
    ),
    "plateau-binary": Run(
        "plateau",
        binary,
        2,
        ORDINARY | {"rate": 2e-3},
        likelihood="bernoulli",
        rate=1e-3,
        start=scaled(0.02),
        seed=28,
    ),
    "plateau-moons": Run(
        "plateau",
        partial(moons, 30),
        2,
        ORDINARY | {"gamma": 1.0},
        activation=nn.ReLU,
        gamma=30.0,
        rate=2e-3,
        seed=29,
    ),
    "warmup-digits": Run("warmup", digits, 6, ORDINARY, beta=((0.0, 0.0), (0.5, 1.0)), seed=30),
    "warmup-binary": Run(
        "warmup",
        binary,
        4,
        ORDINARY,
        likelihood="bernoulli",
        activation=nn.ReLU,
        beta=((0.1, 0.0), (0.3, 1.0)),
        seed=31,
    ),
    "cyclical-gaussian": Run(
        "warmup", partial(gaussian, 30, FOUR), 4, ORDINARY, beta=cyclical(4, 0.0, 1.0), seed=32
    ),
    "cyclical-high": Run(
        "warmup",
        standardized,
        4,
        ORDINARY,
        gamma=0.5,
        learned=False,
        beta=(*cyclical(2, 0.5, 30.0)[:-1], (0.76, 1.0)),
        seed=33,
    ),
    "superfluous-gaussian": Run(
        "superfluous",
        partial(gaussian, 32, FOUR[:3]),
        12,
        ORDINARY,
        ("i",),
        activation=nn.ReLU,
        seed=34,
    ),
    "superfluous-moons": Run(
        "superfluous", partial(moons, 24), 8, ORDINARY, ("i",), hidden=(64, 64), seed=35
    ),
    "superfluous-mixture": Run(
        "superfluous",
        partial(mixture, 20, 4, 0.1, MANY),
        8,
        ORDINARY,
        ("i",),
        fading=((0.5, 1.0), (1.0, 0.05)),
        seed=36,
    ),
    "free-digits": Run("free bits", standardized, 6, ORDINARY, free=0.25, seed=37),
    "free-gaussian": Run(
        "free bits", partial(gaussian, 24, FOUR), 8, ORDINARY, activation=nn.ReLU, free=0.1, seed=38
    ),
    "falling-gaussian": Run(
        "gamma or rate falls", partial(gaussian, 20, FOUR, 0.001), 4, ORDINARY, steps=6000, seed=39
    ),
    "falling-rate": Run(
        "gamma or rate falls",
        digits,
        6,
        ORDINARY,
        activation=nn.ReLU,
        gamma=0.01,
        learned=False,
        fading=((0.3, 1.0), (1.0, 0.0)),
        seed=40,
    ),
}
