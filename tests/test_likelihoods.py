"""Other likelihoods than the Gaussian: energies against 30 digits, indices against dense Hessians,
verdicts against how models were made.
"""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import likelihood_kinds as kinds
import mpmath
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from vaesurface import bordered, data, diagnose, optimize, theory, vae
from vaesurface.diagnose import Collapse, fits, likelihoods, mixtures

SMALL = {  # (n, d) or (n, groups, classes) of each likelihood
    "bernoulli": kinds.pixels(size=1.5, d=4)[:14],
    "poisson": kinds.counts(size=0.5, d=4)[:14],
    "categorical": kinds.words(size=1.5, groups=2, classes=3)[:14],
}


def classes_of(likelihood):
    return 3 if likelihood == "categorical" else 1


def flat(X):
    return X.reshape(len(X), -1)


# Energies


@pytest.mark.parametrize("deviation", [0.0, 1e-6, 0.5, 2.0, 5.0, 50.0])
def test_a_bernoulli_term_is_what_mpmath_says(deviation):
    problem = vae.elementwise_vae(SMALL["bernoulli"], 1, likelihood="bernoulli")

    def term(weight, bias, x):
        return problem.term((weight, bias), None, (jnp.zeros(1), jnp.zeros(1)), x)

    for mean, x in ((0.0, 1.0), (-4.0, 0.0), (2.5, 0.3)):
        at = jnp.array([deviation]), jnp.array(mean), jnp.array(x)
        # E s(u), and E z s(u), which is the deviation times E s'(u), with s the logistic function.
        slope = expected_logistic(lambda z, u: 1 / (1 + mpmath.exp(-u)), mean, deviation)
        across = expected_logistic(lambda z, u: z * 1 / (1 + mpmath.exp(-u)), mean, deviation)
        value = expected_logistic(lambda z, u: mpmath.log1p(mpmath.exp(u)), mean, deviation)
        assert float(term(*at)) == pytest.approx(float(2 * (value - x * mean)), rel=1e-14)
        by_weight, by_bias = jax.grad(term, (0, 1))(*at)
        assert float(by_weight[0]) == pytest.approx(float(2 * across), abs=1e-14)
        assert float(by_bias) == pytest.approx(float(2 * (slope - x)), abs=1e-14)


def expected_logistic(function, mean, deviation):
    with mpmath.workdps(30):
        middle = -mean / deviation if deviation > 0.1 else 0
        ends = sorted({*range(-13, 14, 2), *(middle + step / 5 for step in range(-5, 6))})
        return mpmath.quad(lambda z: mpmath.npdf(z) * function(z, mean + deviation * z), ends)


def test_poisson_and_categorical_terms_are_what_mpmath_says():
    local = jnp.array([0.3]), jnp.array([-0.5])
    poisson = vae.elementwise_vae(SMALL["poisson"], 1, likelihood="poisson")
    term = poisson.term((jnp.array([0.8]), jnp.array(1.2)), None, local, jnp.array(3.0))
    mean, variance = 0.8 * 0.3 + 1.2, 0.64 * math.exp(-1.0)
    assert float(term) == pytest.approx(2 * (math.exp(mean + variance / 2) - 3 * mean), rel=1e-14)
    words = vae.elementwise_vae(SMALL["categorical"], 1, likelihood="categorical")
    weight, bias = np.array([[0.9], [-0.4], [0.1]]), np.array([0.2, 0.0, -1.0])
    x = np.array([0.0, 1.0, 0.0])
    term = words.term((jnp.asarray(weight), jnp.asarray(bias)), None, local, jnp.asarray(x))
    with mpmath.workdps(30):

        def density(z):
            latent = 0.3 + mpmath.exp(-0.5) * z
            return mpmath.npdf(z) * mpmath.log(
                sum(mpmath.exp(w * latent + b) for w, b in zip(weight[:, 0], bias, strict=True))
            )

        exact = 2 * (mpmath.quad(density, np.linspace(-12, 12, 13)) - (-0.4 * 0.3))
    assert float(term) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("likelihood", SMALL)
