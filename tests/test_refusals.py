"""Every option of every verb refuses what it can refuse before anything is loaded or computed."""

import inspect
import os
import typing

import pytest

from vaesurface import cli, data
from vaesurface.cli import options, values

FLOATS = ("nan", "inf", "-inf", "1e300", "-1e300", "1e400", "-1", "-1e-9", "x", "")
INTEGERS = ("-1", "1000000000000000000", "1" + "0" * 400, "1.5", "nan", "1e3", "x", "")
BAD = {float: FLOATS, int: INTEGERS, str: ("",), list[str]: ("",)}
# Its options are checked where they are gathered from the command line and a file.
GATHERED = {"sweep"}


def refusals():
    """Verb, option and a value that it cannot have."""
    for command in cli.app.registered_commands:
        verb = command.name or command.callback.__name__
        parameters = inspect.signature(command.callback).parameters.values()
        for kind, option in (typing.get_args(parameter.annotation) for parameter in parameters):
            bad = next((bad for known, bad in BAD.items() if kind in (known, known | None)), ())
            name = str(option.default)  # where typer keeps the first name that it was told
            if name.startswith("--") and verb not in GATHERED:
                yield from ((verb, name, value) for value in bad)


CASES = list(refusals())


def test_all_kinds_of_options_are_met():
    met = {(verb, name) for verb, name, _ in CASES}
    known = {("analyze", "--alpha"), ("certify", "--radius"), ("basin", "--steps")}
    assert known | {("reproduce", "--seeds"), ("follow", "--to"), ("demo", "--data")} <= met
    assert len(met) > 60


@pytest.fixture
def idle(monkeypatch):
    """Nothing is loaded, and so nothing computed."""

    def loaded(*_):
        raise AssertionError("something was loaded")

    for module in (options, cli.geometry, cli.points, cli.reproduce, cli.sweeps):
        for name in ("load", "float64", "make_problem"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, loaded)


@pytest.mark.parametrize(("verb", "name", "value"), CASES)
def test_a_value_out_of_range_is_one_line_that_names_the_option(
    run_arguments, idle, tmp_path, verb, name, value
):
    arguments = [verb, *given(verb, tmp_path), f"{name}={value}"]
    code, out, err = run_arguments(arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("vaesurface: ") and name in err
    assert [*tmp_path.iterdir()] == [tmp_path / "there"]


def given(verb, tmp_path):
    """What a verb has to be told, and where its results go."""
    there = tmp_path / "there"
    there.write_text("")
    positional = {"reproduce": "fig1-left", "diagnose": there, "verify": there}
    for name in ("slice", "plot", "report"):
        positional[name] = tmp_path
    return [str(positional[verb])] if verb in positional else []


COMBINATIONS = {
    "analyze --seed 1 --point {there}": "both; drop one",
    "analyze --starts 2 --point {there}": "both; drop one",
    "analyze --refine": "expected --refine with the --point",
    "analyze --refine --seed 1": "expected --refine with the --point",
    "analyze --point {new}": "expected a file for --point",
    "analyze --point {folder}": "got the folder",
    "analyze --out {folder}/new.txt": "expected --out as a directory or a file that ends in .npz",
    "census --out {folder}/new.json": "a file that ends in .csv, got",
    "certify --out {folder}/new.npz": "a file that ends in .json, got",
    "report {folder} --out {folder}/new.png": "a file that ends in .html, got",
    "plot {folder} --out {folder}/new.png": "expected --out as a directory, for several files",
    "path --out {folder}/new.json": "which is a name of a file; leave out .json",
    "certify --out {device}": "which may not be written over",
    "certify --out {there}/new.json": "expected a place that can be written to",
    "certify --out {folder}/{long}": "expected a place that can be written to",
    "certify --out {folder}/{long}/new.json": "expected a place that can be written to",
    "path --out {folder}/{long}": "expected a place that can be written to",
    "certify --unbounded --radius 0.1": "got --radius too",
    "certify --unbounded --index 1": "got --index too",
    "certify --unbounded --seed 1": "got --seed too",
    "certify --unbounded --gamma 1": "got --gamma too",
    "verify {new}": "expected a file for FILE",
    "verify {folder}": "got the folder",
    "path --alpha 0": "expected --alpha > 0",
    "path --out {there}": "expected a directory",
    "follow --to 0.1": "expected --to other than 0.1",
    "follow --to -1": "expected --to >= 0",
    "follow --parameter beta --to 0": "expected --to > 0",
    "follow --parameter gamma --gamma 1 --to -1": "expected --to > 0",
    "follow --parameter gamma": "expected --gamma, where gamma moves from",
    "follow --parameter delta": "out of alpha, gamma, beta",
    "follow --values 1": "--values >= 2",
    "follow --boundary gamma --between 1,2": "expected --gamma, where gamma moves from",
    "follow --boundary delta": "expected --boundary out of alpha, gamma, beta",
    "follow --boundary alpha --between 0,1": "expected --boundary other than --parameter alpha",
    "follow --boundary beta": "at least one number for --between",
    "follow --boundary beta --between 1": "expected two different values as --between, got 1",
    "follow --boundary beta --between 2,3": "expected --between on both sides of --beta 1",
    "follow --boundary beta --between 0,3": "expected --between > 0",
    "follow --between 1,2": "expected --boundary beside --between, got none",
    "basin --alpha 0.1,0": "expected --alpha > 0, got 0",
    "basin --alpha 0.1,nan": "expected --alpha as a finite number, got nan",
    "basin --alpha ,": "at least one number",
    "basin --alpha 0.1,0.1": "different numbers for --alpha, got 0.1 twice",
    "basin --alpha 0.1;0.2": "write them with commas",
    "reproduce fig9": "expected one of fig1-left",
    "reproduce prop41 --steps 9": "expected none of --data, --limit, --steps",
    "reproduce fig1-left --data digits --data digits": "name each once",
}


@pytest.mark.parametrize("line", COMBINATIONS)
def test_what_does_not_fit_together_is_refused(run_arguments, idle, tmp_path, line):
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").write_text("")
    names = {name: tmp_path / name for name in ("folder", "there", "new")}
    names |= {"device": os.devnull, "long": "x" * 240}
    code, out, err = run_arguments([part.format(**names) for part in line.split()])
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert COMBINATIONS[line] in err
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "folder", tmp_path / "there"]


