"""Functions of any framework: called in rows, in the form they take, and so that nothing notices.

PyTorch is a small stand-in here; tests/frameworks has the real one.
"""

import random
import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, diagnose
from vaesurface.diagnose import calls, tensors

X = np.linspace(-1.0, 1.0, 28).reshape(7, 4)
W = np.linspace(0.5, 1.0, 8).reshape(4, 2)


def encode(x):
    mean = x @ W
    return mean, mean * 0 - 1.0


def decode(z):
    return z @ W.T


def answered(x=X, encode=encode, decode=decode, seed=0, **options):
    return calls.answers(x, encode, decode, rng=np.random.default_rng(seed), **options)


# Any library


def test_answers_are_arguments_of_arrays():
    told = answered()
    assert list(told) == [
        "x", "mean", "log_std", "reconstruction", "sampled_reconstruction", "prior_reconstruction",
    ]  # fmt: skip
    np.testing.assert_array_equal(told["reconstruction"], decode(X @ W))
    rng = np.random.default_rng(0)
    noise, prior = rng.standard_normal((7, 2)), rng.standard_normal((7, 2))
    np.testing.assert_allclose(
        told["sampled_reconstruction"], decode(X @ W + np.exp(-1.0) * noise), rtol=1e-12
    )
    np.testing.assert_allclose(told["prior_reconstruction"], decode(prior), rtol=1e-12)


def test_rows_come_in_parts_and_answers_do_not_depend_on_them():
    sizes = []

    def counted(x):
        sizes.append(len(x))
        return encode(x)

    parted = answered(encode=counted, rows_at_a_time=3)
    assert sizes == [3, 3, 1]
    for name, whole in answered().items():
        np.testing.assert_allclose(parted[name], whole, rtol=1e-14)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_latents_are_of_the_kind_of_means(kind):
    seen = []

    def jax_encode(x):
        mean = jnp.asarray(x, kind) @ jnp.asarray(W, kind)
        return mean, jnp.zeros_like(mean)

    def jax_decode(z):
        seen.append(z)
        return z @ jnp.asarray(W.T, kind)

    told = answered(encode=jax_encode, decode=jax_decode)
    assert len(seen) == 3
    assert all(isinstance(z, jax.Array) and z.dtype == kind for z in seen)
    np.testing.assert_allclose(told["mean"], X @ W, atol=0.02)


@pytest.mark.parametrize(("means", "latents"), [("float32", "float32"), ("int32", "float64")])
def test_latents_of_numpy_have_fractions(means, latents):
    seen = []

    def noted(z):
        seen.append(z.dtype)
        return z @ np.ones((1, 4))

    answered(encode=lambda x: (np.zeros((len(x), 1), means),) * 2, decode=noted)
    assert seen == [latents] * 3


def test_a_decoder_that_sees_the_data_gets_its_rows():
    told = answered(predict=lambda z, x: x + z @ W.T, rows_at_a_time=2)
    np.testing.assert_allclose(told["reconstruction"], X + decode(X @ W), rtol=1e-12)


def test_lists_are_data_too():
    np.testing.assert_array_equal(answered(X.tolist())["mean"], X @ W)


def test_random_numbers_that_functions_draw_are_not_missing_afterwards():
    def drawing(x):
        np.random.standard_normal(3)
        random.random()
        return encode(x)

    np.random.seed(0)
    random.seed(0)
    expected = np.random.standard_normal(), random.random()
    np.random.seed(0)
    random.seed(0)
    answered(encode=drawing)
    assert (np.random.standard_normal(), random.random()) == expected


