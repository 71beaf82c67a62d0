"""What do both ends of a Hessian's spectrum cost: five pairs each, residuals of 1e-6 of the norm?

Every program says when it is done in its own way; here the residuals and the eigenvalues are
compared with the dense matrix.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.linalg.lapack import dsytrf
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from benchmarks.clock import Contender, Refused, finished, measured
from benchmarks.subjects import SMALL, Network, network
from vaesurface import curvature
from vaesurface.curvature.program import linearized

__all__ = ["ends", "factorizations", "rows"]

COUNT, TOLERANCE = 5, 1e-6
SPACE = 60  # dimension of a Krylov space that is restarted
SPACES = (240, 480, 960)  # of those that are not, tried in this order
RESTARTS = 300
STEPS = 300  # of Adam
KEY = jax.random.key(0)
OURS = "vaesurface"


class Pairs(NamedTuple):
    """Eigenvalues (2 COUNT,), ascending, and their vectors (2 COUNT, p)."""

    values: np.ndarray
    vectors: np.ndarray


class Known(NamedTuple):
    """The dense Hessian and its eigenvalues, ascending."""

    matrix: np.ndarray
    values: np.ndarray

    def error(self, pairs: Pairs) -> float:
        """The largest residual, or deviation of an eigenvalue, relative to the norm."""
        right = np.concatenate([self.values[:COUNT], self.values[-COUNT:]])
        off = np.max(np.abs(pairs.values - right))
        return float(max(self.residual(pairs), off / np.max(np.abs(self.values))))

    @property
    def loose(self) -> float:
        """ARPACK's tolerance, which is relative to each eigenvalue, for the low end."""
        return TOLERANCE * float(np.max(np.abs(self.values)) / abs(self.values[COUNT - 1]))

    def residual(self, pairs: Pairs) -> float:
        """The largest, relative to the norm; vectors are taken at length one."""
        vectors = pairs.vectors / np.linalg.norm(pairs.vectors, axis=1, keepdims=True)
        left = vectors @ self.matrix - pairs.values[:, None] * vectors
        return float(np.max(np.linalg.norm(left, axis=1)) / np.max(np.abs(self.values)))


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    yield ends(peers)
    yield factorizations()


def ends(peers: bool) -> dict[str, Any]:
    """At a trained point of a network."""
    net = network(SMALL, steps=STEPS)
    matrix = np.asarray(curvature.hessian(net.loss, net.layers))
    known = Known(matrix, np.linalg.eigvalsh(matrix))
    space = partial(curvature.extremes, net.loss, net.layers, KEY, SPACE)
    found = partial(space, count=COUNT, tolerance=TOLERANCE)
    spectrum = partial(curvature.spectrum, net.loss, net.layers)
    contenders = [
        Contender(OURS, lambda: finished(found), lambda got: known.error(ours(got))),
        Contender("vaesurface, all eigenvalues", lambda: finished(spectrum)),
        Contender("SciPy's eigsh, our products", partial(at_once, net), known.error),
        Contender(
            "SciPy's eigsh, our products, an end at a time",
            partial(on_our_products, net, known.loose),
            known.error,
            lambda _: "low end's tolerance known beforehand",
        ),
    ]
    if peers:
        contenders += [
            growing("matfree, our products", partial(matfree, net), known),
            growing("hessian-eigenthings", partial(eigenthings, net), known),
            Contender(
                "SciPy's eigsh, curvlinops, an end at a time",
                partial(on_curvlinops, net, known.loose),
                known.error,
                lambda _: "low end's tolerance known beforehand",
                compiles=False,
            ),
            Contender("PyHessian", partial(pyhessian, net, known)),
        ]
    title = f"five pairs at each end, network after {STEPS} steps of Adam, p = {net.vector.size}"
    return measured(title, contenders, unit=OURS, budget=12.0)


def ours(got: Any) -> Pairs:
    """As the others have it."""
    values, _, vectors = got
    leaves = [np.asarray(leaf).reshape(len(values), -1) for leaf in jax.tree.leaves(vectors)]
    return Pairs(np.asarray(values), np.concatenate(leaves, axis=1))


def product_of(net: Network) -> Callable[[Any], Any]:
    """Our product, linearized once."""
    product = jax.jit(lambda w: linearized(net.loss, w)[2])(net.layers)
    apply = jax.jit(lambda product, v: product(v))
    return partial(apply, product)


def operator_of(net: Network) -> LinearOperator:
    """Our products as SciPy takes them."""
    product, p = product_of(net), net.vector.size
    return LinearOperator((p, p), lambda v: np.asarray(product(v)), dtype=float)


def at_once(net: Network) -> Callable[[], Pairs]:
    """Both ends in one call, with one tolerance."""
    operator = operator_of(net)

    def call() -> Pairs:
        try:
            return in_order(arpack(operator, 2 * COUNT, "BE", TOLERANCE))
        except ArpackNoConvergence as failure:
            found = len(failure.eigenvalues)
            why = f"{found} of {2 * COUNT} pairs after {RESTARTS} restarts"
            raise Refused(f"{why}: its tolerance is relative to each eigenvalue") from None

    return call


