"""The command line's problems are any member of the family, and stores say which."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import activations, data, store, vae
from vaesurface.activations import NAMED
from vaesurface.cli import options
from vaesurface.experiments import member, starts
from vaesurface.vae import family

X = data.antipodal(d=2)
BITS = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]], float)
GRID = {"alpha": [0.0, 0.5], "scale": [1.0], "seeds": 2}


def test_the_papers_member_is_the_default_and_is_not_written_down():
    problem = member.named().problem(X, 1, 0.3, None, 2.0)
    assert type(problem) is vae.ThresholdVAE
    same = vae.threshold_vae(X, 1, 0.3, None, 2.0)
    moved = same.collapsed()._replace(weight=jnp.array([[0.7], [-1.1]]))
    assert float(problem.loss(moved)) == float(same.loss(moved))
    assert member.named().settings == {}
    assert member.named().words == ""
    asked = starts.asked(X, "antipodal", 1, **GRID)
    assert asked.settings.keys() == starts.SETTINGS  # as in stores of earlier versions
    assert member.of_settings(asked.settings) == member.PAPERS


def test_another_member_is_written_down_and_read_again():
    of = member.named("hard-tanh", "negative-binomial", dispersion=2.0)
    assert of.activation is NAMED["hard tanh"]
    told = {"activation": "hard tanh", "likelihood": "negative binomial", "dispersion": 2.0}
    assert of.settings == told
    assert of.words == "hard tanh, negative binomial likelihood, r = 2"
    asked = starts.asked(BITS, "bits", 1, **GRID, of=of)
    assert asked.settings == {
        **starts.asked(BITS, "bits", 1, **GRID).settings,
        **told,
    }
    swept = starts.Sweep(ds=None, X=BITS, settings=json.loads(json.dumps(asked.settings)))
    assert swept.member == of
    problem = swept.problem(0.5)
    assert problem.bend is of.activation
    assert float(problem.noise.dispersion) == 2.0


def test_a_store_of_one_member_is_refused_for_another(tmp_path):
    relu, tanh = (starts.asked(X, "x", 1, **GRID, of=member.named(n)) for n in ("relu", "tanh"))
    store.create(tmp_path / "s", X, **relu.settings)
    store.create(tmp_path / "s", X, **relu.settings)
    with pytest.raises(ValueError, match="activation"):
        store.create(tmp_path / "s", X, **tanh.settings)
    with pytest.raises(ValueError, match="activation"):
        store.create(tmp_path / "s", X, **starts.asked(X, "x", 1, **GRID).settings)


@pytest.mark.parametrize(
    ("of", "rows", "grid", "message"),
    [
        ({"activation": "relu"}, X, {"alpha": [0.0, 1.5]}, "alpha <= 1, got alpha = 1.5"),
        ({"activation": "identity"}, X, {}, "alpha=0 with activation=None"),
        ({"likelihood": "bernoulli"}, X, {}, "in \\[0, 1\\]"),
        ({"likelihood": "poisson"}, X, {}, "X >= 0"),
        ({"likelihood": "categorical", "activation": "tanh"}, X, {}, "one-hot"),
        ({"likelihood": "bernoulli"}, BITS, {"gamma": [1.0, 2.0]}, "no gamma"),
        ({"activation": "exp", "likelihood": "poisson"}, BITS, {}, "energy is finite"),
    ],
)
def test_a_grid_is_refused_before_anything_is_computed(of, rows, grid, message):
    with pytest.raises(ValueError, match=message):
        starts.asked(rows, "x", 1, **{**GRID, **grid}, of=member.named(**of))


def test_help_names_all_members():
    assert all(name in options.ACTIVATION for name in activations.NAMED)
    assert all(name in options.LIKELIHOOD for name in family.LIKELIHOODS)


def test_an_activation_of_the_users_is_named_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "bends.py").write_text("from jax.numpy import arctan as arc\n")
    monkeypatch.chdir(tmp_path)
    of = member.named("bends:arc")
    assert of.settings == {"activation": "bends:arc"}
    assert member.of_settings(of.settings) == of
    says = of.problem(X, 1, 1.0, None, 1.0).activation(jnp.array(1.0))
    assert float(says) == pytest.approx(np.pi / 4, abs=1e-15)
    with pytest.raises(ValueError, match="MODULE:FUNCTION"):
        member.named("bends:nothing")


@pytest.mark.slow
def test_a_sweep_of_another_member_is_told_drawn_and_reported(vaesurface, tmp_path):
    np.save(tmp_path / "bits.npy", BITS)
    rows = f"--data {tmp_path / 'bits.npy'}"
    line = f"{rows} --latent 1 --alpha 0.5 --activation relu --likelihood bernoulli"
    code, out, _ = vaesurface(f"analyze {line} --json")
    assert code == 0
    told = json.loads(out)
    assert told["label"] == "saddle of index 1, collapsed"
    assert "leading form" in told["evidence"]["inertia"]
    small = "--scale 1 --seeds 1 --steps 30 --json"
    code, out, _ = vaesurface(f"sweep {line} {small} --out {tmp_path}/s")
    assert code == 0
    assert "relu, bernoulli likelihood" in json.loads(out)["answer"][0]
    assert "nan" not in out.lower()
    assert vaesurface(f"plot {tmp_path}/s {rows} --out {tmp_path}/figures")[0] == 0
    assert vaesurface(f"report {tmp_path}/s {rows}")[0] == 0
    assert "relu" in (tmp_path / "s" / "report.html").read_text()