def test_what_is_no_answer_is_refused_in_one_line():
    for options, message in (
        ({"encode": lambda x: x @ W}, r"expected encode\(x\) as the pair mean, log_std, got nda"),
        ({"encode": lambda x: (1, 2, 3)}, "pair mean, log_std, got tuple of 3; return those two"),
        ({"encode": lambda x: (X @ W, X @ W), "rows_at_a_time": 3}, "each of the 3 rows asked for"),
        ({"encode": lambda x: (x @ W, x)}, r"one shape, got \(7, 2\) and \(7, 4\); give a"),
        ({"decode": lambda z: 0.0}, r"expected reconstruction with a row .* got shape \(\); ans"),
        ({"encode": lambda x: (["a"] * len(x),) * 2}, "expected real numbers as mean, got dtype"),
        ({"x": np.zeros((0, 4))}, r"expected x with one row per datum, got shape \(0, 4\)"),
        ({"x": 1.0}, r"expected x with one row per datum, got shape \(\)"),
        ({"rows_at_a_time": 0}, "expected rows_at_a_time >= 1"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            answered(**options)
        assert "\n" not in str(refused.value)


def test_what_functions_raise_says_on_what():
    def failing(z):
        raise KeyError("no such layer")

    with pytest.raises(KeyError, match="no such layer") as failed:
        answered(decode=failing, rows_at_a_time=5)
    assert failed.value.__notes__ == [
        "raised by decode, called by vaesurface with numpy.ndarray (5, 2) of float64"
    ]


def test_the_old_name_of_an_argument_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"learned of functions\(\) is now learned_gamma"):
        told = diagnose.functions(X, encode, decode, 0.5, learned=False)
    new = diagnose.functions(X, encode, decode, 0.5, learned_gamma=False)
    assert told.evidence == new.evidence
    with pytest.raises(TypeError, match=r"expected learned_gamma .* got learned too; drop learned"):
        diagnose.functions(X, encode, decode, 0.5, learned=False, learned_gamma=False)


def test_a_diagnosis_of_functions_is_that_of_their_answers():
    told = diagnose.functions(X, encode, decode, 0.5, learned_gamma=False)
    same = diagnose.arrays(**answered(), gamma=0.5, learned_gamma=False, likelihood="gaussian")
    assert told.error == same.error
    assert told.label == same.label
    keyed = [diagnose.functions(X, encode, decode, 0.5, key=jax.random.key(i)) for i in (1, 1, 2)]
    assert keyed[0].error == keyed[1].error != keyed[2].error
    raw = diagnose.functions(X, encode, decode, 0.5, key=jax.random.PRNGKey(1))
    assert raw.error == keyed[0].error


# PyTorch, as far as calls go


class Device(NamedTuple):
    type: str

    def __str__(self):
        return self.type


class Tensor:
    """Numbers that NumPy does not get at without being asked."""

    def __init__(self, numbers, device="cpu"):
        self.numbers, self.device = np.asarray(numbers), Device(device)
        self.dtype, self.shape = self.numbers.dtype, self.numbers.shape

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert this tensor to numpy")

    def __getitem__(self, rows):
        return Tensor(self.numbers[rows], self.device.type)

    def __len__(self):
        return len(self.numbers)

    def is_floating_point(self):
        return self.dtype.kind == "f"

    def to(self, device, dtype):
        return Tensor(self.numbers.astype(dtype), device.type)

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.numbers


class Module:
    """A linear map and its transpose, with parts and modes."""

    def __init__(self, device="cpu", inner=()):
        self.weight, self.training, self.inner = Tensor(W.astype(np.float32), device), True, inner
        self.log = []

    def modules(self):
        return [self, *self.inner]

    def parameters(self):
        return [self.weight]

    def buffers(self):
        return []

    def encode(self, x):
        mean = Tensor(x.numbers @ self.weight.numbers, x.device.type)
        self.log.append(([m.training for m in self.modules()], torch_state["grad"], x))
        torch_state["drawn"] += 1
        return mean, Tensor(mean.numbers * 0 - 1)

    def decode(self, z):
        self.log.append(([m.training for m in self.modules()], torch_state["grad"], z))
        return Tensor(z.numbers @ self.weight.numbers.T)

    def __call__(self, x):
        return self.encode(x)


torch_state = {"grad": True, "drawn": 0, "cuda": 0}


@pytest.fixture
def torch(monkeypatch):
    """A stand-in for the module, loaded."""

    @contextmanager
    def no_grad():
        torch_state["grad"] = False
        try:
            yield
        finally:
            torch_state["grad"] = True

    fake = ModuleType("torch")
    fake.nn, fake.Tensor, fake.no_grad = SimpleNamespace(Module=Module), Tensor, no_grad
    fake.get_rng_state = lambda: torch_state["drawn"]
    fake.set_rng_state = lambda state: torch_state.update(drawn=state)
    fake.cuda = SimpleNamespace(
        get_rng_state=lambda device: torch_state["cuda"],
        set_rng_state=lambda state, device: torch_state.update(cuda=state),
    )
    fake.clear_autocast_cache = lambda: torch_state.update(cleared=True)
    fake.get_default_dtype = lambda: np.dtype(np.float32)
    fake.as_tensor = lambda a, dtype=None, device=None: Tensor(
        np.asarray(a, dtype), device.type if device else "cpu"
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    torch_state.update(grad=True, drawn=5, cuda=7, cleared=False)
    return fake


WAYS = {
    "methods": lambda m: (m.encode, m.decode),
    "module": lambda m: (m, m.decode),
    "closures": lambda m: (lambda x: m.encode(x), lambda z: m.decode(z)),
    "partials": lambda m: (partial(Module.encode, m), partial(Module.decode, m)),
    "object": lambda m: (Holder(m).encode, Holder(m).decode),
}


class Holder:
    """An object that is no module, but has one."""

    def __init__(self, net):
        self.net = net

    def encode(self, x):
        return self.net.encode(x)

    def decode(self, z):
        return self.net.decode(z)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("x", [X, X.astype(np.float32), Tensor(X)], ids=["64", "32", "tensor"])
def test_modules_are_called_as_in_use_and_left_as_they_were(torch, way, x):
    parts = [Module(), Module()]
    parts[0].training = False  # somebody froze it
    model = Module("cuda", parts)
    told = answered(x, *WAYS[way](model))
    assert all(modes == [False] * 3 and not grad for modes, grad, _ in model.log)
    assert len(model.log) == 4
    assert all(a.device.type == "cuda" and a.dtype == np.float32 for _, _, a in model.log)
    assert [m.training for m in model.modules()] == [True, False, True]
    assert (torch_state["drawn"], torch_state["cuda"], torch_state["grad"]) == (5, 7, True)
    assert torch_state["cleared"]
    np.testing.assert_allclose(told["reconstruction"], decode(X @ W), rtol=1e-5)
    assert all(isinstance(a, np.ndarray) for a in told.values())


def test_modules_are_left_as_they_were_by_errors_too(torch):
    model = Module()

    def failing(z):
        model.log.append(model.training)
        raise ZeroDivisionError("of the user's")

    with pytest.raises(ZeroDivisionError, match="of the user's") as failed:
        answered(encode=model.encode, decode=failing)
    (note,) = failed.value.__notes__
    assert note.endswith("test_calls.Tensor (7, 2) of float32 on cpu")
    assert model.log[-1] is False
    assert (model.training, torch_state["grad"], torch_state["drawn"]) == (True, True, 5)


def test_functions_that_take_numpy_get_numpy_though_they_hold_modules(torch):
    model = Module()

    def converting(x):
        return tuple(a.numpy() for a in model.encode(Tensor(np.asarray(x, np.float32))))

    told = answered(encode=converting, decode=lambda z: model.decode(Tensor(z)).numpy())
    assert model.training
    np.testing.assert_allclose(told["reconstruction"], decode(X @ W), rtol=1e-5)


def test_tensors_that_are_asked_for_out_of_sight_are_asked_for_in_one_line(torch):
    def wanting(x):
        raise TypeError("linear(): argument 'input' must be Tensor, not numpy.ndarray")

    with pytest.raises(ValueError, match=r"expected arrays as encode takes them, .*; give x as a"):
        answered(encode=wanting)
    with pytest.raises(ValueError, match=r"as decode takes them, .*; let encode return tensors"):
        answered(decode=wanting)


def test_labels_stay_whole_and_gamma_may_be_a_tensor(torch):
    model = Module()
    moved = tensors.moved(Tensor(np.arange(3)), [model])
    assert moved.dtype == np.arange(3).dtype
    found = diagnose.functions(X, model.encode, model.decode, Tensor(0.5))
    assert found.gamma == pytest.approx(0.5)
    assert data.reals(Tensor(X)).tolist() == X.tolist()


def test_arrays_that_have_nothing_but_dlpack_are_taken():
    class Exchanged:
        def __dlpack__(self, **options):
            return X.__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    np.testing.assert_array_equal(data.reals(Exchanged()), X)
