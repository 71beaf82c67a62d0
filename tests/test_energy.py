"""The exact energy against mpmath at 50 digits, the affine model's formula, and invariances."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from vaesurface import activations, curvature, data, energy, vae

mp.mp.dps = 50


def upper(a):
    return mp.erfc(a / mp.sqrt(2)) / 2


def reference_moments(m, v, alpha):
    """E pi, E |pi| and E pi^2 by the textbook formulas at 50 digits; v = 0 is the limit."""
    if v == 0:
        value = mp.sign(m) * max(abs(m) - alpha, mp.mpf(0))
        return value, abs(value), value**2
    s = mp.sqrt(v)

    def first(a):
        return mp.npdf(a) - a * upper(a)

    def second(a):
        return (1 + a * a) * upper(a) - a * mp.npdf(a)

    a, b = (alpha - m) / s, (alpha + m) / s
    return s * (first(a) - first(b)), s * (first(a) + first(b)), v * (second(a) + second(b))


def reference_energy(X, params, alpha, gamma, beta):
    """Energy (mean per datum), gradient and the sums of the absolute values of what each adds up,
    at 50 digits.
    """

    def exact(x):
        return np.vectorize(lambda t: mp.mpf(float(t)), otypes=[object])(np.asarray(x))

    X, W, b, mu, tau = map(exact, (X, params.weight, params.bias, params.mean, params.log_std))
    (n, d), k = X.shape, W.shape[1]
    alpha, beta = mp.mpf(alpha), mp.mpf(beta)
    log_gamma = mp.log(mp.mpf(gamma)) if gamma is not None else mp.mpf(float(params.log_gamma))
    gamma = mp.exp(log_gamma)
    sums = {
        name: [np.full(np.shape(leaf), mp.mpf(0), object) for _ in range(2)]
        for name, leaf in (
            ("energy", 0.0),
            ("weight", W),
            ("bias", b),
            ("log_gamma", 0.0),
            ("mean", mu),
            ("log_std", tau),
        )
    }

    def add(name, index, value):
        total, absolute = sums[name]
        total[index] += value / n
        absolute[index] += abs(value) / n

    add("energy", (), n * d * log_gamma)
    add("log_gamma", (), mp.mpf(n * d))
    for i in range(n):
        variances = [mp.exp(2 * t) for t in tau[i]]
        for j in range(k):
            for name, index, value in (
                ("energy", (), variances[j]),
                ("energy", (), -2 * tau[i, j]),
                ("energy", (), mu[i, j] ** 2),
                ("mean", (i, j), 2 * mu[i, j]),
                ("log_std", (i, j), 2 * variances[j]),
                ("log_std", (i, j), mp.mpf(-2)),
            ):
                add(name, index, beta * value)
        for r in range(d):
            m, v = (
                mp.fdot(W[r], mu[i]),
                mp.fsum(w * w * s for w, s in zip(W[r], variances, strict=True)),
            )
            first, _, square = reference_moments(m, v, alpha)
            x = X[i, r] - b[r]
            for value in (x * x / gamma, -2 * x * first / gamma, square / gamma):
                add("energy", (), value)
                add("log_gamma", (), -value)
            add("bias", (r,), -2 * x / gamma)
            add("bias", (r,), 2 * first / gamma)
            if v == 0:  # then W's row is zero, and only the affine model has a slope there
                mass, jump = mp.mpf(alpha == 0), mp.mpf(0)
            else:
                s = mp.sqrt(v)
                mass = upper((alpha - m) / s) + upper((alpha + m) / s)
                jump = (mp.npdf((alpha - m) / s) - mp.npdf((alpha + m) / s)) / s
            # d/dm of the error is 2 E pi - 2 x P; d/dv is P - x (p+ - p-): four terms each chain
            # rule passes on.
            for by_m, by_v in ((2 * first, mass), (-2 * x * mass, -x * jump)):
                for j in range(k):
                    w = W[r, j]
                    add("weight", (r, j), by_m * mu[i, j] / gamma)
                    add("weight", (r, j), by_v * 2 * w * variances[j] / gamma)
                    add("mean", (i, j), by_m * w / gamma)
                    add("log_std", (i, j), by_v * 2 * w * w * variances[j] / gamma)
    return sums


def worst(got, total, absolute):
    """Largest error relative to the sum of absolute terms; what float64 cannot represent must
    vanish.
    """
    got = np.vectorize(lambda t: mp.mpf(float(t)), otypes=[object])(np.asarray(got))
    return max(
        abs(g - t) / max(a, mp.mpf("1e-290"))
        for g, t, a in zip(got.flat, total.flat, absolute.flat, strict=True)
    )


@pytest.mark.parametrize("weight_size", [0.0, 1e-8, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("alpha", "gamma", "beta"),
    [(0.0, None, 1.0), (1e-3, None, 1.0), (0.5, 0.3, 1.0), (2.0, None, 4.0), (10.0, 2.0, 0.5)],
)
def test_energy_and_gradient_agree_with_50_digits(weight_size, alpha, gamma, beta):
    rng = np.random.default_rng([int(1e3 * alpha), int(1e9 * weight_size)])
    X = rng.normal(size=(3, 3))
    problem = vae.threshold_vae(X, 2, alpha, gamma, beta)
    check = jax.jit(jax.value_and_grad(problem.loss))
    for spread in (1.0, 30.0):
        params = problem.collapsed()._replace(
            weight=jnp.asarray(weight_size * rng.choice([-1.0, 0.7, 1.0], size=(3, 2))),
            bias=jnp.asarray(rng.normal(size=3)),
            mean=jnp.asarray(rng.uniform(-spread, spread, size=(3, 2))),
            log_std=jnp.asarray(rng.uniform(-10.0, 3.0, size=(3, 2))),
        )
        energy, gradient = check(params)
        sums = reference_energy(X, params, alpha, gamma, beta)
        fields = [name for name in params._fields if getattr(params, name) is not None]
        errors = {name: worst(getattr(gradient, name), *sums[name]) for name in fields}
        errors["energy"] = worst(energy, *sums["energy"])
        print({name: mp.nstr(error, 2) for name, error in errors.items()})
        assert errors.pop("energy") < 1e-12
        assert max(errors.values()) < 1e-9


@pytest.mark.parametrize("reach", [0.0, 0.3, 3.0, 10.0, 30.0])
def test_threshold_moments_keep_their_digits_far_into_the_tails(reach):
    rng = np.random.default_rng(int(reach))
    s = 10 ** rng.uniform(-6, 3, 60)
    alpha = reach * s
    m = rng.uniform(-1.2, 1.2, 60) * np.where(reach > 0, alpha, s) * 10.0 ** -rng.integers(0, 9, 60)
    got = jax.jit(energy.soft_threshold)(m, s**2, alpha)
    errors = []
    for i in range(60):
        first, absolute, square = reference_moments(
            *(mp.mpf(float(t)) for t in (m[i], s[i] ** 2, alpha[i]))
        )
        mean, variance = mp.mpf(float(got.mean[i])), mp.mpf(float(got.variance[i]))
        errors.append((abs(mean - first) / absolute, abs(variance + mean**2 - square) / square))
    print("E pi, E pi^2:", *(mp.nstr(max(e), 2) for e in zip(*errors, strict=True)))
    assert max(map(max, errors)) < 1e-10


def dense_moments(f, m, v):
    """Mean and variance of f(u), u ~ N(m, v), by brute-force quadrature."""
    z, dz = np.linspace(-12, 12, 400_001, retstep=True)
    p = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * dz
    y = f(m + np.sqrt(v) * z)
    return (p * y).sum(), (p * y * y).sum() - (p * y).sum() ** 2


@pytest.mark.parametrize(
    ("ours", "f"),
    [
        (energy.identity, lambda u: u),
        (energy.relu, lambda u: np.maximum(u, 0)),
        (activations.quadrature(jnp.tanh, 64), np.tanh),
        (
            lambda m, v: energy.soft_threshold(m, v, 0.4),
            lambda u: np.sign(u) * np.maximum(abs(u) - 0.4, 0),
        ),
    ],
)
def test_moments_agree_with_brute_force(ours, f):
    for m, v in ((0.3, 0.2), (-0.7, 0.5), (0.0, 0.04)):
        np.testing.assert_allclose(
            ours(jnp.array(m), jnp.array(v)), dense_moments(f, m, v), atol=1e-8
        )


def test_quadrature_differentiates_the_expectation_even_without_variance():
    def mean(w):
        return activations.quadrature(jnp.tanh, 64)(0.5 * w, w**2).mean

    # d^2/dw^2 E tanh(0.5 w + |w| z) at 0 is tanh''(0) (0.25 + 1) = 0; the slope is 0.5
    assert jax.grad(mean)(0.0) == pytest.approx(0.5, abs=1e-12)
    numeric = (mean(0.7 + 1e-4) - 2 * mean(0.7) + mean(0.7 - 1e-4)) / 1e-8
    assert jax.hessian(mean)(0.7) == pytest.approx(float(numeric), abs=1e-6)


def test_moments_without_variance_are_the_threshold_itself():
    m = jnp.linspace(-1.0, 1.0, 41) + 1e-3
    for alpha in (0.0, 0.4):
        mean, variance = energy.soft_threshold(m, jnp.zeros_like(m), alpha)
        np.testing.assert_allclose(mean, energy.threshold(m, alpha), atol=1e-16)
        assert not jnp.any(variance)
    slope = jax.grad(energy.threshold)
    assert (slope(0.0, 0.0), slope(0.3, 0.4), slope(0.5, 0.4)) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("f", [lambda m, v: energy.soft_threshold(m, v, 0.1), energy.relu])
@pytest.mark.parametrize("v", [0.0, 1e-20, 1.0])
def test_derivatives_are_finite_up_to_the_largest_means(f, v):
    def second(m, v):
        return jax.hessian(lambda at: f(*at))((m, v))

    third = jax.jit(jax.vmap(jax.jacfwd(second, argnums=(0, 1)), (0, None)))
    for leaf in jax.tree.leaves(third(jnp.array([1e80, -1e155, 1e250]), v)):
        assert np.isfinite(leaf).all()


def test_opposite_sides_are_alike_and_what_cancels_between_them_is_exactly_zero():
    def moments(m, v, alpha):
        return energy.soft_threshold(m, v, alpha)

    v, alpha = 10.0 ** np.linspace(-60, 2, 63), np.linspace(0.0, 1.0, 63)
    bend = jax.jit(jax.vmap(jax.hessian(moments, argnums=(0, 1))))
    right, left = (bend(sign * alpha / 3, v, alpha) for sign in (1.0, -1.0))
    for n, name in enumerate(("mean", "variance")):
        (mm, mv), (_, vv) = right[n]
        (mm_left, mv_left), (_, vv_left) = left[n]
        odd = 1.0 if name == "mean" else -1.0  # derivatives by m once change this sign
        for ours, theirs in ((mm, -odd * mm_left), (vv, -odd * vv_left), (mv, odd * mv_left)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    slope = jax.vmap(jax.grad(lambda v, alpha: moments(jnp.zeros(()), v, alpha).mean))
    assert (slope(v, alpha) == 0).all()


def test_the_tail_is_accurate_as_long_as_it_is_a_normal_number():
    a = np.linspace(36.0, 37.5, 16)
    tails = energy.tail(jnp.asarray(a))
    exact = np.array([float(upper(mp.mpf(float(x)))) for x in a])
    np.testing.assert_allclose(tails.probability, exact, rtol=1e-12)


def test_gammabar_and_information_are_means_over_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 3)) + 5.0
    expected = np.mean(np.var(X, axis=0))
    assert isinstance(energy.gammabar(X), np.floating)
    for data_of in (np.asarray, jnp.asarray):
        assert energy.gammabar(data_of(X)) == pytest.approx(expected, rel=1e-14)
    mean, log_std = rng.normal(size=(2, 7, 3))
    # Twice the KL divergence of N(mu, sigma^2) from N(0, 1), by quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    z = mean[..., None] + np.exp(log_std)[..., None] * nodes
    ratio = -0.5 * nodes**2 - log_std[..., None] + 0.5 * z**2
    divergence = ratio @ (weights / weights.sum())
    np.testing.assert_allclose(
        energy.information(jnp.asarray(mean), jnp.asarray(log_std)),
        2.0 * divergence.mean(axis=0),
        rtol=1e-12,
    )


@pytest.mark.parametrize(("gamma", "beta"), [(None, 1.0), (0.3, 1.0), (None, 2.5)])
def test_without_threshold_it_is_the_affine_model_with_all_derivatives(gamma, beta):
    X = np.random.default_rng(0).normal(size=(4, 3))
    problem = vae.threshold_vae(X, 2, 0.0, gamma, beta)

    def affine(p):
        log_gamma = p.log_gamma if gamma is None else jnp.log(gamma)
        error = jnp.sum((X - p.mean @ p.weight.T - p.bias[None]) ** 2) + jnp.sum(
            jnp.exp(2 * p.log_std) @ p.weight.T**2
        )
        prior = jnp.sum(jnp.exp(2 * p.log_std) - 2 * p.log_std + p.mean**2)
        return (error * jnp.exp(-log_gamma) + beta * prior) / 4 + 3 * log_gamma

    for params in (problem.collapsed(), problem.init(jax.random.key(0), 0.7)):
        for ours, theirs in (
            (problem.loss(params), affine(params)),
            (jax.grad(problem.loss)(params), jax.grad(affine)(params)),
            (curvature.hessian(problem.loss, params), curvature.hessian(affine, params)),
        ):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), ours, theirs)


def test_hessian_at_collapse_is_finite_and_flat_in_the_weight_above_threshold_zero():
    X = data.antipodal(3)
    for alpha in (1e-6, 0.1, 10.0):
        problem = vae.threshold_vae(X, 1, alpha)
        hessian = curvature.hessian(problem.loss, problem.collapsed())
        assert np.isfinite(hessian).all()
        assert not np.any(hessian[:3])  # the weight comes first


def test_derivatives_are_finite_for_every_size_of_the_weight():
    for size in (1e-200, 1e-120, 1e-80, 1e-55, 1e-40, 1e-8):
        for alpha in (0.0, 1e-30, 0.1):
            problem = vae.threshold_vae(data.antipodal(2), 1, alpha)
            params = problem.collapsed()._replace(weight=jnp.full((2, 1), size))
            assert np.isfinite(curvature.hessian(problem.loss, params)).all()


def test_derivative_in_alpha_is_that_of_the_energy():
    X = np.random.default_rng(1).normal(size=(4, 3))

    def energy(alpha):
        return vae.threshold_vae(X, 1, alpha).loss(params)

    params = vae.threshold_vae(X, 1, 0.1).init(jax.random.key(0), 1.0)
    numeric = (energy(0.3 + 1e-6) - energy(0.3 - 1e-6)) / 2e-6
    assert jax.grad(energy)(0.3) == pytest.approx(float(numeric), rel=1e-8)
    assert np.isfinite(
        jax.grad(
            lambda alpha: vae.threshold_vae(X, 1, alpha).loss(
                params._replace(weight=0 * params.weight)
            )
        )(0.3)
    )


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_energy_scales_with_the_data_and_ignores_signed_permutations_of_latents(alpha):
    X = np.random.default_rng(2).normal(size=(5, 4))
    problem, scaled = vae.threshold_vae(X, 3, alpha), vae.threshold_vae(10 * X, 3, 10 * alpha)
    params = problem.init(jax.random.key(3), 1.0)
    larger = params._replace(
        weight=10 * params.weight,
        bias=10 * params.bias,
        log_gamma=params.log_gamma + 2 * np.log(10),
    )
    assert scaled.loss(larger) == pytest.approx(
        float(problem.loss(params)) + 8 * np.log(10), abs=1e-12
    )
    order, signs = np.array([2, 0, 1]), np.array([[1.0, -1.0, -1.0]])
    mirrored = params._replace(
        weight=params.weight[:, order] * signs,
        mean=params.mean[:, order] * signs,
        log_std=params.log_std[:, order],
    )
    assert problem.loss(mirrored) == pytest.approx(float(problem.loss(params)), abs=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent": 0}, "expected 1 <= latent <= 2"),
        ({"latent": 3}, "expected 1 <= latent <= 2"),
        ({"alpha": -0.1}, "expected alpha >= 0, got alpha = -0.1"),
        ({"alpha": np.nan}, "expected alpha >= 0"),
        ({"gamma": 0.0}, "expected gamma > 0"),
        ({"beta": -1.0}, "expected beta > 0"),
        ({"X": np.array([[1.0, np.nan], [0.0, 1.0]])}, "NaN"),
        ({"X": np.ones((3, 2))}, "expected data that vary"),
    ],
)
def test_bad_input_is_refused_at_the_door(change, message):
    arguments = {"X": data.antipodal(2), "latent": 1, "alpha": 0.1} | change
    with pytest.raises(ValueError, match=message):
        vae.threshold_vae(**arguments)


def test_float32_is_refused_with_the_way_out():
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        vae.threshold_vae(data.antipodal(2), 1, 0.1)
