"""Settings for the tests and the doctests alike: float64, no silent broadcasting, no screen."""

from pathlib import Path

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
