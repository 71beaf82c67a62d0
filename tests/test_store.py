"""Results come back as they were, labelled; what does not belong is refused; no file is half."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from vaesurface import data, stationary, store, sweep, vae
from vaesurface.store import record
from vaesurface.sweep import filling

KEYS = jax.random.split(jax.random.key(3), 3)
X = data.antipodal(d=2)
HYPER: Any = {"alpha": [0.5, 0.0], "beta": [1.0, 100.0]}
CONFIG = {"latent": 2, "gamma": None, "optimizer": "Adam", "learned": True, "rate": 0.1}


class Result(NamedTuple):
    params: dict
    number: jax.Array
    good: jax.Array
    nothing: None = None


def cheap(alpha, key):
    weight = jax.random.normal(key, (2, 3)) * alpha
    odd = jnp.where(alpha > 0.4, jnp.nan, jnp.inf)
    return Result(
        {"weight": weight, "bias": weight[:, 0], "odd": odd}, (8 * alpha).astype(int), alpha > 0
    )


def collapsed(alpha, beta):
    problem = vae.threshold_vae(X, latent=1, alpha=alpha, beta=beta)
    return stationary.analyze(problem, problem.collapsed())


def files(path):
    """Every file below, with its content: what must not change when something is refused."""
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


def forget(file, *names):
    """A chunk as older versions wrote it: without what it says of itself, and without `names`."""
    with np.load(file) as chunk:
        arrays = {name: a for name, a in chunk.items() if name not in ("about", *names)}
    np.savez(file, allow_pickle=False, **arrays)


@pytest.fixture(scope="module", autouse=True)
def a_chunk_a_block():
    """Blocks that are finished within a second make one chunk otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "EVERY", 0.0)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    made = store.create(tmp_path_factory.mktemp("store"), X, **CONFIG)
    return made, sweep.grid(cheap, alpha=[0.5, 0.25], key=KEYS, store=made, batch_size=3)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged")
    return path, sweep.grid(collapsed, store=path, batch_size=1, **HYPER)


@pytest.fixture
def kept(original, tmp_path):
    """A store with two chunks, one per alpha, and its only grid's result."""
    return store.Store(shutil.copytree(original[0].path, tmp_path / "kept")), original[1]


@pytest.fixture
def verdicts(judged, tmp_path):
    """A store with four chunks of stationary points, and its grid's result."""
    return shutil.copytree(judged[0], tmp_path / "verdicts"), judged[1]


def test_a_dataset_has_the_sweeps_axes_in_order(kept):
    ds, result = store.open(kept[0].path), kept[1]
    keys = np.asarray(jax.random.key_data(KEYS))
    order = np.lexsort(keys.T[::-1])
    assert ds.alpha.values.tolist() == [0.25, 0.5]
    assert ds.key.values.tolist() == [keys[i].astype(">u4").tobytes().hex() for i in order]
    assert {name: v.dims for name, v in ds.data_vars.items()} == {
        "params_weight": ("alpha", "key", "feature", "latent"),
        "params_bias": ("alpha", "key", "feature"),
        "params_odd": ("alpha", "key"),
        "number": ("alpha", "key"),
        "good": ("alpha", "key"),
        "computed": ("alpha", "key"),
    }
    np.testing.assert_array_equal(ds.params_weight.values, result.params["weight"][::-1][:, order])
    np.testing.assert_array_equal(ds.params_odd.values, result.params["odd"][::-1])
    assert ds.number.dtype == np.int64 and ds.good.dtype == bool and ds.computed.values.all()


def test_a_dataset_needs_no_store(kept):
    direct = store.dataset(kept[1], alpha=[0.5, 0.25], key=KEYS)
    xr.testing.assert_equal(direct, store.open(kept[0].path))


def test_what_was_not_computed_is_no_value(kept):
    sweep.grid(cheap, alpha=[1.0], key=KEYS[:1], store=kept[0])
    ds = store.open(kept[0].path)
    gone = ~ds.computed
    assert ds.sizes["alpha"] == 3 and gone.values.sum() == 2
    assert not gone.sel(alpha=[0.25, 0.5]).any()
    assert np.isnan(ds.params_weight.values[gone]).all() and not ds.number.values[gone].any()
    assert np.isinf(ds.params_odd.sel(alpha=0.25)).all()
    key = ds.key[ds.computed.sel(alpha=1.0)].values
    there = ds.where(ds.computed, drop=True).sel(alpha=1.0, key=key)
    assert there.number.item() == 8 and np.isnan(there.params_odd.item())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_saved_dataset_comes_back_identical(kept, tmp_path, suffix):
    sweep.grid(cheap, alpha=[1.0], key=KEYS[:1], store=kept[0])
    ds = store.open(kept[0].path)
    ds["label"] = ds.computed.dims, np.where(ds.computed, "saddle of index 1, γ", "not computed")
    file = tmp_path / f"results{suffix}"
    for expected in (ds.isel(alpha=[0]), ds):  # the second replaces the first
        store.save(expected, file)
        with xr.open_dataset(file, engine="zarr" if suffix == ".zarr" else "h5netcdf") as back:
            xr.testing.assert_identical(back.load(), expected)
            assert {n: v.dtype for n, v in back.items()} == {
                n: v.dtype for n, v in expected.items()
            }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", file.name]