def test_energies_are_the_mean_of_draws(likelihood):
    problem = vae.elementwise_vae(SMALL[likelihood], 2, likelihood=likelihood, beta=1.5)
    params = problem.init(jax.random.key(0), 0.5)
    draws = jax.vmap(lambda key: problem.sampled(params, key, 64))
    values = draws(jax.random.split(jax.random.key(1), 64))
    error = float(values.std() / 8)
    assert float(problem.loss(params)) == pytest.approx(float(values.mean()), abs=5 * error)
    export = diagnose.exported(problem, params)
    penalty = 1.5 * float(problem.information(params).sum() + 2)
    assert 2 * export.nats.mean() + penalty == pytest.approx(float(problem.loss(params)), rel=1e-13)


def test_the_gaussian_member_is_the_affine_vae():
    X = data.gaussian(12, [3.0, 1.0, 0.2], seed=0)
    problem = vae.elementwise_vae(X, 2, gamma=0.5, beta=2.0)
    params = problem.init(jax.random.key(0), 0.5)
    assert problem.loss(params) == vae.threshold_vae(X, 2, 0.0, 0.5, 2.0).loss(params)


# Near a constant decoder


@pytest.mark.parametrize("likelihood", SMALL)
@pytest.mark.parametrize("latent", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_index_of_collapse_is_that_of_the_dense_hessian(likelihood, latent):
    X, classes = SMALL[likelihood], classes_of(likelihood)
    ratios = theory.collapse_ratios(flat(X), likelihood, classes)
    first = vae.elementwise_vae(X, latent, likelihood=likelihood)
    first = first.of_nodes(8)
    start, unravel = ravel_pytree(first.collapsed())
    hessian = jax.jit(jax.hessian(lambda v, beta: replace(first, beta=beta).loss(unravel(v))))
    for beta in (0.9 * ratios[1], 0.5 * (ratios[0] + ratios[1]), 1.1 * ratios[0]):
        values = np.linalg.eigvalsh(hessian(start, beta))
        index = theory.collapse_index(flat(X), latent, likelihood, beta, classes)
        assert index == latent * np.sum(ratios > beta)
        assert (values < -1e-10).sum() == index
        free = 2 * (latent + 1) if likelihood == "categorical" else 0  # a shift of all logits
        assert (np.abs(values) < 1e-10).sum() == free
        inertia = bordered.inertia(replace(first, beta=jnp.asarray(beta)), first.collapsed())
        assert int(inertia.negative) == index


def test_coordinates_that_do_not_vary_are_dropped():
    X = kinds.pixels(d=6)
    wider = np.column_stack([X, np.zeros(len(X)), np.ones(len(X))])
    base, dropped = (theory.collapse_ratios(a, "bernoulli") for a in (X, wider))
    assert dropped == pytest.approx(base, rel=1e-12)
    unused = np.concatenate([SMALL["categorical"], np.zeros((14, 2, 1))], axis=2)
    three, four = (
        theory.collapse_ratios(flat(a), "categorical", a.shape[-1])
        for a in (SMALL["categorical"], unused)
    )
    assert len(four) == len(three) and four == pytest.approx(three, abs=1e-10)
    one = np.eye(3)[[0, 1, 2, 2, 1, 0, 0]]  # a category alone is what its frequencies say
    assert theory.collapse_ratios(one, "categorical", 3) == pytest.approx([1.0, 1.0], rel=1e-12)


# Every decoder


@pytest.mark.parametrize("likelihood", SMALL)
def test_lindsays_criterion_says_no_only_where_nothing_is_lower(likelihood):
    X, classes = SMALL[likelihood], classes_of(likelihood)
    constant = 2 * likelihoods.nats(flat(X), flat(X).mean(axis=0), likelihood).mean()
    lower = {}
    for beta in (0.5, 2.0, 30.0):
        found = fits.best_affine(flat(X), 1, likelihood, beta, classes).whole
        gain = mixtures.best_component(flat(X), likelihood, beta).gain
        lower[beta] = float(found.energy) < constant + beta - 1e-6
        print(likelihood, beta, float(found.energy), constant + beta, gain)
        assert gain > 0 or not lower[beta]
    assert lower[0.5] and not lower[30.0]
    assert mixtures.best_component(flat(X), likelihood, 30.0).gain == 0.0


def test_the_best_component_of_zeros_and_ones_is_a_datum():
    X = SMALL["bernoulli"]
    for beta in (0.5, 1.0):
        component = mixtures.best_component(X, "bernoulli", beta)
        assert component.proved
        grid = np.random.default_rng(0).random((4000, 4)) ** 0.3
        places = np.concatenate([np.round(grid), grid, 1 - grid])
        center = likelihoods.nats(X, X.mean(axis=0), "bernoulli")
        exponent = (center - likelihoods.nats_between(X, places, "bernoulli")) / beta
        brute = np.log(np.exp(exponent).mean(axis=1)).max()
        assert component.gain == pytest.approx(brute, abs=1e-9)


def test_least_beta_is_where_the_criterion_begins_to_hold():
    X = SMALL["bernoulli"]
    beta = mixtures.least_beta(X, "bernoulli", 0.1)
    assert mixtures.best_component(X, "bernoulli", beta).gain == 0.0
    assert mixtures.best_component(X, "bernoulli", 0.8 * beta).gain > 0.0


# Verdicts


def test_some_kinds_are_recognized():
    rows = [kinds.diagnosed(specimen) for specimen in kinds.few()]
    assert {row.kind for row in rows} == {Collapse.LOCAL, Collapse.GAMMA}
    for row in rows:
        assert row.exported == row.required == row.kind, row


@pytest.mark.slow
def test_every_kind_is_recognized():
    rows = [kinds.diagnosed(specimen) for specimen in kinds.specimens()]
    print("\n" + "\n".join(map(str, rows)))
    assert len(rows) >= 16
    assert all(row.right for row in rows), [row for row in rows if not row.right]
    assert sum(row.exported == row.kind for row in rows) > 0.8 * len(rows)


def perceptrons(X, beta, latent=2, width=24, steps=3000):
    """A Bernoulli VAE of two perceptrons, trained on all data by one draw a step: an export."""
    d = X.shape[1]
    shapes = ((d, width), (width, 2 * latent), (latent, width), (width, d))
    keys = jax.random.split(jax.random.key(0), len(shapes))
    start = [
        (jax.random.normal(key, shape) / math.sqrt(shape[0]), jnp.zeros(shape[1]))
        for key, shape in zip(keys, shapes, strict=True)
    ]

    def net(first, second, a):
        return jnp.tanh(a @ first[0] + first[1][None]) @ second[0] + second[1][None]

    def encode(params):
        return jnp.split(net(*params[:2], jnp.asarray(X)), 2, axis=1)

    def decode(params, z):
        return net(*params[2:], z)

    def loss(params, key):
        mean, log_std = encode(params)
        u = decode(params, mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape))
        terms = jnp.sum(jax.nn.softplus(u) - X * u, axis=1)
        kl = 0.5 * jnp.sum(jnp.exp(2 * log_std) - 1 - 2 * log_std + mean**2, axis=1)
        return jnp.mean(terms + beta * kl)

    train = optimize.descend_noisily(optax.adam(5e-3), steps, "adam")
    params = jax.jit(lambda start: train(loss, start, jax.random.key(1)).params)(start)
    mean, log_std = encode(params)
    noise = jax.random.normal(jax.random.key(2), (2, *mean.shape))
    points = {
        "reconstruction": mean,
        "sampled_reconstruction": mean + jnp.exp(log_std) * noise[0],
        "prior_reconstruction": noise[1],
    }
    answers = {name: jax.nn.sigmoid(decode(params, z)) for name, z in points.items()}
    arrays = {"x": X, "mean": mean, "log_std": log_std, **answers}
    return {name: np.asarray(a) for name, a in arrays.items()} | {
        "beta": beta,
        "likelihood": "bernoulli",
    }


