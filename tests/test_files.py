"""A file is there whole or not at all, and JSON gets no NaN."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vaesurface import files
from vaesurface.files import written

DAY = 86_400
PIPE = "pipe"


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


HALF = "import sys; from vaesurface import files; room = files.replacing(sys.argv[1]); new = room"
HALF += '.__enter__(); new.write_text("half"); print(flush=True); sys.stdin.read()'


@pytest.fixture
def writer(tmp_path):
    """A process that has written half of a file, and waits."""
    path = tmp_path / "a"
    path.write_text("whole")
    line = [sys.executable, "-c", HALF, str(path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def rooms(folder):
    return [entry for entry in folder.iterdir() if entry.name.endswith(".tmp")]


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_writes_is_not(tmp_path, writer):
    (room,) = rooms(tmp_path)
    ages_ago = time.time() - 100 * DAY
    for place in (*room.rglob("*"), room):
        os.utime(place, (ages_ago, ages_ago))
    os.kill(writer.pid, signal.SIGSTOP)
    files.write(tmp_path / "b", "other")
    assert rooms(tmp_path) == [room] and (room / "new" / "a").read_text() == "half"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    files.write(tmp_path / "b", "other")
    assert rooms(tmp_path) == [] and (tmp_path / "a").read_text() == "whole"


def room_of(folder, machine, *parts):
    """What a killed process of a machine left."""
    room = folder / f".a-{machine}{16 * '0'}.tmp"
    room.mkdir(mode=0o700)
    for part in parts:
        (room / part).mkdir() if part != "lock" else (room / part).touch()
    return room


# As processes leave them that are killed while they make them, write, or tidy up.
STAGES = ((), ("lock",), ("lock", "new"), ("new",), ("lock", "new", "old"))


@pytest.mark.parametrize("parts", STAGES)
@pytest.mark.parametrize("days", [0, 0.9, 1.1])
def test_what_another_machine_writes_is_dead_after_a_day(tmp_path, parts, days):
    rooms = [room_of(tmp_path, machine, *parts) for machine in (written._machine(), 8 * "f")]
    then = time.time() - days * DAY
    for place in tmp_path.rglob("*"):
        os.utime(place, (then, then))
    files.sweep(tmp_path)
    assert [room.exists() for room in rooms] == [False, days < 1]


def test_where_there_are_no_locks_age_decides(tmp_path, writer, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (room,) = rooms(tmp_path)
    files.write(tmp_path / "b", "other")
    assert rooms(tmp_path) == [room]
    monkeypatch.setattr(written, "FORGOTTEN", -1)
    files.sweep(tmp_path)
    assert rooms(tmp_path) == []


def test_temporary_files_of_earlier_versions_are_swept_after_a_day(tmp_path):
    old, new = (tmp_path / f".a.json-{16 * digit}.tmp" for digit in "ab")
    for path in (old, new):
        path.write_text("half")
    then = time.time() - 2 * DAY
    os.utime(old, (then, then))
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_what_only_looks_like_a_room_is_left_alone(tmp_path):
    victim = tmp_path / "victim"
    (victim / "old").mkdir(parents=True)
    (victim / "old" / "letter").write_text("dear")
    folder = tmp_path / "folder"
    folder.mkdir()
    names = [f".a-{written._machine()}{16 * digit}.tmp" for digit in "0123"]
    (folder / names[0]).symlink_to(victim)
    (folder / names[1]).mkdir()
    (folder / names[1] / "thesis.tex").touch()
    (folder / names[2]).mkdir(mode=0o777)
    (folder / names[2]).chmod(0o777)  # anybody may have put in it what there is
    (folder / names[3]).mkdir(mode=0o700)
    (folder / names[3] / "lock").symlink_to(victim / "old" / "letter")
    files.sweep(folder)
    files.sweep(tmp_path / "nowhere")
    assert sorted(entry.name for entry in folder.iterdir()) == names
    assert (victim / "old" / "letter").read_text() == "dear"


def test_a_directory_that_was_moved_aside_comes_back(tmp_path):
    """As a process leaves it that is killed between two renamings."""
    room = room_of(tmp_path, written._machine(), "lock", "new", "old")
    (room / "old" / "a.zarr").mkdir()
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.zarr"]


def test_no_link_is_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".a.tmp").symlink_to(victim)  # as names were foreseen once
    (folder / "b").symlink_to(victim)
    (folder / "c").symlink_to(tmp_path)
    (folder / "d").hardlink_to(victim)
    files.write(folder / "a", "new")
    files.write(folder / "d", "new")
    for name in "bc":
        with pytest.raises(
            OSError, match=r"\Aexpected a place .*, got .*folder/. \(a link to /.*\Z"
        ):
            files.write(folder / name, "new")
    assert victim.read_text() == "dear" and (folder / "b").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == [".a.tmp", "a", "b", "c", "d"]


def test_a_folder_that_gives_way_to_a_link_gets_nothing(tmp_path):
    folder, victim = tmp_path / "folder", tmp_path / "victim"
    folder.mkdir(), victim.mkdir()
    line = r"\Aexpected a place that can be written to, got .*\(No such file.*\Z"
    with pytest.raises(FileNotFoundError, match=line), files.replacing(folder / "a") as new:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(victim)
        new.write_text("new")
    assert not any(victim.iterdir())


def test_a_link_that_comes_while_one_writes_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    with files.replacing(tmp_path / "a") as new:
        new.write_text("new")
        (tmp_path / "a").symlink_to(victim)
    assert (tmp_path / "a").read_text() == "new" and victim.read_text() == "dear"


@pytest.mark.parametrize("name", [PIPE, "folder", "/dev/null"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path, name):
    os.mkfifo(tmp_path / PIPE)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"\Aexpected a place that .*(a device, a pipe|a directory)"):
        files.write(tmp_path / name, "new")
    assert (tmp_path / "folder").is_dir() and Path("/dev/null").is_char_device()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", PIPE]


def savez(path):
    with files.replacing(path) as new:
        np.savez(new, a=np.zeros(10_000))


@pytest.mark.parametrize("write", [lambda path: files.write(path, 10_000 * "x"), savez])
def test_a_full_disk_leaves_what_was_there_and_says_so_in_one_line(tmp_path, write):
    path = tmp_path / "a.npz"
    path.write_text("whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    line = r"\Aexpected a place that can be written to, got .*a.npz \(File too large\); .*\Z"
    try:
        with pytest.raises(OSError, match=line):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_not_even_room_for_a_lock_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.write(tmp_path / "a", "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())


def test_a_room_that_a_sweep_took_at_birth_is_made_again(tmp_path, monkeypatch):
    """A sweep may come between the making of a room and its lock."""
    hold, taken = written._hold, []

    def once_too_late(lock):
        if not taken:
            taken.append(lock.name)
            Path(lock.name).unlink()
            Path(lock.name).parent.rmdir()
        return hold(lock)

    monkeypatch.setattr(written, "_hold", once_too_late)
    files.write(tmp_path / "a", "new")
    assert taken and (tmp_path / "a").read_text() == "new" and rooms(tmp_path) == []


def test_the_longest_names_have_rooms_too(tmp_path):
    for name in (255 * "a", 85 * "\u20ac", "line\nbreak"):
        files.write(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert rooms(tmp_path) == []


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


# Files that somebody gave


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / PIPE)
    cases = {"/dev/zero": "a device", tmp_path / PIPE: "a pipe", tmp_path: "a folder"}
    for path, kind in cases.items():
        with pytest.raises(
            ValueError, match=rf"\Aexpected a regular file, got {path}, {kind}; name"
        ):
            files.opened(path)
    assert files.content("/proc/self/pagemap") == b""  # it tells no size, and has no end
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.opened(tmp_path / "nowhere")


def test_sizes_are_asked_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**43)
    line = r"\Aexpected at most 2147483648 bytes in .*sparse, got 8796093022208 or more; .* set "
    with pytest.raises(ValueError, match=line + "VAESURFACE_MAX_BYTES to 8796093022208 or more"):
        files.content(path)
    path.write_bytes(b"12345")
    monkeypatch.setenv("VAESURFACE_MAX_BYTES", "5")
    assert files.content(path) == b"12345"
    with pytest.raises(ValueError, match=r"expected at most 2 bytes .* set .* to 10 or more"):
        files.content(path, 2)
    for wrong in ("much", "-1", "1e9", "5" * 30, "²"):
        monkeypatch.setenv("VAESURFACE_MAX_BYTES", wrong)
        with pytest.raises(ValueError, match=r"\Aexpected a number of bytes as VAESURFACE"):
            files.content(path)


DEEP = {
    "a.json": 100_000 * "[",
    "b.json": 100 * "[" + 100 * "]",
    "c.json": 100 * '{"a":' + "1" + 100 * "}",
    "a.toml": "a = " + 10_000 * "[",
    "b.toml": "a" + 100 * ".a" + " = 1",
    "c.toml": "a = " + 3000 * "{a = ",
}


@pytest.mark.parametrize("name", DEEP)
def test_what_is_nested_deeply_is_refused(tmp_path, name):
    (tmp_path / name).write_text(DEEP[name])
    read = files.read_json if name.endswith("json") else files.read_toml
    with pytest.raises(ValueError, match="it is nested"):
        read(tmp_path / name)


def test_names_of_toml_take_no_square_of_their_length(tmp_path):
    (tmp_path / "a.toml").write_text("a" + 100_000 * ".a" + " = 1")
    with pytest.raises(ValueError, match=r"expected at most 16384 bytes in .*a\.toml, got 200005"):
        files.read_toml(tmp_path / "a.toml")


def test_json_and_toml_are_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, {"b": null}]}')
    (tmp_path / "nan.json").write_text('{"a": NaN}')
    (tmp_path / "a.toml").write_text("a = [1, 2]")
    assert files.read_json(tmp_path / "a.json") == {"a": [1, {"b": None}]}
    assert files.read_toml(tmp_path / "a.toml") == {"a": [1, 2]}
    with pytest.raises(ValueError, match="NaN is no JSON"):
        files.read_json(tmp_path / "nan.json")


def test_what_is_inside_a_folder_is_read(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "é.txt").write_text("in")
    (tmp_path / "link").symlink_to("below/é.txt")
    (tmp_path / "folder").symlink_to("below")
    for name in ("below/é.txt", "link", "folder/é.txt", "./below//é.txt"):
        assert files.content(name, within=tmp_path) == b"in"
    here = tmp_path.with_name("here")
    here.symlink_to(tmp_path)  # the folder itself may be a link
    assert files.content("link", within=here) == b"in"


OUTSIDE = (
    *("../secret", "below/../../secret", "{outside}/secret", "/dev/zero", "link", "folder/secret"),
    *("..\\secret", "C:secret", "C:\\secret", "\\\\server\\secret", "below\\..\\..\\secret"),
    *("a\0b", "round", "round/secret", 3, None),
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_a_folder_is_not(tmp_path, name):
    folder, outside = tmp_path / "folder", tmp_path
    (folder / "below").mkdir(parents=True)
    (outside / "secret").write_text("out")
    (folder / "link").symlink_to("../secret")
    (folder / "folder").symlink_to("..")
    (folder / "round").symlink_to("round")
    if isinstance(name, str):
        name = name.format(outside=outside)
    with pytest.raises(ValueError, match=r"\Aexpected [^\n]*, got [^\n]*; c[^\n]*\Z"):
        files.content(name, within=folder)


@pytest.mark.parametrize("swapped", ["below", "below/a"])
def test_a_link_that_comes_between_asking_and_opening_is_not_followed(
    tmp_path, monkeypatch, swapped
):
    from vaesurface.files import given

    folder, outside, inside = tmp_path / "folder", tmp_path / "outside", given.inside
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a").write_text("in")
    outside.mkdir()
    (outside / "a").write_text("out")

    def swap(*arguments):
        path = inside(*arguments)
        (folder / swapped).rename(folder / "moved")
        (folder / swapped).symlink_to(outside if swapped == "below" else outside / "a")
        return path

    monkeypatch.setattr(given, "inside", swap)
    with pytest.raises((OSError, ValueError), match="below/a"):
        files.content("below/a", within=folder)