def test_verdicts_are_read_as_words(verdicts):
    path, points = verdicts
    whole = store.open(path)
    np.testing.assert_array_equal(whole.label, points.label[::-1])
    xr.testing.assert_equal(whole, store.dataset(points, **HYPER))
    next((path / "chunks").iterdir()).unlink()
    ds = store.open(path)
    assert (ds.label == "not computed").sum() == 1
    np.testing.assert_array_equal(ds.label, whole.label.where(ds.computed, "not computed"))
    assert whole.label.sel(alpha=0.5, beta=1.0) == "collapsed local minimum"
    assert ds.params_mean.dims == ("alpha", "beta", "datum", "latent") and ds.active.dims[2:] == (
        "latent",
    )
    assert ds.theory_radius.dims == ds.inertia_negative.dims == ("alpha", "beta")


def test_verdicts_kept_without_words_are_read_with_their_type(verdicts):
    path, _ = verdicts
    whole = store.open(path).load()
    # As it was when stores kept no words: even one chunk without them leaves `open` without.
    forget(next((path / "chunks").iterdir()), "label")
    xr.testing.assert_equal(store.open(path), whole.drop_vars("label"))
    xr.testing.assert_equal(store.open(path, stationary.StationaryPoint), whole)


def test_results_of_another_type_have_no_words(kept):
    assert "label" not in store.open(kept[0].path, stationary.StationaryPoint)


def test_dimensions_of_ones_own_never_clash():
    leaves = {
        "params": {"weight": np.ones((2, 2, 3)), "mean": np.ones((2, 5, 4))},
        "other": np.ones((2, 4, 7)),
    }
    ds = store.dataset(leaves, feature=[1, 2])
    assert ds.params_mean.dims == ("feature", "datum", "latent")
    assert ds.params_weight.dims == ("feature", "params_weight_0", "params_weight_1")
    assert ds.other.dims == ("feature", "other_0", "other_1")
    assert list(store.dataset(np.ones(2), alpha=[1, 2])) == ["value", "computed"]


def test_provenance_travels_with_the_results(kept):
    attrs = store.open(kept[0].path).attrs
    assert json.loads(attrs["config"]) == CONFIG
    assert attrs["data"] == data.digest(X) and attrs["dtype"] == "float64"
    assert attrs["jax"] == jax.__version__ and attrs["device"] == jax.devices()[0].device_kind


def test_other_versions_are_noted(kept, monkeypatch):
    monkeypatch.setattr("vaesurface.provenance.version", lambda name: "99.9")
    sweep.grid(cheap, alpha=[1.0], key=KEYS, store=store.create(kept[0].path, X, **CONFIG))
    assert set(store.open(kept[0].path).attrs["numpy"].split(", ")) == {np.__version__, "99.9"}


def test_more_than_one_instruction_set_is_said(kept, monkeypatch):
    before = store.open(kept[0].path).attrs["instructions"]
    monkeypatch.setattr("vaesurface.provenance.instructions", lambda: "z80 undocumented")
    sweep.grid(cheap, alpha=[1.0], key=KEYS, store=kept[0])
    with pytest.warns(UserWarning, match="more than one instruction set .*z80 undocumented"):
        ds = store.open(kept[0].path)
    assert set(ds.attrs["instructions"].split(", ")) == {before, "z80 undocumented"}


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path):
    def write(start):
        return sweep.grid(
            cheap,
            alpha=np.arange(start, start + 4.0),
            key=KEYS,
            store=tmp_path / "new",
            batch_size=2,
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda start: jax.enable_x64(True)(write)(start), [0, 2, 4, 2]))
    ds = store.open(tmp_path / "new")
    assert ds.computed.values.all() and ds.number.isel(key=0).values.tolist() == [
        8 * a for a in range(8)
    ]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_store_that_another_makes_at_that_moment_is_no_reason_to_refuse(tmp_path, monkeypatch):
    listed = type(tmp_path).iterdir

    def meanwhile(folder):
        monkeypatch.undo()
        store.create(folder, latent=1)
        return listed(folder)

    monkeypatch.setattr(type(tmp_path), "iterdir", meanwhile)
    assert store.create(tmp_path, latent=1).path == tmp_path