@pytest.mark.slow
def test_networks_collapse_above_the_threshold_and_live_below_it():
    X = kinds.pixels(d=16)
    leading = theory.collapse_ratios(X, "bernoulli")[0]
    above, below = (diagnose.arrays(**perceptrons(X, share * leading)) for share in (2.5, 0.4))
    print(leading, above.label, above.change, below.label, below.kl)
    assert not above.active.any() and above.kind in (Collapse.GAMMA, Collapse.UNDECIDED)
    assert above.pays == -1
    assert below.active.any() and below.kind in (Collapse.NONE, Collapse.UNDECIDED)


@pytest.fixture(scope="module")
def collapsed():
    """Zeros and ones, a constant decoder, as an .npz has it."""
    X = kinds.pixels(d=12)[:120]
    off = np.zeros((len(X), 3))
    return {
        "x": X,
        "mean": off,
        "log_std": off,
        "reconstruction": np.tile(X.mean(axis=0), (len(X), 1)),
        "likelihood": "bernoulli",
    }


def test_one_grey_pixel_changes_nothing_and_other_scales_are_told_what_to_do(collapsed):
    x = collapsed["x"]
    base = diagnose.arrays(**collapsed)
    assert base.label.startswith("(v) a bad local optimum, or training has not ended: 3 of 3")
    grey = x.copy()
    grey[3, 5] = 0.4
    assert diagnose.arrays(**collapsed | {"x": grey}).kinds.tolist() == base.kinds.tolist()
    for changed, remedy in (
        (255 * x, r"x in \[0, 1\] .* from 0 to 255; give x as the loss had it, x / 255 for bytes"),
        (2 * x - 1, r"from -1 to 1; .*\(x \+ 1\) / 2"),
        ((x - 0.3) / 0.1, "before it was standardized"),
    ):
        with pytest.raises(ValueError, match=remedy):
            diagnose.arrays(**collapsed | {"x": changed})
    logits = np.full_like(x, -2.0)
    with pytest.raises(ValueError, match=r"reconstruction in \[0, 1\].*sigmoid\(logits\)"):
        diagnose.arrays(**collapsed | {"reconstruction": logits})
    with pytest.raises(ValueError, match="probabilities, got zeros and ones alone"):
        diagnose.arrays(**collapsed | {"reconstruction": x})


