"""Whether a batch may be padded: a proof, from jaxprs, that no row of a batch looks at another one or at their number.

The loss of each row is traced for two numbers of rows. An axis that differs between the two traces is the axis of rows; every
operation on an array that has one must leave rows apart, and all else (literals, parameters, the operations themselves) must
be the same in both. What is not known to leave rows apart is taken to mix them.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
from jax.extend import core
from jaxtyping import PyTree

from jsweep._runtime.jax_internals import draws_in_any_order
from jsweep._runtime.prng import GENERATOR
from jsweep.data.splits import train_like
from jsweep.planning.traced import LaneFunctions, inner_jaxprs, shape_of

_ELEMENTWISE = frozenset(
    {
        *("add", "add_any", "sub", "mul", "div", "rem", "neg", "sign", "abs", "max", "min", "pow", "integer_pow"),
        *("square", "sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
        *("erf", "erfc", "erf_inv", "lgamma", "digamma", "floor", "ceil", "round", "is_finite", "nextafter"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor", "population_count"),
        *("shift_left", "shift_right_logical", "shift_right_arithmetic", "real", "imag", "complex", "conj"),
        *("select_n", "clamp", "convert_element_type", "reduce_precision", "stop_gradient", "copy"),
        *("optimization_barrier", "bitcast_convert_type", "sharding_constraint"),
    }
)
_CALLS = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"}
)
_LOOPS = frozenset({"scan", "while", "cond"})
_OF_SHAPES = frozenset(
    {"shape", "new_sizes", "limit_indices", "slice_sizes", "sizes", "out_sharding", "sharding", "output_shape"}
)
_OF_CALLS = frozenset({"name", "jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "debug_info", "policy"})

Pair = tuple[core.JaxprEqn, core.JaxprEqn]


class RowsMixed(Exception):
    """A batch cannot be padded; the message says why, in a few words."""


def why_rows_mix(functions: LaneFunctions, state: PyTree[jax.ShapeDtypeStruct], rows: int) -> str | None:
    """Why a batch must not be padded; None where the loss of a row is proven to depend on that row alone.

    Args:
        functions: the functions of one lane of the compile group.
        state: the shapes of its state.
        rows: a number of rows of a batch.
    """
    per_example = functions.task.per_example
    if per_example is None:
        return "the task's step does not mask padded rows"
    values = {name: functions.lanes[name].shape() for name in sorted(functions.lanes)}
    key = jax.eval_shape(lambda: jax.random.key(0, impl=GENERATOR))

    def losses(values: Mapping[str, jax.Array], state: PyTree, batch: PyTree, key: jax.Array) -> jax.Array:
        return per_example(functions.config(values), functions.whole(values, state), batch, key)

    def traced(count: int) -> core.Jaxpr:
        dims = lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype))
        return jax.make_jaxpr(losses)(values, state, jax.tree.map(dims, train_like(functions.task.data)), key).jaxpr

    try:
        _check(traced(rows), traced(rows + 1))
    except RowsMixed as mixed:
        return str(mixed)
    return None


def _check(small: core.Jaxpr, large: core.Jaxpr) -> None:
    if len(small.eqns) != len(large.eqns):
        raise RowsMixed("what it computes depends on the number of rows")
    for pair in zip(small.eqns, large.eqns, strict=True):
        _check_pair(pair)


def _check_pair(pair: Pair) -> None:
    small, large = pair
    name = small.primitive.name
    if name != large.primitive.name or not _same_literals(pair) or not _same_parameters(pair):
        raise RowsMixed(f"{name} depends on the number of rows")
    inner = list(zip(inner_jaxprs(small), inner_jaxprs(large), strict=True))
    operands = [_rows_axis(a, b) for a, b in zip(small.invars, large.invars, strict=True)]
    results = [_rows_axis(a, b) for a, b in zip(small.outvars, large.outvars, strict=True)]
    if name in _CALLS or name in _LOOPS:
        for one, other in inner:
            _check(one, other)
        return
    if all(axis is None for axis in operands):
        _check_source(small, results)
        return
    if any(axis is None for axis in results):
        raise RowsMixed(f"{name} goes over the rows of a batch")
    rule = _RULES.get(name) or next((rule for start, rule in _PREFIXES.items() if name.startswith(start)), None)
    if name in _ELEMENTWISE:
        rule = _elementwise
    if rule is None:
        raise RowsMixed(f"it is not known whether {name} keeps the rows of a batch apart")
    if not rule(small, operands, results):
        raise RowsMixed(f"{name} goes over the rows of a batch")


def _rows_axis(small: core.Var | core.Literal, large: core.Var | core.Literal) -> int | None:
    """The axis of rows of a value, which is the one that differs; None where it has none."""
    one, other = shape_of(small), shape_of(large)
    differing = [axis for axis, (a, b) in enumerate(zip(one, other)) if a != b]
    if len(one) != len(other) or len(differing) > 1:
        raise RowsMixed("an array has more than one axis of rows")
    return differing[0] if differing else None


def _same_literals(pair: Pair) -> bool:
    literals = ([v.val for v in equation.invars if isinstance(v, core.Literal)] for equation in pair)
    return all(bool((a == b) or (a != a and b != b)) for a, b in zip(*literals, strict=True))


def _same_parameters(pair: Pair) -> bool:
    small, large = (equation.params for equation in pair)
    for name, value in small.items():
        if (
            name in _OF_SHAPES
            or name in _OF_CALLS
            or name == "branches"
            or isinstance(value, core.Jaxpr | core.ClosedJaxpr)
        ):
            continue
        text, other = repr(value), repr(large.get(name))
        if text != other and " at 0x" not in text:
            return False
    return True


def _check_source(equation: core.JaxprEqn, results: Sequence[int | None]) -> None:
    """An array that has rows without being made from one: what its row i holds must not depend on how many there are."""
    name = equation.primitive.name
    varying = [axis for axis in results if axis is not None]
    if not varying or name in ("broadcast_in_dim", "iota", "empty", "empty2"):
        return
    if name in ("random_bits", "threefry2x32") and varying == [0] and draws_in_any_order(equation):
        return  # the bits of the first rows are the same however many there are
    raise RowsMixed(f"{name} draws or makes an array by the number of rows")


Rule = Callable[[core.JaxprEqn, Sequence[int | None], Sequence[int | None]], bool]


def _elementwise(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return {axis for axis in operands if axis is not None} == set(results)


def _reshape(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    before, after = shape_of(equation.invars[0]), shape_of(equation.outvars[0])
    prefix = lambda shape, axis: math.prod(shape[: axis or 0])
    return equation.params.get("dimensions") is None and prefix(before, operands[0]) == prefix(after, results[0])


def _transpose(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return equation.params["permutation"][results[0]] == operands[0]


def _broadcast(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return operands[0] is not None and equation.params["broadcast_dimensions"][operands[0]] == results[0]


def _squeeze(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return operands[0] not in equation.params["dimensions"]


def _over_axes(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    """Reductions, sorting, cumulating: over the axes that a parameter names."""
    axes = next(
        equation.params[name] for name in ("axes", "axis", "dimension", "dimensions") if name in equation.params
    )
    named = set(axes) if isinstance(axes, tuple | list) else {axes}
    return named.isdisjoint(axis for axis in operands if axis is not None) and len(set(operands) - {None}) == 1


def _dot(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    contracted, batch = equation.params["dimension_numbers"]
    if any(axis in summed for axis, summed in zip(operands, contracted)):
        return False
    if None in operands:
        return all(axis is None or axis not in dims for axis, dims in zip(operands, batch))
    left, right = (list(dims).index(axis) if axis in dims else -1 for axis, dims in zip(operands, batch))
    return left == right >= 0


def _convolution(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    numbers = equation.params["dimension_numbers"]
    alone = operands[1] is None and equation.params["batch_group_count"] == 1
    return alone and operands[0] == numbers.lhs_spec[0] and results[0] == numbers.out_spec[0]


def _concatenate(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return set(operands) == {results[0]} and equation.params["dimension"] != results[0]


def _slice(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    axis = operands[0] or 0
    strides = equation.params["strides"]
    whole = shape_of(equation.outvars[0])[axis] == shape_of(equation.invars[0])[axis]
    return whole and equation.params["start_indices"][axis] == 0 and (strides is None or strides[axis] == 1)


def _dynamic_slice(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    axis = operands[0]
    whole = axis is not None and equation.params["slice_sizes"][axis] == shape_of(equation.invars[0])[axis]
    return whole and all(other is None for other in operands[1:])


def _pad(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    return operands[0] is not None and tuple(equation.params["padding_config"][operands[0]]) == (0, 0, 0)


def _windows(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    axis = operands[0]
    if axis is None or equation.params["window_dimensions"][axis] != 1:
        return False
    strides, padding = equation.params["window_strides"], equation.params["padding"]
    return strides[axis] == 1 and tuple(padding[axis]) == (0, 0)


def _gather(equation: core.JaxprEqn, operands: Sequence[int | None], results: Sequence[int | None]) -> bool:
    numbers, source, indices = equation.params["dimension_numbers"], operands[0], operands[1]
    batch = [axis for axis in range(len(shape_of(equation.outvars[0]))) if axis not in numbers.offset_dims]
    if source is None:
        return indices is not None and indices < len(batch) and batch[indices] == results[0]
    paired = list(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims))
    if indices is not None:
        return (source, indices) in paired
    kept = [a for a in range(len(shape_of(equation.invars[0]))) if a not in numbers.collapsed_slice_dims]
    kept = [a for a in kept if a not in numbers.operand_batching_dims]
    whole = equation.params["slice_sizes"][source] == shape_of(equation.invars[0])[source]
    return whole and source in kept and source not in numbers.start_index_map


_RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "expand_dims": _broadcast,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "concatenate": _concatenate,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "gather": _gather,
    "sort": _over_axes,
    "rev": _over_axes,
    "split": _over_axes,
    "top_k": lambda equation, operands, results: operands[0] != len(shape_of(equation.invars[0])) - 1,
}
_PREFIXES: dict[str, Rule] = {
    "reduce_window": _windows,
    "reduce_precision": _elementwise,
    "reduce_": _over_axes,
    "arg": _over_axes,
    "cum": _over_axes,
}
