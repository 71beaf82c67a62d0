"""Which operations of JAX are smooth, by their names and by where they were traced?

Those listed are analytic wherever they are finite, wrappers are what they wrap, and some functions
of JAX are smooth though a max or an abs is in them (`SMOOTH_COMPOUNDS`: logsumexp, softmax,
softplus, ...): these are recognized by the function that an operation was traced in, which JAX
keeps with each.

>>> import jax
>>> def suspected(loss):
...     return suspicious(jax.make_jaxpr(loss)(jnp.zeros(2)).jaxpr)
>>> suspected(jax.nn.logsumexp), suspected(lambda w: jnp.sum(jax.nn.relu(w)))
(False, True)
"""

from typing import Any

import jax.numpy as jnp
from jax.extend import core

__all__ = [
    "SMOOTH",
    "SMOOTH_COMPOUNDS",
    "WRAPPERS",
    "bound",
    "inner",
    "ruled",
    "suspect",
    "suspicious",
]

# Analytic wherever their result is finite, or of integers and booleans, whose branches are taken
# down where they are made.
SMOOTH = frozenset(
    """
    add add_any and asinh atan atanh broadcast_in_dim
    cholesky clz complex concatenate conj conv_general_dilated copy copy_p cos cosh cumlogsumexp
    cumprod cumsum debug_callback debug_print digamma div dot_general dynamic_slice
    dynamic_update_slice erf erf_inv erfc exp exp2 expm1 fft gather igamma igamma_grad_a igammac
    imag integer_pow iota lgamma log log1p logistic mul mulhi neg not
    optimization_barrier or pad platform_index polygamma population_count psum ragged_dot_general
    random_bits random_fold_in random_seed random_split random_unwrap random_wrap real reduce_and
    reduce_or reduce_prod reduce_sum reduce_window_sum reduce_xor regularized_incomplete_beta
    reshape rev rsqrt scatter scatter-add scatter-mul scatter_add scatter_mul scatter_sub
    select_and_gather_add select_n shift_left shift_right_arithmetic shift_right_logical sin sinh
    slice split square squeeze stack sub tan tanh tile transpose triangular_solve unstack xor zeta
    """.split()
)
# Which of them have a branch cut where they are taken of complex numbers.
CUT = frozenset("acos acosh asin asinh atan atanh cbrt log log1p pow rsqrt sqrt".split())
# The parameter that holds the jaxpr of what is only a wrapper.
WRAPPERS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
}
# Functions of these files whose results are smooth whatever their operations, wherever they are
# finite: a shift by a maximum cancels, pivots only order the equations, quadrature is of a smooth
# function by its contract, and the soft threshold's moments are what this package is about.
SMOOTH_COMPOUNDS = {
    "jax/_src/ops/special.py": {"logsumexp"},
    "jax/_src/nn/functions.py": {"softmax", "_softmax", "log_softmax", "softplus", "logmeanexp"},
    "jax/_src/lax/other.py": {"logaddexp", "logaddexp2"},
    "jax/_src/numpy/ufuncs.py": {"logaddexp", "logaddexp2", "sinc", "_sinc_maclaurin"},
    "jax/_src/numpy/linalg.py": {"slogdet", "_slogdet_lu", "det", "_det", "solve", "inv"},
    "jax/_src/scipy/special.py": {"log_ndtr", "ndtr", "_ndtr"},
    "vaesurface/energy.py": {"soft_threshold", "_thresholded"},
    "vaesurface/activations/expectation.py": {
        "expected",
        "moments",
        "_mean",
        "_within",
        "_at_cuts",
    },
    "vaesurface/activations/logistic.py": {"log1p_exp", "logistic"},
}
# Where rules for derivatives are right.
TRUSTED = (
    "/jax/_src/",
    "/flax/",
    "/optax/",
    "/vaesurface/energy.py",
    "/vaesurface/activations/expectation.py",
    "/vaesurface/blocks.py",
)
# Smooth, or of no derivative at all, on integers and booleans.
BY_VALUE = frozenset(
    """
    abs argmax argmin clamp convert_element_type cummax cummin eq eq_to ge gt le le_to lt lt_to max
    min ne reduce_max reduce_min rem sign sort top_k
    """.split()
)


def bound(eqn: Any, operands: list) -> list[Any]:
    """Outputs of an operation as it is."""
    out = eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def inner(jaxpr: Any) -> core.ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else core.ClosedJaxpr(jaxpr, ())


def _compound(eqn: Any) -> bool:
    """Whether an operation was traced in one of `SMOOTH_COMPOUNDS`."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        for file, functions in SMOOTH_COMPOUNDS.items():
            function = frame.function_name.split(".")[0]
            if function in functions and frame.file_name.endswith(file):
                return True
    return False


def suspicious(jaxpr: core.Jaxpr) -> bool:
    """Whether any operation in it may not be smooth."""
    return any(map(suspect, jaxpr.eqns))


def ruled(eqn: Any) -> bool:
    """Whether it has a derivative rule of somebody's own, which may be any."""
    if not eqn.primitive.name.startswith("custom_") or eqn.primitive.name not in WRAPPERS:
        return False
    where = inner(eqn.params[WRAPPERS[eqn.primitive.name]]).jaxpr.debug_info.func_src_info
    return not any(package in where for package in TRUSTED)


def suspect(eqn: Any) -> bool:
    name = eqn.primitive.name
    if name in CUT and jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.complexfloating):
        return True
    if name in SMOOTH or _compound(eqn):
        return False
    if ruled(eqn):
        return True
    if name in WRAPPERS or name == "scan":
        return suspicious(inner(eqn.params[WRAPPERS.get(name, "jaxpr")]).jaxpr)
    if name == "cond":
        return any(suspicious(branch.jaxpr) for branch in eqn.params["branches"])
    if name in BY_VALUE and not jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.inexact):
        return False
    return name != "convert_element_type" or jnp.issubdtype(eqn.params["new_dtype"], jnp.integer)