def test_a_verdict_does_not_depend_on_which_value_is_one_or_on_order(collapsed):
    base = diagnose.arrays(**collapsed)
    order = np.random.default_rng(0).permutation(12)
    names = ("x", "reconstruction")
    for change in (lambda a: 1 - a, lambda a: a[:, order], lambda a: a.reshape(-1, 4, 3)):
        changed = diagnose.arrays(**collapsed | {name: change(collapsed[name]) for name in names})
        assert changed.kinds.tolist() == base.kinds.tolist()
        assert changed.energy == pytest.approx(base.energy, rel=1e-12)
        assert changed.residual == pytest.approx(base.residual, rel=1e-9, abs=1e-12)


def test_repeated_rows_are_one_datum_and_few_patterns_are_not(collapsed):
    first = np.unique(collapsed["x"], axis=0, return_index=True)[1][:40]
    once = {k: v[first] for k, v in collapsed.items() if k != "likelihood"}
    repeated = {k: np.tile(v, (3, 1)) for k, v in once.items()}
    several, one = (
        diagnose.arrays(**arrays, likelihood="bernoulli") for arrays in (repeated, once)
    )
    assert several.distinct == one.distinct == 40
    assert several.kind in (one.kind, Collapse.UNDECIDED)
    patterns = np.array([[1.0] * 6, [0.0] * 6])
    off = np.zeros((58, 1))
    for counts, distinct, kind in (
        ((29, 29), 2, Collapse.UNDECIDED),  # two data, 29 times over
        ((31, 27), 58, Collapse.LOCAL),
    ):
        x = np.repeat(patterns, counts, axis=0)
        center = np.tile(x.mean(axis=0), (58, 1))
        found = diagnose.arrays(x, off, off, center, likelihood="bernoulli")
        assert (found.kind, found.distinct) == (kind, distinct)


# Doors


