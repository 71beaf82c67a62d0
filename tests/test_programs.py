"""Compiled programs are kept for the next run of the command line: by whom, where, how much."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaesurface import provenance
from vaesurface.cli import programs

COMPILE = """
from vaesurface.cli import programs
programs.keep()
import jax, jax.numpy as jnp
taken = []
jax.monitoring.register_event_listener(lambda name, **_: taken.append(name))
jax.jit(lambda x: jnp.sin(x) ** 2)(1.0)
print(sum(name.endswith("cache_hits") for name in taken))
"""


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A user's cache folder, of a user who has told JAX nothing."""
    for name in [name for name in os.environ if name.startswith("JAX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "vaesurface")
    yield tmp_path / "vaesurface"
    for name in programs.settings(tmp_path):
        os.environ.pop(name, None)  # before the test's changes are taken back


def test_the_next_process_finds_what_the_last_one_compiled(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    environment |= {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-c", COMPILE]
    hits = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        hits.append(int(done.stdout))
    assert hits[0] == 0 < hits[1]
    (folder,) = (tmp_path / "vaesurface").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


def test_what_the_user_told_jax_wins(home, monkeypatch):
    monkeypatch.setenv(programs.DIRECTORY, "elsewhere")
    programs.keep()
    assert os.environ[programs.DIRECTORY] == "elsewhere"
    assert not home.exists()


def test_it_is_bounded_unless_the_user_says_how(home, monkeypatch):
    programs.keep()
    assert Path(os.environ.pop(programs.DIRECTORY)).parent == home
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == str(programs.MOST_BYTES)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000")
    programs.keep()
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "1000"


def test_a_folder_that_others_can_write_to_is_not_used(home, capsys):
    folder = Path(programs.settings(home)[programs.DIRECTORY])
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    programs.keep()
    assert programs.DIRECTORY not in os.environ
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder) in line and "expected a folder that only you can write to" in line


def test_without_a_place_nothing_is_kept(home):
    home.write_text("a file")
    programs.keep()
    assert programs.DIRECTORY not in os.environ


def test_leftovers_of_killed_processes_and_old_versions_go(home):
    folder = Path(programs.settings(home)[programs.DIRECTORY])
    folder.mkdir(parents=True, mode=0o700)
    old, fresh = home / "jaxlib-0.0.1-x-0", home / "jaxlib-9.9.9-x-0"
    for other in (old, fresh):
        other.mkdir()
        (other / "a-cache").write_bytes(b"")
    for name in ("whole-cache", "whole-atime", "torn-cache", "now-cache"):
        (folder / name).write_bytes(b"")
    before = time.time() - 2 * programs.FORGOTTEN
    for path in (old, folder, *(folder / f"{name}-cache" for name in ("whole", "torn"))):
        os.utime(path, (before, before))
    programs.keep()
    assert {path.name for path in home.iterdir()} == {fresh.name, folder.name}
    assert {path.name for path in folder.iterdir()} == {"whole-cache", "whole-atime", "now-cache"}


def test_another_instruction_set_has_another_folder(tmp_path, monkeypatch):
    names = set()
    for flags in ("flags\t: sse2 avx2", "flags\t: sse2 avx2 avx512f", "Features\t: neon"):
        file = tmp_path / "cpuinfo"
        file.write_text(f"processor\t: 0\n{flags}\n")
        monkeypatch.setattr(provenance, "CPU", file)
        names.add(programs.settings(tmp_path)[programs.DIRECTORY])
    assert len(names) == 3
