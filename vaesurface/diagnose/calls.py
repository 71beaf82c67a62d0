"""What do an encoder and a decoder answer to data? Functions of any framework in, NumPy arrays out.

NumPy's functions, JAX's, TensorFlow's, Keras' and PyTorch's are called with arrays of their own
kind, some rows at a time. Draws are NumPy's. No framework is imported; what PyTorch keeps (modes,
gradients, random state) is left as it was found.

>>> rng = np.random.default_rng(0)
>>> told = answers(np.eye(3), lambda x: (x[:, :1], 0 * x[:, :1]), lambda z: z * np.ones(3), rng=rng)
>>> told["reconstruction"]
array([[1., 1., 1.],
       [0., 0., 0.],
       [0., 0., 0.]])
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from vaesurface.data import plain, reals
from vaesurface.diagnose import tensors
from vaesurface.refusal import complaint, whole

__all__ = ["ROWS", "answers"]

ROWS = 512  # of data that a function is called with at a time


def answers(
    x: Any,
    encode: Callable[[Any], tuple[Any, Any]],
    decode: Callable[[Any], Any],
    *,
    predict: Callable[[Any, Any], Any] | None = None,
    rng: np.random.Generator,
    rows_at_a_time: int = ROWS,
) -> dict[str, np.ndarray]:
    """Arguments of `diagnose.arrays` by name: x, mean, log_std, reconstruction,
    sampled_reconstruction and prior_reconstruction.

    x (n, ...), of any library; encode(x) -> mean, log_std (n, k); decode(z (n, k)) -> (n, ...);
    predict(z, x) in its place where the decoder sees the datum too; rng: of the draws from
    posteriors and prior. A module of PyTorch's, and a method of one, takes tensors; so does a
    function that refers to modules, unless it takes NumPy arrays. Raises ValueError for answers
    that are not a row per datum, and what the functions raise, with a note that says on what.
    """
    data, at_a_time = _cut(x), whole("rows_at_a_time", rows_at_a_time, 1)
    parts = [slice(i, i + at_a_time) for i in range(0, len(data), at_a_time)]
    encoder = _Call("encode", encode)
    decoder = _Call("decode", decode) if predict is None else _Call("predict", predict)
    with _undisturbed(encoder, decoder, data):
        pairs = [_pair(encoder(data[part])) for part in parts]
        mean, log_std = (
            reals(_joined(name, [pair[side] for pair in pairs], parts, len(data)), name)
            for side, name in enumerate(("mean", "log_std"))
        )
        if mean.shape != log_std.shape:
            got = f"{mean.shape} and {log_std.shape}"
            raise complaint("mean and log_std of one shape", got, "give a deviation per mean")

        def decoded(z: np.ndarray) -> np.ndarray:
            latents = [_of_kind(z[part], pairs[0][0]) for part in parts]
            seen = [()] * len(parts) if predict is None else [(data[part],) for part in parts]
            answered = [decoder(z, *more) for z, more in zip(latents, seen, strict=True)]
            return _joined("reconstruction", answered, parts, len(data))

        noise, draws = rng.standard_normal(mean.shape), rng.standard_normal(mean.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that has blown up
            drawn = mean + np.exp(log_std) * noise
        return {
            "x": plain(data),
            "mean": mean,
            "log_std": log_std,
            "reconstruction": decoded(mean),
            "sampled_reconstruction": decoded(drawn),
            "prior_reconstruction": decoded(draws),
        }


class _Call:
    """A function of the user's, called with rows in the form that it takes."""

    def __init__(self, name: str, function: Callable) -> None:
        self.name, self.function = name, function
        self.modules = tensors.modules(function)
        self.takes_tensors = tensors.is_of_a_module(function)

    def __call__(self, *rows: Any) -> Any:
        if self.takes_tensors or any(tensors.is_tensor(a) for a in rows):
            return self._called(*(self._tensor(a) for a in rows))
        try:
            return self._called(*rows)
        except (TypeError, AttributeError, RuntimeError) as error:
            # What PyTorch says of arrays, or what arrays lack of what tensors have.
            if not self.modules and "numpy.ndarray" not in str(error):
                raise
            if not self.modules:
                got = f"{type(error).__name__}: {error}"
                encodes = self.name == "encode"
                remedy = "give x as a tensor" if encodes else "let encode return tensors"
                raise complaint(f"arrays as {self.name} takes them", got, remedy) from error
        self.takes_tensors = True
        return self._called(*(self._tensor(a) for a in rows))

    def _tensor(self, rows: Any) -> Any:
        if tensors.is_tensor(rows):
            return tensors.moved(rows, self.modules)
        return tensors.tensor(plain(rows), self.modules)

    def _called(self, *rows: Any) -> Any:
        try:
            return self.function(*rows)
        except Exception as error:
            told = " and ".join(_described(a) for a in rows)
            error.add_note(f"raised by {self.name}, called by vaesurface with {told}")
            raise