def test_who_says_nothing_is_asked(collapsed, tmp_path, vaesurface):
    silent = {k: v for k, v in collapsed.items() if k != "likelihood"}
    with pytest.raises(ValueError, match=r"got neither, and x lies in \[0, 1\]; give likelihood="):
        diagnose.arrays(**silent)
    with pytest.raises(ValueError, match="expected gamma or likelihood, got neither; give gamma"):
        diagnose.arrays(**silent | {"x": 3 * silent["x"]})
    for likelihood, message in (
        ("gaussian", "expected gamma with likelihood='gaussian'"),
        ("laplace", "expected likelihood as one of gaussian, bernoulli, poisson, categorical"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnose.arrays(**silent, likelihood=likelihood)
    np.savez(tmp_path / "silent.npz", **silent)
    code, _, err = vaesurface(f"diagnose {tmp_path / 'silent.npz'}")
    assert code == 2 and "likelihood='bernoulli'" in err and len(err.splitlines()) == 1
    np.savez(tmp_path / "said.npz", **collapsed)
    code, out, _ = vaesurface(f"diagnose {tmp_path / 'said.npz'} --json")
    assert code == 0
    result = json.loads(out)
    assert result["kind"] == "LOCAL" and result["likelihood"]["name"] == "bernoulli"
    assert "Train on" in result["change"]


def test_two_values_with_a_gamma_get_one_answer_in_all_units(collapsed):
    silent = {k: v for k, v in collapsed.items() if k != "likelihood"}
    grey = silent["x"].copy()
    grey[3, 5] = 0.4
    stated, asked = set(), set()
    for x, scale, shift in (
        (silent["x"], 1.0, 0.0),
        (silent["x"], 255.0, 0.0),
        (silent["x"], 2.0, -1.0),
        (grey, 1.0, 0.0),
    ):
        moved = {
            "x": scale * x + shift,
            "reconstruction": scale * silent["reconstruction"] + shift,
            "gamma": 0.05 * scale**2,
        }
        doubtful = diagnose.arrays(**silent | moved)
        asked.add((doubtful.label, doubtful.change))
        stated.add(diagnose.arrays(**silent | moved, likelihood="gaussian").label)
        assert diagnose.arrays(**silent | moved, learned_gamma=False).kind == Collapse.LOCAL
    assert len(stated) == len(asked) == 1
    assert asked.pop()[1].startswith("Say what the likelihood is: likelihood='bernoulli'")
    assert stated.pop().startswith("(v)")


def test_labels_are_one_hot_and_functions_take_a_likelihood():
    X = kinds.words(groups=4, classes=3)[:80]
    off = np.zeros((len(X), 1))
    answers = np.tile(X.mean(axis=0), (len(X), 1, 1))
    arrays = {"mean": off, "log_std": off, "reconstruction": answers, "likelihood": "categorical"}
    labels = diagnose.arrays(x=X.argmax(axis=2), **arrays)
    assert labels.label == diagnose.arrays(x=X, **arrays).label
    found = diagnose.functions(
        X.argmax(axis=2),
        lambda x: (off, off),
        lambda z: np.broadcast_to(X.mean(axis=0), (len(z), *X.shape[1:])),
        likelihood="categorical",
    )
    assert found.kind == labels.kind
    with pytest.raises(ValueError, match="classes last, or labels from 0 to 2"):
        diagnose.arrays(x=X.argmax(axis=2) + 1, **arrays)
    with pytest.raises(ValueError, match="one-hot or probabilities over its last axis"):
        diagnose.arrays(x=2 * X, **arrays)
    with pytest.raises(ValueError, match="x >= 0 with likelihood='poisson'"):
        diagnose.arrays(x=X - 1, **arrays | {"likelihood": "poisson"})


def test_what_is_not_built_is_refused():
    X = SMALL["bernoulli"]
    for options, message in (
        ({"alpha": 0.1}, "expected alpha=0 with activation=None, an affine decoder"),
        ({"likelihood": "student"}, "expected likelihood as one of"),
        ({"likelihood": "negative binomial"}, "expected dispersion=r with likelihood="),
        (
            {"posterior": "wide"},
            "expected posterior='diagonal', 'full', 'low rank R' or 'amortized', got wide",
        ),
        ({"likelihood": "bernoulli", "gamma": 1.0}, "expected no gamma with likelihood="),
        ({"likelihood": "bernoulli", "beta": 0.0}, "expected beta > 0, got beta = 0.0"),
        ({"likelihood": "bernoulli", "latent": 5}, "expected 1 <= latent <= 4"),
        ({"likelihood": "bernoulli", "latent": 1.5}, "expected a whole number of latents"),
        ({"likelihood": "bernoulli", "X": 2 * X}, r"expected X in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.elementwise_vae(**{"X": X, "latent": 1} | options)
    with pytest.raises(ValueError, match=r"at most 3 latents or 3 dimensions of the classes"):
        vae.elementwise_vae(np.eye(5), 4, likelihood="categorical")
    problem = vae.elementwise_vae(X, 1, likelihood="bernoulli")
    with pytest.raises(ValueError, match="expected a Gaussian decoder, got likelihood='bernoulli'"):
        theory.collapse_threshold(problem, problem.collapsed())