def test_all_data_are_read_before_the_first_are_trained_on(run_arguments, tmp_path):
    missing, out = tmp_path / "missing.npy", tmp_path / "out"
    line = f"reproduce fig1-left --data antipodal --data {missing} --out {out}"
    code, _, err = run_arguments(line.split())
    assert (code, err.count("\n")) == (2, 1)
    assert "missing.npy" in err and not out.exists()


@pytest.mark.parametrize("latent", [0, 3, 10**6])
@pytest.mark.parametrize("verb", ["analyze", "certify", "census", "path", "follow", "basin"])
def test_latents_are_no_more_than_features(run_arguments, tmp_path, verb, latent):
    line = f"{verb} --data antipodal --latent {latent} --out {tmp_path / 'new'}"
    code, out, err = run_arguments(line.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "latent" in err
    assert not [*tmp_path.iterdir()]


def test_a_memory_that_does_not_suffice_is_one_line(run_arguments, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(data, "load", exhausted)
    code, out, err = run_arguments(["analyze", "--data", "digits"])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected memory to suffice" in err


ODD = (None, True, "x", 1j, [], float("nan"), float("inf"), 10**400, -(10**400), 1e31)
OFFERED: dict[typing.Any, tuple] = {
    values.number: (*ODD, b"1"),
    values.positive: (*ODD, 0, -1, 0.0, 1e-31, 5e-324),
    values.rate: (*ODD, 0, -1, 1e4),
    values.count: (*ODD, 0, -1, 1.0, "3", 10**18),
    values.first_seed: (*ODD, -1, 1.0, 2**32),
    values.numbers: (None, True, 1.0, "", ",", "x", "nan", "1,1", [], ["a"], [True], [[1]], {}),
    values.text: (None, 3, "", "a\0b"),
}


@pytest.mark.parametrize(
    ("check", "value"), [(check, value) for check, bad in OFFERED.items() for value in bad]
)
def test_checks_refuse_values_of_any_type_in_one_line(check, value):
    with pytest.raises(ValueError, match=r"^expected .*--x.*, got .+; [^\n]+$"):
        check("--x", value)


def test_checks_give_back_what_is_right():
    assert values.numbers("scale", [0, 0.5]) == values.numbers("scale", "0, 0.5") == [0.0, 0.5]
    assert values.count("--x", 7) == 7 and values.first_seed("--x", 0) == 0
    assert values.rate("--x", 1) == 1.0 and type(values.number("--x", 1)) is float
