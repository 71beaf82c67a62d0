"""How does a VAE come in that is at hand, as a problem or as an encoder and a decoder?

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1, gamma=0.5)
>>> exported(problem, problem.collapsed()).mean.shape
(2, 1)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface.diagnose import export, natural_judge
from vaesurface.diagnose.doors import diagnosed
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.judge import judge
from vaesurface.diagnose.measures import active_latents, measure
from vaesurface.diagnose.search import ADAM, STARTS, search
from vaesurface.diagnose.verdict import Diagnosis
from vaesurface.optimize import Optimizer
from vaesurface.problem import Autoencoder, Params, Problem, adopt

__all__ = ["collapse", "exported", "trained"]

DATA_AT_A_TIME = 256  # whose expected errors are held


def collapse(
    problem: Problem,
    params: Params,
    key: Array | None = None,
    starts: int = STARTS,
    optimizer: Optimizer | None = None,
    hessian: bool = False,
) -> Diagnosis:
    """Diagnose a problem's parameters, with experiments: switch inactive latents off and on,
    descend from there and from `starts` random starts, with gamma learned and beta = 1 too where
    they are not, and train the deterministic autoencoder.

    Where the likelihood is not Gaussian nothing is tried, but an affine decoder fitted.

    optimizer: of all those runs, Adam by default; hessian: judge the parameters as a stationary
    point as well (`stationary.analyze`). Where all latents are active, or the decoder sees more
    than latents or has a covariance of its own, nothing is tried. Raises ValueError for a problem
    without `autoencoder`.
    """
    problem, key = adopt(problem), _key(key)
    # Of one type, whatever made them: one program serves all.
    params = jax.tree.map(np.asarray, params)
    vae = exported(problem, params, key)
    if vae.likelihood != "gaussian":
        return natural_judge.diagnosed(vae)
    active = active_latents(vae)
    if active.all() or not vae.alone or vae.gamma.ndim or not problem.has("init"):
        return judge(measure(vae))
    ends = search(problem, params, vae, active, key, starts, optimizer or ADAM, hessian)
    return judge(measure(vae, ends))


def exported(problem: Problem, params: Params, key: Array | None = None) -> Export:
    """The arrays that a diagnosis rests on: what an .npz would hold. key: of draws from posteriors
    and prior. Raises ValueError for a problem without `autoencoder`.
    """
    problem = adopt(problem)
    if not problem.has("autoencoder"):
        raise ValueError(
            "expected a problem with autoencoder, got one without; use diagnose.functions or "
            "diagnose.arrays"
        )
    table = _table_of_problem(problem, params, _key(key))
    # A threshold keeps affine maps out of the decoder's family.
    affine = not np.any(np.asarray(getattr(problem, "alpha", 0.0)) > 0)
    return _checked(problem.autoencoder(params), table, affine)


def trained(vae: Autoencoder, affine: bool = True, key: Array | None = None) -> Diagnosis:
    """Diagnose a VAE given as arrays and functions. affine: whether its decoder's family comes
    close to having an affine map added, as networks' do; key: of draws from posteriors and prior.
    """
    return diagnosed(_checked(vae, _table(vae, _key(key)), affine))


def _key(key: Array | None) -> Array:
    """A diagnosis is the same twice where no key is given."""
    return jax.random.key(0) if key is None else key


@jax.jit
def _table_of_problem(problem: Problem, params: Params, key: Array) -> dict[str, Array]:
    return _table(problem.autoencoder(params), key)


def _table(vae: Autoencoder, key: Array) -> dict[str, Array]:
    """Arguments of `export.check` by name: the arrays among them."""
    mean, log_std, x = (jnp.asarray(a) for a in (vae.mean, vae.log_std, vae.data))

    def answer(z: Array) -> Array:
        return vae.decode(z) if vae.predict is None else vae.predict(z, x)

    at_posterior, at_prior = jax.random.split(key)
    noise = jax.random.normal(at_posterior, mean.shape, mean.dtype)
    table = {
        "x": x,
        "mean": mean,
        "log_std": log_std,
        "reconstruction": answer(mean),
        "gamma": jnp.asarray(vae.gamma),
        "beta": jnp.asarray(vae.beta),
        "sampled_reconstruction": answer(mean + jnp.exp(log_std) * noise),
        "prior_reconstruction": answer(jax.random.normal(at_prior, mean.shape, mean.dtype)),
    }
    error = vae.error
    if error is not None:
        known = "squared_error" if vae.likelihood == "gaussian" else "nats"
        table[known] = jax.lax.map(
            lambda datum: error(*datum), (mean, log_std, x), batch_size=DATA_AT_A_TIME
        )
    return table


def _checked(vae: Autoencoder, table: dict[str, Array], affine: bool) -> Export:
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in table.items()}
    return export.check(
        **arrays,
        learned_gamma=vae.learned,
        affine=affine,
        alone=vae.predict is None,
        likelihood=vae.likelihood,
        classes=vae.classes,
    )
