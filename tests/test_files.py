"""A file is there whole or not at all, and JSON gets no NaN."""

import json
import subprocess
import sys

import numpy as np
import pytest

from vaesurface import files


def test_what_json_cannot_hold_becomes_null_and_arrays_become_lists():
    value = {"a": np.array([1.0, np.nan]), 2: (np.float64(np.inf), [True, None]), "b": np.int64(3)}
    plain = {"a": [1.0, None], "2": [None, [True, None]], "b": 3}
    assert files.plain(value) == plain
    assert json.loads(json.dumps(files.plain(value), allow_nan=False)) == plain


def test_a_text_is_written_into_a_new_directory_and_replaced(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("γ", "β"):
        files.write(str(path), text)
        assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("make", [lambda new: new.write_text("half"), lambda new: new.mkdir()])
def test_what_fails_leaves_what_was_there(tmp_path, make):
    path = tmp_path / "a"
    path.write_text("whole")
    with pytest.raises(ZeroDivisionError, match="division"), files.replacing(path) as new:
        make(new)
        assert path.read_text() == "whole"
        raise ZeroDivisionError("division")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "whole"


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a"
    for name in ("old", "new"):
        with files.replacing(path) as new:
            new.mkdir()
            (new / name).touch()
    assert [*tmp_path.rglob("*")] == [path, path / "new"]


def test_importing_the_module_loads_nothing_heavy():
    heavy = "{'numpy', 'jax'} & set(sys.modules)"
    code = f"import sys, vaesurface.files; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
