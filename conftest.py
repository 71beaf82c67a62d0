"""Settings for the tests and the doctests alike: float64, no silent broadcasting, no screen."""

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("Agg")
