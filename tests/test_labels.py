"""Datasets say what their variables are; several open as one tree; cells go into a flat table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
import xarray as xr

from vaesurface import data, energy, stationary, store, sweep, vae
from vaesurface.problem import Problem
from vaesurface.store import flat, meaning

X = data.antipodal(d=2)
AXES = {"alpha": [0.0, 0.5], "seed": [0, 1]}
SETTINGS = {"source": "antipodal", "optimizer": "Adam"}


def end(alpha, seed, latent=1):
    """A point as a sweep finds it, without the time that finding takes."""
    problem = vae.threshold_vae(X, latent=latent, alpha=alpha)
    point = stationary.analyze(problem, problem.collapsed(), directions=0)
    return point._replace(descent=None, active=jnp.arange(latent) < seed)


@pytest.fixture(scope="module")
def ends():
    return sweep.grid(end, alpha=AXES["alpha"], seed=AXES["seed"])


@pytest.fixture(scope="module")
def study(ends, tmp_path_factory):
    """A directory of two stores, one of them without its last cell, and an empty one."""
    place = tmp_path_factory.mktemp("above") / "study"
    axes = store.canonical(AXES)
    cells = store.columns(axes)
    flat_ends = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(4, *leaf.shape[2:]), ends)
    for latent in (10, 2):
        results = jax.tree.map(np.copy, flat_ends)
        made = store.create(place / f"latent={latent}", X, latent=latent, **SETTINGS)
        made.recall(axes, cells, results)
        count = 4 if latent == 2 else 3
        rows = np.arange(count)
        made.add(store.at(axes, rows), jax.tree.map(lambda leaf, n=count: leaf[:n], flat_ends))
        made.name(feature=["width", "height"])
    store.create(place / "later", X, latent=3, **SETTINGS)
    return place


def test_every_variable_says_what_it_is_and_in_which_units(study):
    ds = store.open(study / "latent=2")
    for name, variable in ds.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"], name
    assert ds.loss.attrs == {"long_name": "energy", "units": "twice nats per datum"}
    assert ds.inertia_negative.attrs["units"] == "1"
    assert ds.alpha.attrs["long_name"] == "threshold of the decoder"
    assert ds.kind.attrs["flag_meanings"].split()[2] == "saddle"
    assert ds.sel(alpha=0.5).loss.attrs["units"] == "twice nats per datum"
    assert store.open(study / "latent=2").load().loss.attrs == ds.loss.attrs


def test_verdicts_come_first_and_parameters_last(study, ends):
    for ds in (store.open(study / "latent=2"), store.dataset(ends, **AXES)):
        names = list(ds)
        assert names[:4] == ["label", "kind", "loss", "grad_norm"]
        assert names.index("inertia_flat") < names.index("active") < names.index("theory_radius")
        known = [name for name in names if name.startswith("theory_")]
        assert names[names.index("active") + 1 :][: len(known)] == known
        last = [name for name in names if name.startswith("params_")]
        assert len(last) == 5 and names[-5:] == last
        assert "computed" in names
    assert store.open(study / "latent=2").feature.size == 2


def test_all_that_a_verdict_may_hold_has_a_meaning():
    fields = {*stationary.StationaryPoint._fields, *energy.CorrelatedParams._fields}
    own = {"inertia", "wide", "theory", "probe", "search", "refinement", "kink", "ties"}
    known = {
        name.partition("_")[2] if name.startswith("params_") else name for name in meaning.RESULTS
    }
    assert fields - own - known == {"params", "descent"}
    for name, part in stationary.StationaryPoint.__annotations__.items():
        kinds = [kind for kind in getattr(part, "__args__", (part,)) if hasattr(kind, "_fields")]
        for kind in kinds if name in own else []:
            held = {f"{name}_{field}" for field in kind._fields}
            trees = {
                f"{name}_{tree}" for tree in ("params", "descent", "displacement", "directions")
            }
            assert held - meaning.RESULTS.keys() <= trees, name


def test_a_function_of_ones_own_keeps_its_names_and_gets_no_units(ends):
    ds = store.dataset({"loss": np.ones(2), "speed": np.ones(2)}, gamma=[1.0, 2.0])
    assert ds.loss.attrs == {"long_name": "loss"}
    assert ds.speed.attrs == {"long_name": "speed"}
    assert ds.gamma.attrs == {"long_name": "gamma"}
    memory = store.dataset(ends, **AXES)
    assert memory.loss.attrs["units"] == "twice nats per datum"
    assert memory.alpha.attrs == {"long_name": "alpha"}


def test_energies_of_a_loss_of_ones_own_are_in_its_own_units():
    point = stationary.analyze(Problem(loss=lambda w: jnp.sum(w**2)), jnp.zeros(2))
    ds = store.dataset(jax.tree.map(lambda leaf: np.asarray(leaf)[None], point), a=[1.0])
    assert ds.loss.attrs == {"long_name": "energy"}
    assert ds.inertia_positive.attrs["units"] == "1"


def test_names_of_features_are_a_coordinate(study):
    ds = store.open(study / "latent=2")
    assert ds.feature.values.tolist() == ["width", "height"]
    assert ds.params_weight.sel(feature="height").dims == ("alpha", "seed", "latent")
    assert ds.params_bias.sizes["feature"] == 2
    there = store.create(study / "latent=2", X, latent=2, **SETTINGS)  # no other sweep than before
    there.name(feature=None)
    assert "feature" in store.open(study / "latent=2").coords
    there.name(feature=["only one"])
    assert "feature" not in store.open(study / "latent=2").coords
    there.name(feature=["width", "height"])


def test_a_record_with_names_that_are_none_is_damaged(study, tmp_path):
    made = store.create(tmp_path / "s", X, latent=2, **SETTINGS)
    file = made.path / "store.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"names": {"feature": 3}}))
    with pytest.raises(ValueError, match=r"expected a whole store.json, got .* damaged"):
        store.open(made.path)


def test_a_directory_of_stores_is_one_tree(study):
    tree = store.open_tree(study)
    assert list(tree.children) == ["latent=2", "latent=10"]
    xr.testing.assert_identical(tree["latent=2"].to_dataset(), store.open(study / "latent=2"))
    assert tree["latent=10"].loss.variable._in_memory is False
    assert int(tree["latent=10"].computed.sum()) == 3
    one = store.open_tree(study / "latent=2")
    assert not one.children and one.loss.shape == (2, 2)
    assert store.open_tree(study.parent)["study/latent=2"].loss.shape == (2, 2)


def test_a_table_has_a_row_for_each_computed_cell(study):
    ds = store.open(study / "latent=10")
    frame = store.table(ds)
    assert list(frame)[:7] == [
        "alpha",
        "seed",
        "label",
        "kind",
        "loss",
        "grad_norm",
        "inertia_negative",
    ]
    assert frame[["alpha", "seed"]].values.tolist() == [[0.0, 0], [0.0, 1], [0.5, 0]]
    assert frame.kind.tolist() == ["saddle", "saddle", "minimum"]
    assert frame.active.tolist() == [0, 1, 0]
    assert frame.label.tolist() == ds.label.values.ravel()[:3].tolist()
    assert not [name for name in frame if name.startswith("params") and name != "params_log_gamma"]


def test_a_tree_is_one_table_with_its_settings_as_columns(study):
    frame = store.table(store.open_tree(study))
    assert frame.latent.tolist() == [2] * 4 + [10] * 3
    assert list(frame)[:3] == ["latent", "alpha", "seed"]


def test_csv_holds_every_digit(study, tmp_path):
    ds = store.open(study / "latent=2")
    store.save(ds, tmp_path / "cells.csv")
    again = pandas.read_csv(tmp_path / "cells.csv")
    assert again.loss.tolist() == ds.loss.values.ravel().tolist()
    assert again.label.tolist() == ds.label.values.ravel().tolist()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_attributes_and_names_outlive_a_file(study, tmp_path, suffix):
    ds = store.open(study / "latent=2")
    store.save(ds, tmp_path / f"points{suffix}")
    opened = (
        xr.open_dataset(tmp_path / "points.nc")
        if suffix == ".nc"
        else xr.open_zarr(tmp_path / "points.zarr")
    )
    with opened:
        assert opened.loss.attrs == ds.loss.attrs
        assert opened.alpha.attrs == ds.alpha.attrs
        assert opened.feature.values.tolist() == ["width", "height"]
        xr.testing.assert_equal(opened.loss, ds.loss)


def test_parquet_says_what_to_install(study, tmp_path, monkeypatch):
    monkeypatch.setattr(flat, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"expected pyarrow, which writes .parquet, got none .*pip"
    ):
        store.save(store.open(study / "latent=2"), tmp_path / "cells.parquet")
    assert not list(tmp_path.iterdir())


def test_parquet_is_written_where_it_can_be(study, tmp_path):
    pytest.importorskip("pyarrow")
    store.save(store.open(study / "latent=2"), tmp_path / "cells.parquet")
    assert len(pandas.read_parquet(tmp_path / "cells.parquet")) == 4
