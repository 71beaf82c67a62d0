"""Settings for the tests and the doctests alike: float64, no silent broadcasting, no screen, and
compiled programs kept apart from the user's.
"""

import os
from pathlib import Path

# Before JAX is imported, and for the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".venv/jax-cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import matplotlib
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("Agg")

MAPS = Path("/proc/self/maps")
# Of the 65,530 memory maps that Linux allows a process by default; a compiled program takes some
# hundreds, and without maps left the compiler crashes.
MOST_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def drop_programs():
    """Between modules, programs are dropped once there are many."""
    yield
    if MAPS.exists() and len(MAPS.read_text().splitlines()) > MOST_MAPS:
        jax.clear_caches()
