"""Whatever is wrong with a file, its reader says so in one line that names it: nothing else comes
through, no NaN and no other exception.

`scripts/mutate` does the same thousands of times with every reader.
"""

import json
import struct
import zlib
from pathlib import Path

import damage
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix

from vaesurface import data, diagnose, proof, report
from vaesurface.cli import points
from vaesurface.refusal import complaint, line, reading

READERS = {reader.name: reader for reader in damage.READERS}
OF_A_PATH = {  # of files alone; a folder is one of images to `data.load`
    "data": data.load,
    "named": data.named,
    "diagnose": diagnose.load,
    "study": report.load,
    "certificate": proof.load,
    "point": lambda path: points._read_point(Path(path), damage.POINT),
    "toml": damage._settings,
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, name):
    reader, path = READERS[name], tmp_path / name
    reader.write(path)
    valid = path.read_bytes()
    assert damage.answer(reader, path) == "read"

    @settings(max_examples=20, derandomize=True, deadline=None, database=None)
    @given(st.randoms(use_true_random=False))
    def spoil(chance):
        path.write_bytes(damage.spoiled(valid, chance))
        assert damage.answer(reader, path) in ("read", "refused")

    spoil()


@pytest.mark.parametrize("name", OF_A_PATH)
def test_what_is_no_file_that_can_be_read_is_named_without_an_errno(tmp_path, name):
    read = OF_A_PATH[name]
    missing = r"^expected .*none\.npz.*where .*; correct the path$"
    with pytest.raises(FileNotFoundError, match=missing):
        read(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"expected .*"):
        read(tmp_path)
    if name == "toml":
        return  # what has no size is empty, which settings may be
    # It opens, and cannot be read at its beginning.
    with pytest.raises(
        ValueError, match=r"/proc/self/mem.*expected|expected.*/proc/self/mem"
    ) as bad:
        read("/proc/self/mem")
    assert "Errno" not in str(bad.value)


def deep(opening, closing):
    return opening * 100_000 + closing * 100_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("certificate", deep("[", "]")),
        ("certificate", '{"claim": ' * 9000),
        ("study", deep("[", "]")),
        ("study", '{"verdicts": ' + deep("[", "]") + "}"),
        ("toml", "a = " + deep("[", "]")),
        ("toml", "a = " + "9" * 5000),
        ("toml", "a" + ".b" * 100_000 + " = 1"),
        ("study", '{"format": 1, "verdicts": [], "cap": NaN}'),
    ],
)
def test_what_is_nested_too_deep_or_too_long_is_refused(tmp_path, name, text):
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"expected .*bad.*; .+"):
        OF_A_PATH[name](path)


def matrix(*parts):
    """A variable "X" of doubles in a file of MATLAB's, with these parts after its name."""
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    body = flags + struct.pack("<IIii", 5, 8, 2, 1) + b"\1\0\1\0X\0\0\0" + b"".join(parts)
    return struct.pack("<II", 14, len(body)) + body


DOUBLES = struct.pack("<IIdd", 9, 16, 1.0, 2.0)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "parts", [(struct.pack("<IIdd", 8, 16, 1.0, 2.0),), (struct.pack("<IIdd", 99, 16, 1, 2),), ()]
)
def test_types_that_matlab_has_not_do_not_reach_code_that_trusts_them(tmp_path, parts, compressed):
    def written(variable):
        if compressed:
            packed = zlib.compress(variable)
            variable = struct.pack("<II", 15, len(packed)) + packed
        path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + variable)

    path = tmp_path / "x.mat"
    written(matrix(DOUBLES))
    assert data.load(path).tolist() == [[1.0], [2.0]]
    written(matrix(*parts))
    with pytest.raises(ValueError, match=r"x\.mat: expected MATLAB's arrays, whole, got .* lacks"):
        data.load(path)


def test_a_sparse_matrix_with_entries_outside_itself_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    sparse = csc_matrix(np.diag([1.0, 2.0, 3.0]))
    savemat(path, {"X": sparse})
    assert np.array_equal(data.load(path), np.diag([1.0, 2.0, 3.0]))
    sparse.indices[1] = 70_000
    savemat(path, {"X": sparse})
    with pytest.raises(ValueError, match=r"x\.mat: expected MATLAB's arrays, whole, got .*; fetch"):
        data.load(path)


def test_structures_beside_an_array_are_passed_over(tmp_path):
    path = tmp_path / "x.mat"
    cell = np.array([np.ones(2), "word"], dtype=object)
    savemat(path, {"X": damage.ROWS, "info": {"a": 1.0, "b": {"c": "word"}}, "cell": cell})
    assert np.array_equal(data.load(path), damage.ROWS)
    assert "cell, structure or function" in str(data.named(path)["info"])


def test_a_claim_of_more_than_memory_holds_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, damage.ROWS)
    path.write_bytes(path.read_bytes().replace(b"(4, 3), }", b"(4, 3000000000000000), }"))
    with pytest.raises(ValueError, match=r"x\.npy: expected a NumPy file"):
        data.load(path)


@pytest.mark.parametrize(
    "error",
    [
        zlib.error("a"),
        KeyError("a"),
        IndexError("a"),
        RecursionError("a"),
        MemoryError(),
        NotImplementedError("a"),
        struct.error("a"),
        OSError(5, "Input/output error"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a"),
        ValueError("line\nline \x1b[31m" + 9000 * "x"),
        json.JSONDecodeError("a", "b", 0),
    ],
)
def test_the_door_turns_everything_into_one_line_that_names_the_file(error):
    with pytest.raises(ValueError, match=r"^expected a cup, got a/b\.c: ") as caught:
        with reading("a cup", "wash it", "a/b.c"):
            raise error
    said = str(caught.value)
    assert said.endswith("; wash it") and said.isprintable() and len(said) < 1000
    assert caught.value.__cause__ is error


def test_the_door_leaves_what_says_all_there_is_to_say_and_adds_the_name():
    said = complaint("a cup", "a bowl", "wash it")
    with pytest.raises(ValueError, match=r"^a/b\.c: expected a cup, got a bowl; wash it$"):
        with reading("dishes", "buy some", "a/b.c"):
            raise said
    assert line("a\n\tb\u2028c\x00") == "a b c\\x00"
