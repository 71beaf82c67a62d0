"""gamma and beta of a loss as it was written: against the loss itself; and the docs' table."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from vaesurface import diagnose

DOCS = Path(__file__).parent.parent / "docs" / "diagnose.md"
SIZES = {"d": 12, "B": 8, "k": 3, "c": 0.7, "w": 4.0, "v": 0.3}


def reduced(terms, reduction):
    """Terms (batch, features or latents) as a framework adds them up."""
    of_data = terms.mean(axis=1) if reduction in ("mean", "featuremean") else terms.sum(axis=1)
    return of_data.mean() if reduction in ("mean", "batchmean") else of_data.sum()


@pytest.mark.parametrize("reduction", ["sum", "mean", "batchmean", "featuremean"])
@pytest.mark.parametrize("kl", ["sum", "mean", "batchmean", "featuremean"])
@pytest.mark.parametrize("name", ["mse", "bce", "gaussian_nll"])
def test_the_loss_as_written_is_the_one_that_is_read(name, reduction, kl):
    # Two losses have the same minima if they are proportional: so of any x, y and KL.
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(3):
        x, y, nats = rng.random((8, 12)), rng.random((8, 12)), rng.random((8, 3))
        terms = {
            "mse": (x - y) ** 2,
            "bce": -x * np.log(y) - (1 - x) * np.log(1 - y),
            "gaussian_nll": 0.5 * ((x - y) ** 2 / 0.3 + math.log(0.3)),
        }[name]
        written = 0.7 * reduced(terms, reduction) + 4.0 * reduced(nats, kl)
        variance = 0.3 if name == "gaussian_nll" else None
        read = diagnose.convention(
            name,
            reduction,
            kl,
            d=12,
            batch=8,
            latent=3,
            weight=0.7,
            kl_weight=4.0,
            variance=variance,
        )
        likelihood = terms / (2 * read.gamma) if name == "mse" else terms
        ratios.append(written / (likelihood.sum() + read.beta * nats.sum()))
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-12)
    assert read.likelihood == ("bernoulli" if name == "bce" else "gaussian")


def test_the_table_of_the_docs_is_made_by_it():
    rows = re.findall(r'^\|[^\n]*\| `("[^`]*)` \| ([^|]*) \| ([^|]*) \|$', DOCS.read_text(), re.M)
    assert len(rows) >= 12
    for call, gamma, beta in rows:
        made = eval(f"convention({call})", {"convention": diagnose.convention, **SIZES})
        expected = eval(f"({gamma}, {beta})", dict(SIZES))
        assert made[:2] == pytest.approx(expected), call


def test_what_is_missing_or_no_likelihood_is_said():
    for options, message in (
        ({"reconstruction": "l1"}, "expected reconstruction as one of .* Laplace"),
        ({"reconstruction": "mine"}, "expected reconstruction as one of"),
        ({"reduction": "avg"}, "expected reduction as one of sum, mean"),
        ({"kl": "none", "d": 4}, "expected kl as one of sum, mean"),
        ({"kl": "batchmean"}, "expected d, got none.*averages over features; give d"),
        ({"d": 4}, "expected batch, got none.*'batchmean'"),
        ({"d": 4, "kl": "mean"}, "expected latent, got none"),
        ({"d": 4.5, "batch": 3}, "expected a whole d >= 1, got 4.5"),
        ({"d": 4, "batch": 0}, "expected a whole batch >= 1, got 0"),
        ({"weight": 0.0}, "expected weight > 0, got 0"),
        ({"kl_weight": -1.0}, "expected kl_weight > 0, got -1"),
        ({"reconstruction": "bce", "reduction": "sum", "variance": 1.0}, "expected no variance"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnose.convention(**options)


def test_another_prior_is_the_standard_one_in_its_own_units():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 1)) * [1.0, 0.5, 2.0] + 0.1 * rng.standard_normal((50, 3))
    mean, log_std = x[:, :1] * [0.4, 0.0], np.tile([-1.0, 0.0], (50, 1))
    arrays = {"x": x, "reconstruction": 0.9 * x, "gamma": 0.02}
    base = diagnose.arrays(**arrays, mean=mean, log_std=log_std)
    priors = (
        (2.0, 3.0),
        (np.array([2.0, -1.0]), np.array([3.0, 0.2])),
        (rng.standard_normal((50, 2)), np.exp(rng.standard_normal((50, 2)))),
    )
    for center, scale in priors:
        moved = diagnose.arrays(
            **arrays,
            mean=center + scale * mean,
            log_std=log_std + np.log(scale),
            prior_mean=center,
            prior_std=scale,
        )
        assert moved.kl == pytest.approx(base.kl, abs=1e-12)
        assert moved.label == base.label
    for options, message in (
        ({"prior_std": 0.0}, "expected prior_std > 0, got 0"),
        ({"prior_mean": np.zeros(3)}, r"expected prior_mean of shape \(\), \(2,\) or \(50, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnose.arrays(**arrays, mean=mean, log_std=log_std, **options)


def test_a_file_may_name_its_prior(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    arrays = {"x": x, "reconstruction": 0 * x, "gamma": 1.0}
    mean, log_std = np.full((30, 1), 2.0), np.full((30, 1), math.log(3.0))
    np.savez(
        tmp_path / "a.npz", **arrays, mean=mean, log_std=log_std, prior_mean=2.0, prior_std=3.0
    )
    assert diagnose.load(tmp_path / "a.npz").kl == pytest.approx([0.0], abs=1e-15)
