"""Models with other likelihoods than the Gaussian: made to collapse in known ways, and healthy.

Decoders are affine in the natural parameter; `trained` goes where descent leads from the best that
is known to second order, so that a model's kind is known by beta and by where it starts.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import diagnose, optimize, vae
from vaesurface.diagnose import Collapse

__all__ = [
    "Row",
    "Specimen",
    "counts",
    "diagnosed",
    "exported",
    "few",
    "pixels",
    "specimens",
    "words",
]

DATA = 240
ADAM = optimize.adam(steps=800, learning_rate=0.03)
REQUIRED = ("x", "mean", "log_std", "reconstruction", "beta", "likelihood")
OPTIONAL = ("sampled_reconstruction", "prior_reconstruction")


def _scores(loadings: np.ndarray, seed: int, n: int = DATA) -> np.ndarray:
    """Natural parameters (n, d) of as many factors as there are loadings (factors, d)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, len(loadings))) @ loadings


def _loadings(size: float, factors: int, d: int) -> np.ndarray:
    """Of factors that each have coordinates of their own, with both signs."""
    own = np.repeat(np.eye(factors), -(-d // factors), axis=1)[:, :d]
    return size * own * np.where(np.arange(d) % 2, -1.0, 1.0)


def pixels(size: float = 2.0, factors: int = 2, d: int = 24, seed: int = 0) -> np.ndarray:
    """Zeros and ones (n, d)."""
    u = _scores(_loadings(size, factors, d), seed)
    return (np.random.default_rng(seed + 1).random(u.shape) < 1 / (1 + np.exp(-u))).astype(float)


def grey(d: int = 24, seed: int = 0) -> np.ndarray:
    """Values within (0, 1) that vary far less than zeros and ones of their means."""
    u = _scores(_loadings(0.4, 2, d), seed)
    noise = 0.15 * np.random.default_rng(seed + 1).standard_normal(u.shape)
    return 1 / (1 + np.exp(-u - noise))


def counts(size: float = 0.7, factors: int = 2, d: int = 24, seed: int = 0) -> np.ndarray:
    """Counts (n, d)."""
    rates = np.exp(0.5 + _scores(_loadings(size, factors, d), seed))
    return np.random.default_rng(seed + 1).poisson(rates).astype(float)


def words(size: float = 2.0, groups: int = 12, classes: int = 4, seed: int = 0) -> np.ndarray:
    """One-hot (n, groups, classes), one factor."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((DATA, 1, 1)) * size * rng.standard_normal((groups, classes))
    return np.eye(classes)[(u + rng.gumbel(size=u.shape)).argmax(axis=2)]


def chain(length: int = 12, classes: int = 4, stay: float = 0.85, seed: int = 0) -> Any:
    """Words of a Markov chain (n, length, classes), and the probabilities of each given the one
    before.
    """
    rng = np.random.default_rng(seed)
    state = rng.integers(classes, size=DATA)
    step = np.full((classes, classes), (1 - stay) / (classes - 1))
    np.fill_diagonal(step, stay)
    x, answers = [], []
    for place in range(length):
        probabilities = np.full((DATA, classes), 1 / classes) if place == 0 else step[state]
        state = (probabilities.cumsum(axis=1) > rng.random((DATA, 1))).argmax(axis=1)
        answers.append(probabilities)
        x.append(np.eye(classes)[state])
    return np.stack(x, axis=1), np.stack(answers, axis=1)


@jax.jit
def _trained(problem: Any, start: Any, keep: Any) -> Any:
    def loss(params: Any) -> Any:
        return problem.loss(problem.restrict(params, keep))

    return problem.restrict(ADAM(loss, start).params, keep)


def trained(problem: Any, latents: int | None = None) -> Any:
    """From a random start; of the latents all but the first few are off and stay so."""
    keep = jnp.arange(problem.latent) < (problem.latent if latents is None else latents)
    # As many nodes as deviations of about 1 ask for.
    quick = problem.of_nodes(min(problem.nodes, 8))
    return _trained(quick, problem.init(jax.random.key(1), 0.5), keep)


def exported(problem: Any, params: Any) -> dict[str, Any]:
    """What an .npz with all keys holds."""
    export = diagnose.exported(problem, params)._asdict()
    if problem.likelihood == "categorical":  # as a framework has it, classes last
        shape = problem.data.shape
        for name in ("x", "reconstruction", *OPTIONAL):
            export[name] = export[name].reshape(shape)
    return {name: export[name] for name in (*REQUIRED, *OPTIONAL)}


class Specimen(NamedTuple):
    """A model of known kind.

    name: as the table has it.
    kind: by how it was made.
    arrays: of `diagnose.arrays`, all keys.
    """

    name: str
    kind: Collapse
    arrays: dict[str, Any]


class Row(NamedTuple):
    """What is said of a specimen, with all keys and with the required ones."""

    name: str
    kind: Collapse
    exported: Collapse
    required: Collapse

    @property
    def right(self) -> bool:
        """No word is wrong; undecided is not."""
        return {self.exported, self.required} <= {self.kind, Collapse.UNDECIDED}


def diagnosed(specimen: Specimen) -> Row:
    """Both diagnoses."""
    required = {name: specimen.arrays[name] for name in REQUIRED}
    return Row(
        name=specimen.name,
        kind=specimen.kind,
        exported=diagnose.arrays(**specimen.arrays).kind,
        required=diagnose.arrays(**required).kind,
    )


def specimens() -> list[Specimen]:
    """Of all three likelihoods."""
    made = []
    for likelihood, X, weak, latents in (
        ("bernoulli", pixels(), 16.0, 3),
        ("poisson", counts(), 100.0, 3),
        ("categorical", words(), 12.0, 2),
    ):
        made += _of(likelihood, X, weak, latents)
    return [*made, _gray_pixels(), _own_past(), *_wrongly_exported()]


def few() -> list[Specimen]:
    """Some that need no training, of one shape."""
    X = pixels(d=12)[:120]
    plain = vae.elementwise_vae(X, 3, likelihood="bernoulli")
    heavy = replace(plain, beta=jnp.asarray(16.0))
    smooth = vae.elementwise_vae(grey(d=12)[:120], 3, likelihood="bernoulli")
    made = (
        ("bernoulli, at collapse", Collapse.LOCAL, plain),
        ("bernoulli, beta = 16, at collapse", Collapse.GAMMA, heavy),
        ("bernoulli, grey pixels, at collapse", Collapse.GAMMA, smooth),
    )
    return [
        Specimen(name, kind, exported(problem, problem.collapsed())) for name, kind, problem in made
    ]


def _of(likelihood: str, X: np.ndarray, heavy: float, latents: int) -> list[Specimen]:
    """All that collapses in every likelihood."""
    plain = vae.elementwise_vae(X, latents, likelihood=likelihood)
    factors = 1 if likelihood == "categorical" else 2
    healthy = vae.elementwise_vae(X, factors, likelihood=likelihood)
    weighed = vae.elementwise_vae(X, latents, likelihood=likelihood, beta=heavy)
    return [
        Specimen(f"{likelihood}, trained", Collapse.NONE, exported(healthy, trained(healthy))),
        Specimen(f"{likelihood}, at collapse", Collapse.LOCAL, exported(plain, plain.collapsed())),
        Specimen(
            f"{likelihood}, more latents than factors",
            Collapse.SUPERFLUOUS,
            exported(plain, trained(plain, factors)),
        ),
        Specimen(
            f"{likelihood}, beta = {heavy:g}", Collapse.GAMMA, exported(weighed, trained(weighed))
        ),
    ]


def _gray_pixels() -> Specimen:
    problem = vae.elementwise_vae(grey(), 3, likelihood="bernoulli")
    return Specimen("bernoulli, grey pixels", Collapse.GAMMA, exported(problem, trained(problem)))


def _own_past() -> Specimen:
    x, answers = chain()
    off = np.zeros((DATA, 2))
    arrays = {
        "x": x,
        "mean": off,
        "log_std": off,
        "reconstruction": answers,
        "sampled_reconstruction": answers,
        "prior_reconstruction": answers,
        "beta": 1.0,
        "likelihood": "categorical",
    }
    return Specimen("categorical, sees the word before", Collapse.FLEXIBLE, arrays)


def _wrongly_exported() -> list[Specimen]:
    """Of which nothing is to be said."""
    X = pixels()
    problem = vae.elementwise_vae(X, 3, likelihood="bernoulli")
    healthy = exported(problem, trained(problem, 2))
    order = np.random.default_rng(0).permutation(DATA)
    collapsed = exported(problem, problem.collapsed())
    half = np.full_like(X, 0.9)
    return [
        Specimen(
            "bernoulli, sigma saved as log_std",
            Collapse.UNDECIDED,
            healthy | {"log_std": np.exp(healthy["log_std"])},
        ),
        Specimen("bernoulli, rows shuffled", Collapse.UNDECIDED, healthy | {"x": X[order]}),
        Specimen(
            "bernoulli, collapsed off the mean",
            Collapse.UNDECIDED,
            collapsed | dict.fromkeys(("reconstruction", *OPTIONAL), half),
        ),
        Specimen(
            "bernoulli, beta a hundred times off", Collapse.UNDECIDED, healthy | {"beta": 100.0}
        ),
    ]
