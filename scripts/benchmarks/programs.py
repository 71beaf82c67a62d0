"""What does a user wait for: imports, compiling, the first call and the next?"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax

from benchmarks.clock import Contender, finished, measured, row, seconds
from vaesurface import data, optimize, stationary, vae
from vaesurface.stationary import analysis

__all__ = ["commands", "compiled", "finding", "rows"]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv/bin/python"
COMMAND = ROOT / ".venv/bin/vaesurface"
ANALYZE = (COMMAND, "analyze", "--limit", "40")
OURS = "vaesurface"


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    yield finding()
    yield compiled()
    yield commands()


def problem(alpha: float) -> Any:
    """60 of the small digits."""
    return vae.threshold_vae(data.load("digits-4x4", limit=60), 2, alpha)


def found(alpha: float) -> float:
    """Seconds of a `find` with an optimizer made anew."""
    call = finished(
        lambda: stationary.find(problem(alpha), jax.random.key(0), 0.3, optimize.adam(500))
    )
    return seconds(call)


def finding() -> dict[str, Any]:
    """A first `stationary.find` in a new process, compiling included, and one of another alpha."""
    first, second = zip(*(found_elsewhere() for _ in range(3)), strict=True)
    title = "stationary.find, n = 60, d = 16, k = 2, in a new process without a cache"
    samples = {"another alpha": second, "first call": first}
    return row(title, samples, unit="another alpha")


def found_elsewhere() -> list[float]:
    """Seconds of two calls of `found` in a new process."""
    code = "from benchmarks.programs import found; print(found(0.1), found(0.2))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(word) for word in made.stdout.split()]


def compiled() -> dict[str, Any]:
    """A small analysis by the program that is compiled quickly, and by the thorough one."""
    point = problem(0.1)
    judged: Any = analysis._judged
    contenders = [
        Contender(name, partial(judging, program, point))
        for name, program in (
            ("thoroughly", judged.program._thorough),
            ("quickly", judged.program._quick),
        )
    ]
    title = "stationary.analyze compiled, n = 60, d = 16, k = 2"
    return measured(title, contenders, unit="thoroughly")


def judging(program: Callable, point: Any) -> Callable[[], Any]:
    """The call of one of them."""
    return finished(lambda: program(point, point.collapsed(), None, 4096)[0].loss)


def commands() -> dict[str, Any]:
    """The command line, with and without programs that an earlier call has compiled."""
    contenders = [
        Contender("python -c pass", lambda: partial(called, PYTHON, "-c", "pass"), compiles=False),
        Contender("vaesurface --help", lambda: partial(called, COMMAND, "--help")),
        Contender("vaesurface analyze --limit 40, warm cache", warm),
        Contender("vaesurface analyze --limit 40, no cache", lambda: cold, compiles=False),
    ]
    return measured("the command line", contenders, unit="python -c pass", budget=60.0)


def called(*command: Any, cache: str | None = None) -> None:
    """Run a command to its end, with a cache folder of its own where one is given."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "JAX_ENABLE_X64")}
    env = inherited | ({"XDG_CACHE_HOME": cache} if cache else {})
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=quiet, stderr=quiet, env=env)


def warm() -> Callable[[], None]:
    """The call with a cache that the first fills."""
    return partial(called, *ANALYZE, cache=tempfile.mkdtemp())


def cold() -> None:
    """With an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        called(*ANALYZE, cache=cache)
