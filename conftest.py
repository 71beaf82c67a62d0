"""Settings for the tests and the doctests alike: float64, no silent broadcasting, no screen,
compiled programs kept apart from the user's, and no time spent waiting or looking for garbage.
"""

import gc
import os
from pathlib import Path

# Before JAX is imported, and for the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".venv/jax-cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Small matrices, a process for each core: more threads spend their time in waiting for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import matplotlib
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("Agg")
# Objects made until those that are new are searched for garbage. By default 700: tracing makes
# millions that live on, and looking at them again and again takes as long as tracing.
gc.set_threshold(50_000, 20, 20)

MAPS = Path("/proc/self/maps")
# Of the 65,530 memory maps that Linux allows a process by default; a compiled program takes some
# hundreds, and without maps left the compiler crashes.
MOST_MAPS = 20_000


def pytest_collection_finish():
    """What has been imported stays, and is not searched again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def drop_programs():
    """Between modules, programs are dropped once there are many."""
    yield
    if MAPS.exists() and len(MAPS.read_text().splitlines()) > MOST_MAPS:
        jax.clear_caches()