def test_an_axis_may_be_called_like_a_results_dimension(tmp_path):
    points = sweep.grid(
        lambda value_0: jnp.ones(3) * value_0, store=tmp_path / "s", value_0=[1.0, 2.0]
    )
    for ds in (store.dataset(points, value_0=[1.0, 2.0]), store.open(tmp_path / "s")):
        assert dict(ds.value.sizes) == {"value_0": 2, "value_0_": 3}


def test_results_of_no_size_have_names_too():
    points = sweep.grid(lambda a: {"empty": jnp.zeros((0, 2)) * a}, a=[1.0, 2.0])
    assert store.dataset(points, a=[1.0, 2.0]).empty.shape == (2, 0, 2)


def test_importing_the_store_loads_no_xarray():
    heavy = "{'xarray', 'zarr', 'h5netcdf'} & set(sys.modules)"
    code = f"import sys, vaesurface.store; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_what_only_posix_has_every_module_loads_and_stores_are_made(tmp_path):
    code = """if True:
        import importlib, pkgutil, sys
        import psutil  # which takes what its system has
        for name in ("fcntl", "grp", "pwd", "resource", "termios"):
            sys.modules[name] = None
        import vaesurface
        for module in pkgutil.iter_modules(vaesurface.__path__):
            importlib.import_module(f"vaesurface.{module.name}")
        vaesurface.store.create(sys.argv[1])
    """
    subprocess.run([sys.executable, "-c", code, tmp_path / "store"], check=True)
    assert (tmp_path / "store" / "store.json").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda path: store.create(path, X, **CONFIG | {"latent": 3}),
            "got config latent 2 there and 3 here; choose",
        ),
        (
            lambda path: store.create(path, X),
            "got config gamma None there and absent here, config latent 2 there",
        ),
        (
            lambda path: store.create(path, X + 1, **CONFIG),
            "got data [0-9a-f]{64} there and [0-9a-f]{64} here; ",
        ),
        (lambda path: store.create(path, **CONFIG), "got data [0-9a-f]{64} there and None here; "),
        (
            lambda path: jax.enable_x64(False)(store.create)(path, X, **CONFIG),
            "got dtype float64 there and float32 here",
        ),
        (
            lambda path: store.create(path, X, **CONFIG, fn=len),
            "expected a JSON scalar for fn, got <.*>; pass a name",
        ),
        (
            lambda path: store.create(path, X, rate=np.inf),
            "expected a JSON scalar for rate, got inf; pass",
        ),
        (
            lambda path: store.create(path / "chunks"),
            "expected a store or an empty directory, got .* with .*npz; name",
        ),
        (
            lambda path: store.create(path / "store.json"),
            "expected a directory for the store, got the file .*; name",
        ),
        (
            lambda path: store.open(path / "chunks"),
            "expected a store, got .*chunks without store.json; name",
        ),
        (
            lambda path: store.open(path / "nowhere"),
            "expected a store, got .*nowhere without store.json; name",
        ),
        (
            lambda path: store.save(xr.Dataset(), path / "a.xlsx"),
            "expected a path that ends in .nc, .zarr, .csv or .parquet, got 'a.xlsx'",
        ),
        (
            lambda path: store.save(xr.Dataset(), path / "a.csv"),
            "expected a dataset of cells, got one without 'computed'",
        ),
        (
            lambda path: store.open_tree(path / "chunks"),
            "expected stores with results, got .*chunks without; name",
        ),
    ],
)
def test_what_does_not_belong_is_refused(kept, change, complaint):
    before = files(kept[0].path)
    with pytest.raises(ValueError, match=complaint):
        change(kept[0].path)
    assert files(kept[0].path) == before


