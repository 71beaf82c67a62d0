"""The command line in this process, for all tests that are about it."""

import sys

import pytest

from vaesurface import cli


@pytest.fixture(scope="session")
def run_command():
    """Run `vaesurface LINE`: its exit code."""

    def run(line):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["vaesurface", *line.split()])
            with pytest.raises(SystemExit, match=r"^\d+$") as stop:
                cli.main()
        return stop.value.code

    return run


@pytest.fixture
def vaesurface(run_command, capsys):
    """Run `vaesurface LINE`: (exit code, stdout, stderr)."""

    def run(line):
        code = run_command(line)
        return code, *capsys.readouterr()

    return run
