"""Models made to collapse in known ways, and healthy ones: is every kind recognized, and is no
wrong one ever named?
"""

from typing import NamedTuple

import exports
import jax
import jax.numpy as jnp
import kinds
import numpy as np
import pytest

from vaesurface import data, diagnose, vae
from vaesurface.diagnose import Collapse
from vaesurface.diagnose.export import OPTIONAL, REQUIRED


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


# The advice, followed


class Followed(NamedTuple):
    """What was said of a collapsed model, and what came of the advice.

    name: of the model.
    before: its diagnosis, from arrays.
    expected: latents in use and part of the variance left, as the advice has it.
    after: the diagnosis of what followed it.
    """

    name: str
    before: diagnose.Diagnosis
    expected: tuple[int, float]
    after: diagnose.Diagnosis

    @property
    def left(self):
        """Part of the data's variance that is left."""
        return self.after.error / self.after.gammabar

    @property
    def line(self):
        """Of the table in docs/diagnose.md."""
        k, (number, share) = len(self.after.kl), self.expected
        return (
            f"| {self.name} | {exports.answer(self.before)} | {self.before.change.split(':')[0]} | "
            f"{number} of {k}, {100 * share:.0f} % | "
            f"{self.after.active.sum()} of {k}, {100 * self.left:.0f} % |"
        )


def exported(problem, params, seen=0.0, **more):
    """All keys of a problem's export; seen (n, d): what the decoder sees past the latents."""
    export = diagnose.exported(problem, params)._replace(affine=True)
    arrays = {name: getattr(export, name) for name in (*REQUIRED, *OPTIONAL)}
    for name in arrays:
        if name == "x" or "reconstruction" in name:
            arrays[name] = arrays[name] + seen
    return diagnose.arrays(**arrays | more)


def of_gamma(name, X, alpha, gamma, seen=0.0):
    """Trained at a gamma that is too large; then with gamma learned."""
    fixed, free = vae.threshold_vae(X, 3, alpha, gamma), vae.threshold_vae(X, 3, alpha)
    before = exported(fixed, kinds.trained(fixed, 1.0), seen)
    after = exported(free, kinds.trained(free, 1.0), seen)
    return Followed(name, before, before.expected, after)


@pytest.mark.slow
def test_advice_that_is_followed_brings_latents_back():
    X = np.asarray(data.load("digits-4x4", limit=40))
    soft, plain = vae.threshold_vae(X, 3, 0.05), vae.threshold_vae(X, 3, 0.0)
    trap = exported(soft, soft.collapsed())
    stuck = exported(soft, kinds.descended(soft, soft.collapsed()))
    assert stuck.active.sum() == 0  # training on does not help: a bad local optimum
    elsewhere = exported(soft, kinds.trained(soft, 1.0))
    small = jax.tree.map(
        lambda a, b: a + 1e-3 * b, plain.collapsed(), plain.init(jax.random.key(1))
    )
    plateau = exported(plain, small)
    trained_on = exported(plain, kinds.descended(plain, small))
    seen = 0.3 * np.random.default_rng(0).standard_normal((4, 16))[np.arange(40) % 4]
    cases = [
        of_gamma("soft threshold, gamma = 1", X, 0.05, 1.0),
        of_gamma("conditional, gamma = 1", X, 0.0, 1.0, seen),
        Followed("soft threshold, at collapse", trap, trap.expected, elsewhere),
        Followed("plateau of an affine VAE", plateau, plateau.expected, trained_on),
    ]
    print()
    for case in cases:
        print(case.line)
        assert case.after.kind == Collapse.NONE, case.name
        assert case.after.active.sum() == case.expected[0], case.name
        assert case.left == pytest.approx(case.expected[1], rel=0.3), case.name
    answers = [exports.answer(case.before) for case in cases]
    assert answers == ["(ii)", "(ii)", "(v) or not ended", "(v) or not ended"]