def on_our_products(net: Network, loose: float) -> Callable[[], Pairs]:
    """ARPACK by SciPy's door."""
    return partial(by_ends, operator_of(net), loose)


def on_curvlinops(net: Network, loose: float) -> Callable[[], Pairs]:
    """ARPACK on what curvlinops makes for SciPy."""
    from benchmarks import torch_network

    operator = torch_network.curvlinops_operator(net).to_scipy(dtype=np.float64)
    return partial(by_ends, operator, loose)


def by_ends(operator: Any, loose: float) -> Pairs:
    """The low end with a tolerance of its own, and the high one."""
    low = arpack(operator, COUNT, "SA", loose)
    return in_order(low, arpack(operator, COUNT, "LA", TOLERANCE))


def arpack(operator: Any, count: int, which: str, tolerance: float) -> Pairs:
    """From the same start, in a space as large as ours."""
    start = np.random.default_rng(0).normal(size=operator.shape[0])
    options = {"ncv": SPACE, "maxiter": RESTARTS, "v0": start}
    values, vectors = eigsh(operator, count, which=which, tol=tolerance, **options)
    return Pairs(values, vectors.T)


def in_order(*parts: Pairs) -> Pairs:
    """All pairs, ascending."""
    values = np.concatenate([part.values for part in parts])
    vectors = np.concatenate([part.vectors for part in parts])
    order = np.argsort(values)
    return Pairs(values[order], vectors[order])


def growing(name: str, at: Callable[[int], Callable[[], Pairs]], known: Known) -> Contender:
    """A program that is told the dimension of its only space: the least of `SPACES` that does."""
    chosen: list[int] = []

    def make() -> Callable[[], Pairs]:
        for size in SPACES:
            call = at(size)
            if (error := known.error(call())) <= TOLERANCE:
                chosen.append(size)
                return call
        raise Refused(f"error {error:.0e} by the largest space tried, of {size}")

    def note(_: Any) -> str:
        return f"{chosen[-1]} products in a space, known beforehand"

    return Contender(name, make, known.error, note, compiles=False)  # which it did in `make`


def matfree(net: Network, size: int) -> Callable[[], Pairs]:
    """Lanczos's method with full reorthogonalization."""
    from matfree import decomp, eig

    product = product_of(net)
    start = np.random.default_rng(0).normal(size=net.vector.size)
    lanczos = eig.eigh_partial(decomp.tridiag_sym(size, reortho="full"))
    run = jax.jit(lambda v: lanczos(product, v))

    def call() -> Pairs:
        values, vectors = run(start)
        ends = np.r_[:COUNT, size - COUNT : size]
        return Pairs(np.asarray(values)[ends], np.asarray(vectors)[ends])

    return call


def eigenthings(net: Network, size: int) -> Callable[[], Pairs]:
    """A run for each end."""
    from hessian_eigenthings import lanczos

    from benchmarks import torch_network

    operator = torch_network.eigenthings_operator(net)

    def one(which: str) -> Any:
        return lanczos(operator, k=COUNT, max_iter=size, which=which, seed=0, reorthogonalize=True)

    def call() -> Pairs:
        ends = one("SA"), one("LA")
        pairs = (Pairs(end.eigenvalues.numpy(), end.eigenvectors.numpy()) for end in ends)
        return in_order(*pairs)

    return call


def pyhessian(net: Network, known: Known) -> Callable[[], Any]:
    """Raises Refused: it has power iteration, which knows no lower end."""
    import torch

    from benchmarks import torch_network

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    made, _ = torch_network.pyhessian_products(net)
    start = time.perf_counter()
    values, vectors = made.eigenvalues(maxIter=1000, tol=1e-9, top_n=COUNT)
    seconds = time.perf_counter() - start
    flat = np.stack([torch_network.joined(v).detach().numpy() for v in vectors])
    residual = known.residual(Pairs(np.array(values), flat))
    raise Refused(
        f"no lower end; five by magnitude, power iteration of up to 1000 steps each: residual "
        f"{residual:.0e} after {seconds:.1f} s"
    )


def factorizations() -> dict[str, Any]:
    """An inertia by two factorizations LDL' or by all eigenvalues."""
    matrix = np.random.default_rng(0).normal(size=(3000, 3000))
    matrix = matrix + matrix.T
    eigenvalues = jax.jit(jax.numpy.linalg.eigvalsh)

    def twice() -> None:
        for _ in range(2):
            dsytrf(matrix)

    contenders = [
        Contender("all eigenvalues", lambda: finished(eigenvalues, matrix), compiles=False),
        Contender("two factorizations LDL'", lambda: twice, compiles=False),
    ]
    return measured("inertia of a matrix, p = 3000", contenders, unit="all eigenvalues", budget=1.0)
