"""The command line in this process, for all tests that are about it."""

import sys

import pytest

from vaesurface import cli

collect_ignore = ["frameworks"]  # scripts/test --all runs them where the frameworks are


@pytest.fixture(scope="session")
def run_command():
    """Run `vaesurface LINE`: its exit code."""

    return lambda line: ran(line.split())


def ran(arguments):
    """The exit code of `vaesurface ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vaesurface", *arguments])
        with pytest.raises(SystemExit, match=r"^\d+$") as stop:
            cli.main()
    return stop.value.code


@pytest.fixture
def run_arguments(capsys):
    """Run `vaesurface ARGUMENTS`: (exit code, stdout, stderr)."""
    return lambda arguments: (ran(arguments), *capsys.readouterr())


@pytest.fixture
def vaesurface(run_command, capsys):
    """Run `vaesurface LINE`: (exit code, stdout, stderr)."""

    def run(line):
        code = run_command(line)
        return code, *capsys.readouterr()

    return run