@pytest.mark.parametrize(
    ("fn", "axes", "complaint"),
    [
        (
            cheap,
            {"alpha": [1], "key": KEYS},
            "got axes alpha float64 there and int64 here; choose another directory",
        ),
        (
            lambda alpha: cheap(alpha, KEYS[0]),
            {"alpha": [1.0]},
            "got axes key keys of threefry2x32 there and absent here",
        ),
        (
            lambda alpha, key: alpha,
            {"alpha": [1.0], "key": KEYS},
            "leaves value absent there and .*'float64'. here; ",
        ),
        (
            lambda alpha, key: {"key": alpha},
            {"alpha": [1.0], "key": KEYS},
            "distinct names, got key twice; rename",
        ),
        (
            lambda alpha: {"label": alpha},
            {"alpha": [1.0]},
            "distinct names, got label twice; rename",
        ),
        (
            lambda alpha: {"a": {"b": alpha}, "a_b": 1.0},
            {"alpha": [1.0]},
            "distinct names, got a_b twice; rename",
        ),
    ],
)
def test_the_results_of_another_sweep_are_refused(kept, fn, axes, complaint):
    before = files(kept[0].path)
    with pytest.raises(ValueError, match=complaint):
        sweep.grid(fn, store=kept[0], **axes)
    assert files(kept[0].path) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-100],
        lambda whole: whole[: len(whole) // 3],
        lambda whole: b"",
        lambda whole: b"\x93NUMPY" + whole,
        lambda whole: whole.replace(np.float64(0.25).tobytes(), np.float64(0.5).tobytes()),
        lambda whole: whole.replace(b"leaf_number", b"leaf_rebmun"),
    ],
)
def test_a_damaged_chunk_is_named_and_computed_again_once_deleted(kept, damage):
    file = max(
        (kept[0].path / "chunks").iterdir(),
        key=lambda p: np.float64(0.25).tobytes() in p.read_bytes(),
    )
    file.write_bytes(damage(file.read_bytes()))
    before = files(kept[0].path)
    again = {"fn": cheap, "alpha": [0.5, 0.25], "key": KEYS, "store": kept[0]}
    complaint = rf"expected a whole chunk, got .*{file.name} damaged; delete it"
    for use in (lambda: store.open(kept[0].path), lambda: sweep.grid(**again)):
        with pytest.raises(ValueError, match=complaint):
            use()
    assert files(kept[0].path) == before
    file.unlink()
    assert sweep.grid(**again).number.tobytes() == kept[1].number.tobytes()
    assert store.open(kept[0].path).computed.values.all()


@pytest.mark.parametrize("content", ['{"format": 1, "conf', "[]", '{"format": 3}', None])
def test_a_store_is_repaired_from_its_chunks(kept, content):
    file = kept[0].path / "store.json"
    whole, sweep_there = store.open(kept[0].path), record.sweep(record.read(kept[0].path))
    file.unlink() if content is None else file.write_text(content)
    before = files(kept[0].path)
    xr.testing.assert_identical(store.open(kept[0].path), whole)
    assert files(kept[0].path) == before
    with pytest.raises(ValueError, match="got config latent 2 there and 3 here"):
        store.create(kept[0].path, X, **CONFIG | {"latent": 3})
    store.create(kept[0].path, X, **CONFIG)
    assert record.sweep(json.loads(file.read_text())) == sweep_there


def test_a_store_of_old_chunks_only_cannot_be_repaired(kept):
    for file in (kept[0].path / "chunks").iterdir():
        forget(file)
    (kept[0].path / "store.json").write_text("{")
    before = files(kept[0].path)
    for use in (store.open, lambda path: store.create(path, X, **CONFIG)):
        with pytest.raises(ValueError, match=r"expected a whole store.json, got .*; restore it"):
            use(kept[0].path)
    assert files(kept[0].path) == before


def test_a_store_of_a_newer_format_is_named(kept):
    (kept[0].path / "store.json").write_text('{"format": 99}')
    before = files(kept[0].path)
    complaint = "expected format 3, got 99 in .*; read it with the vaesurface that wrote it"
    for use in (store.open, lambda path: store.create(path, X, **CONFIG)):
        with pytest.raises(ValueError, match=complaint):
            use(kept[0].path)
    assert files(kept[0].path) == before


def test_a_store_without_results_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"expected a store with results, got .* without; let"):
        store.open(store.create(tmp_path).path)


@pytest.mark.parametrize(("axes", "got"), [({"alpha": [1, 2]}, r"\(3, 2\)"), ({}, "none")])
def test_axes_that_do_not_fit_are_refused(axes, got):
    with pytest.raises(ValueError, match=rf"expected .*, got .*{got}"):
        store.dataset({"a": np.ones((3, 2))}, **axes)


def test_only_results_are_replaced_and_only_when_complete(tmp_path):
    ds = store.dataset(np.ones(2), alpha=[1, 2])
    for name, engine in (("a.nc", "h5netcdf"), ("a.zarr", "zarr")):
        store.save(ds, tmp_path / name)
        broken = ds.assign(bad=("alpha", np.array([object(), object()])))
        with pytest.raises((TypeError, ValueError), match="object"):
            store.save(broken, tmp_path / name)
        with xr.open_dataset(tmp_path / name, engine=engine) as back:
            xr.testing.assert_identical(back.load(), ds)
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "thesis.tex").touch()
    (tmp_path / "b.nc").mkdir()
    complaint = "expected a .* to replace, got something else at .*; name another place"
    for name in ("b.zarr", "b.nc"):
        with pytest.raises(ValueError, match=complaint):
            store.save(ds, tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nc", "a.zarr", "b.nc", "b.zarr"]
