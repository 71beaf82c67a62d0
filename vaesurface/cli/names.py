"""Which names does an option take, and how does a shell complete them?

They stand here so that completing a line loads nothing heavy; where a name has spaces hyphens may
stand for them, as a shell would rather have it.

>>> among(["digits", "digits-4x4", "mnist"])("dig")
['digits', 'digits-4x4']
>>> among(["negative binomial"])("")
['negative-binomial']
"""

from collections.abc import Callable, Iterable

__all__ = [
    "ACTIVATIONS",
    "FETCHED",
    "LIKELIHOODS",
    "MOVING",
    "OPTIMIZERS",
    "POSTERIORS",
    "SHIPPED",
    "among",
]

SHIPPED = ("digits", "digits-4x4", "patches", "patches-32x32", "antipodal")
FETCHED = ("mnist", "fashion-mnist", "cifar-10", "svhn")
ACTIVATIONS = (
    "identity",
    "soft threshold",
    "hard tanh",
    "relu",
    "abs",
    "erf",
    "sin",
    "exp",
    "cubic",
    "tanh",
    "softplus",
)
LIKELIHOODS = (
    "gaussian",
    "gaussian per feature",
    "bernoulli",
    "poisson",
    "negative binomial",
    "categorical",
)
POSTERIORS = ("diagonal", "full", "low-rank-1", "amortized")
MOVING = ("alpha", "gamma", "beta")
OPTIMIZERS = ("adam", "gradient-descent", "lbfgs")


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What typer calls with the beginning of a name: the names that begin so. Where none does a
    shell goes on to files.
    """
    known = [name.replace(" ", "-") for name in names]

    def begun(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return begun