def _described(rows: Any) -> str:
    kind = type(rows)
    device = f" on {rows.device}" if tensors.is_tensor(rows) else ""
    return f"{kind.__module__}.{kind.__qualname__} {tuple(rows.shape)} of {rows.dtype}{device}"


@contextmanager
def _undisturbed(encoder: _Call, decoder: _Call, data: Any) -> Iterator[None]:
    """Nothing that training hangs on is changed by calls: see `tensors.undisturbed`; nor are the
    random numbers of NumPy and Python that it draws next.
    """
    drawn, python = np.random.get_state(), random.getstate()
    try:
        with tensors.undisturbed([*encoder.modules, *decoder.modules], data):
            yield
    finally:
        np.random.set_state(drawn)
        random.setstate(python)


def _cut(x: Any) -> Any:
    """Data that slices are taken of: x, if it is an array of whatever library."""
    is_array = all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__"))
    data = x if is_array else np.asarray(x)
    if not len(data.shape) or not data.shape[0]:
        raise complaint("x with one row per datum", f"shape {tuple(data.shape)}", "give some data")
    return data


def _pair(answer: Any) -> tuple[Any, Any]:
    if isinstance(answer, tuple | list) and len(answer) == 2:
        return answer[0], answer[1]
    count = f" of {len(answer)}" if isinstance(answer, tuple | list) else ""
    got = f"{type(answer).__name__}{count}"
    raise complaint("encode(x) as the pair mean, log_std", got, "return those two")


def _joined(name: str, answers: list[Any], parts: list[slice], n: int) -> np.ndarray:
    """What was answered to parts of n data, as one array."""
    arrays = [plain(answer) for answer in answers]
    for part, rows in zip(parts, arrays, strict=True):
        asked = min(part.stop, n) - part.start
        if not rows.ndim or len(rows) != asked:
            expected = f"{name} with a row for each of the {asked} rows asked for"
            remedy = "answer to the rows that are given, not to all data"
            raise complaint(expected, f"shape {rows.shape}", remedy)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _of_kind(latents: np.ndarray, example: Any) -> Any:
    """Latents as an array of the library, and of the type, of another."""
    if tensors.is_tensor(example):
        return tensors.like(latents, example)
    jax, tensorflow = sys.modules.get("jax"), sys.modules.get("tensorflow")
    if jax is not None and isinstance(example, jax.Array):
        return jax.numpy.asarray(latents, _floating(example.dtype))
    if tensorflow is not None and tensorflow.is_tensor(example):
        return tensorflow.convert_to_tensor(latents, example.dtype)
    return latents.astype(_floating(np.asarray(example).dtype))


def _floating(kind: np.dtype) -> np.dtype:
    """A type that latents may have: this one, if it has fractions."""
    return np.dtype(float) if np.dtype(kind).kind in "biu" else np.dtype(kind)
