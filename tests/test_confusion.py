"""Models made to collapse in known ways, and healthy ones: is every kind recognized, and is no
wrong one ever named?
"""

import jax
import jax.numpy as jnp
import kinds
import numpy as np
import pytest

from vaesurface import data
from vaesurface.diagnose import Collapse


def confirmed(rows):
    print("\n" + kinds.table(rows))
    assert all(row.right for row in rows), [row.name for row in rows if not row.right]
    for named in ("exported", "required"):  # honest, but not silent
        assert sum(getattr(row, named) == row.kind for row in rows) > 0.7 * len(rows)


FEW = (  # one of each kind; they share programs
    "affine, all latents in use",
    "affine, 3 latents for 2 and noise",
    "affine, beta = 8",
    "variance of the latents, Gaussian data",
    "autoregressive, x_r = 0.9 x_(r-1) + e_r",
    "soft threshold, at collapse",
)


def test_every_kind_is_recognized():
    some = [specimen for specimen in kinds.specimens() if specimen.name in FEW]
    assert len(some) == len(FEW)
    rows = [kinds.diagnosed(specimen) for specimen in some]
    confirmed(rows)
    assert {row.kind for row in rows} == {*Collapse} - {Collapse.UNDECIDED}


@pytest.mark.slow
def test_every_model_is_recognized_networks_too():
    rows = [kinds.diagnosed(specimen) for specimen in kinds.specimens() + kinds.networks()]
    confirmed(rows)
    made = [row.kind for row in rows]
    assert min(made.count(kind) for kind in {*made}) >= 2
    assert sum(row.kind == Collapse.NONE for row in rows) >= 3
    assert sum(row.kind != Collapse.NONE for row in rows) >= 10


def test_an_autoregressive_decoder_alone_is_as_likely_as_a_gaussian_can_be():
    X = kinds.walk(40, 10, 0.9, seed=0)
    problem = kinds.AutoregressiveVAE(jnp.asarray(X), 2)
    bound = np.linalg.slogdet(np.cov(X.T, bias=True))[1] + 10 + 2  # log det + d, and 1 per latent
    start = problem.init(jax.random.key(0), 1.0)
    alone = start._replace(
        before=0.9 * jnp.eye(10, k=-1), weight=0 * start.weight, mean=0 * start.mean, log_gamma=0.0
    )
    assert problem.loss(alone) == pytest.approx(bound, abs=1e-12)
    assert problem.loss(start) > bound
    # One coordinate after the other, each at its mean, makes what `decode` says.
    vae = problem.autoencoder(alone._replace(weight=start.weight))
    z, x = jnp.ones((1, 2)), jnp.zeros((1, 10))
    for r in range(10):
        x = x.at[:, r].set(vae.predict(z, x)[:, r])
    assert vae.decode(z) == pytest.approx(np.asarray(x), abs=1e-12)


def test_a_variance_of_the_latents_has_no_lower_bound():
    # As the floor falls the energy does, at d / n per unit of log gamma: the density on one datum.
    X = jnp.asarray(data.gaussian(20, [1.0, 1.0, 1.0], seed=0))
    start = kinds.CovarianceVAE(X).init(jax.random.key(0))
    switch, (fall, _) = start.variance_net
    variance_net = switch, (50.0 * fall, jnp.full(1, -50.0))  # 0 before the switch, -100 beyond
    spiked = start._replace(variance_net=variance_net, log_std=start.log_std.at[0].set(-4.0))
    loss = jax.jit(lambda floor: kinds.CovarianceVAE(X, floor).loss(spiked))
    slopes = np.diff([loss(-8.0), loss(-10.0), loss(-12.0)]) / -2.0
    assert slopes == pytest.approx(3 / 20, rel=0.01)
