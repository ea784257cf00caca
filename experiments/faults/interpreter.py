"""JAX's traced programs run with NumPy, operation by operation: compiling takes most of a small program's time.

``interpreted()`` lets jsweep's tile programs run so; `traced` makes a function run so. Other operations are left to JAX.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from scipy import special

from jsweep.engine import compiling
from jsweep.engine import program as tile_program

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_HALVES = ("bfloat16", "float16")


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
    """Run tile programs without compiling them."""
    with (
        mock.patch.object(tile_program, "jax", _Jax()),
        mock.patch.object(compiling, "compile_program", lambda lowered, device: lowered),
    ):
        yield


def traced(function: Callable[..., Any], *arguments: Any) -> "_Program":
    """``function``, traced at the shapes of these arguments and run with NumPy."""
    return _Traced(function).lower(*arguments)


class _Jax:
    """Stands for the module jax, with a `jit` whose programs are not compiled."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)

    def jit(self, function: Callable[..., Any], **_: Any) -> "_Traced":
        return _Traced(function)


class _Traced:
    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def lower(self, *arguments: Any) -> "_Program":
        jaxpr, shapes = jax.make_jaxpr(self.function, return_shape=True)(*arguments)
        return _Program(jaxpr, jax.tree.structure(shapes))


class _Program:
    """A traced program; stands for a lowered and for a compiled one."""

    digest = ""  # no fingerprint is asked for

    def __init__(self, jaxpr: core.ClosedJaxpr, tree: Any):
        self.jaxpr, self.tree = jaxpr, tree

    def as_text(self) -> str:
        return str(self.jaxpr)

    def __call__(self, *arguments: Any) -> Any:
        leaves = [_numpy(leaf) for leaf in jax.tree.leaves(arguments)]
        with np.errstate(all="ignore"):
            results = evaluate(self.jaxpr.jaxpr, self.jaxpr.consts, leaves)
        return jax.tree.unflatten(self.tree, results)


def evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[np.ndarray]:
    """What a jaxpr computes; keys are arrays of their data."""
    values: dict[core.Var, np.ndarray] = dict(zip(jaxpr.constvars, map(_numpy, consts), strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    read = lambda v: _numpy(v.val).astype(v.aval.dtype) if isinstance(v, core.Literal) else values[v]
    for equation in jaxpr.eqns:
        results = _apply(equation, [read(v) for v in equation.invars])
        for variable, result in zip(equation.outvars, results, strict=True):
            values[variable] = result if _is_key(variable.aval) else _checked(result, variable.aval)
    return [read(v) for v in jaxpr.outvars]


def _checked(result: Any, aval: Any) -> np.ndarray:
    array = np.asarray(result)
    assert array.shape == aval.shape, f"{array.shape} for {aval}"
    return array if array.dtype == aval.dtype else array.astype(aval.dtype)


def _apply(equation: core.JaxprEqn, operands: list[np.ndarray]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _LOOPS:
        return _LOOPS[name](params, *operands)
    inner = next((params[key] for key in _CALLS if key in params and name not in ("reduce", "custom_lin")), None)
    if inner is not None and "reduce_window" not in name:
        closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, [])
        return evaluate(closed.jaxpr, closed.consts, operands)
    if name in _ELEMENTWISE:
        halves = [np.asarray(x, np.float32) if str(x.dtype) in _HALVES else x for x in operands]
        return [_ELEMENTWISE[name](*halves, **_only(params, name))]
    moves_keys = any(_is_key(v.aval) for v in equation.invars) and not name.startswith("random_")
    if name in _SHAPED and not moves_keys:
        return _several(_SHAPED[name](params, equation, *operands))
    return _by_jax(equation, operands)


def _several(result: Any) -> Sequence[Any]:
    return result if isinstance(result, list | tuple) else [result]


def _only(params: dict[str, Any], name: str) -> dict[str, Any]:
    return {"y": params["y"]} if name == "integer_pow" else {}


def _by_jax(equation: core.JaxprEqn, operands: list[np.ndarray]) -> Sequence[Any]:
    typed = [
        jax.random.wrap_key_data(jnp.asarray(x), impl="threefry2x32") if _is_key(v.aval) else jnp.asarray(x)
        for x, v in zip(operands, equation.invars)
    ]
    parameters = equation.primitive.get_bind_params(dict(equation.params))
    results = equation.primitive.bind(*typed, **parameters)
    return [_numpy(r) for r in (results if equation.primitive.multiple_results else [results])]


def _numpy(value: Any) -> np.ndarray:
    if _is_key(value):
        return np.asarray(jax.random.key_data(value))
    return np.asarray(value)


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


# Loops and branches.


def _given_and_carried(params: Any) -> tuple[int, int]:
    """How many of a scan's operands are given to every round, and carried; JAX 0.11 moved these numbers into a tree."""
    if "ft_in" not in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


def _scan(params: Any, *operands: np.ndarray) -> list[np.ndarray]:
    consts, carried = _given_and_carried(params)
    fixed, carry, xs = operands[:consts], list(operands[consts : consts + carried]), operands[consts + carried :]
    body, length = params["jaxpr"], params["length"]
    rows: list[list[np.ndarray]] = []
    for i in reversed(range(length)) if params["reverse"] else range(length):
        outcome = evaluate(body.jaxpr, body.consts, [*fixed, *carry, *(x[i] for x in xs)])
        carry = outcome[:carried]
        rows.append(outcome[carried:])
    if params["reverse"]:
        rows.reverse()
    shapes = [v.aval for v in body.jaxpr.outvars[carried:]]
    stacked = [np.stack(column) for column in zip(*rows)] or [np.zeros((0, *s.shape), s.dtype) for s in shapes]
    return [*carry, *stacked]


def _while(params: Any, *operands: np.ndarray) -> list[np.ndarray]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    for_test, for_body = operands[:first], operands[first : first + second]
    carry, test, body = list(operands[first + second :]), params["cond_jaxpr"], params["body_jaxpr"]
    while evaluate(test.jaxpr, test.consts, [*for_test, *carry])[0]:
        carry = evaluate(body.jaxpr, body.consts, [*for_body, *carry])
    return carry


def _cond(params: Any, index: np.ndarray, *operands: np.ndarray) -> list[np.ndarray]:
    branches = params["branches"]
    chosen = branches[int(np.clip(int(index), 0, len(branches) - 1))]
    return evaluate(chosen.jaxpr, chosen.consts, operands)


_LOOPS = {"scan": _scan, "while": _while, "cond": _cond}


# Random numbers: threefry (Salmon et al. 2011), as jax.random draws them where it is partitionable.


def _threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[np.ndarray, np.ndarray]:
    keys = [np.asarray(k0, np.uint32), np.asarray(k1, np.uint32)]
    keys.append(keys[0] ^ keys[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = np.asarray(x0, np.uint32) + keys[0], np.asarray(x1, np.uint32) + keys[1]
    for block in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))) ^ x0
        x0, x1 = x0 + keys[(block + 1) % 3], x1 + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x0, x1


def _counted(key: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    extra = (slice(None),) * (key.ndim - 1) + (None,) * len(shape)
    return _threefry(key[..., 0][extra], key[..., 1][extra], np.zeros_like(counts), counts)


def _fold_in(params: Any, equation: Any, key: np.ndarray, data: np.ndarray) -> np.ndarray:
    return np.stack(_threefry(key[..., 0], key[..., 1], np.uint32(0), data.astype(np.uint32)), -1)


def _random_bits(params: Any, equation: Any, key: np.ndarray) -> np.ndarray:
    high, low = _counted(key, params["shape"])
    if params["bit_width"] == 64:
        return (high.astype(np.uint64) << np.uint64(32)) | low
    return (high ^ low).astype(equation.outvars[0].aval.dtype)


def _random_split(params: Any, equation: Any, key: np.ndarray) -> np.ndarray:
    return np.stack(_counted(key, tuple(params["shape"])), -1)


# Arrays.


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if np.issubdtype(x.dtype, np.integer):
        return np.where(y == 0, -1, np.trunc(x / np.where(y == 0, 1, y))).astype(x.dtype)
    return x / y


def _select_n(which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    found = cases[0]
    for number, case in enumerate(cases[1:], 1):
        found = np.where(np.asarray(which).astype(np.int64) == number, case, found)
    return found


def _clamp(low: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, low), high)


def _convert(params: Any, equation: Any, x: np.ndarray) -> np.ndarray:
    new = params["new_dtype"]
    if np.issubdtype(x.dtype, np.floating) and np.issubdtype(new, np.integer):
        limits = np.iinfo(new)
        return np.clip(np.nan_to_num(np.trunc(x)), limits.min, limits.max).astype(new)
    return x.astype(new)


def _broadcast(params: Any, equation: Any, x: np.ndarray) -> np.ndarray:
    dims = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape):
        dims[axis] = size
    return np.broadcast_to(x.reshape(dims), params["shape"])


def _dot(params: Any, equation: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    (cx, cy), (bx, by) = params["dimension_numbers"]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in x.shape]
    right = [next(letters) for _ in y.shape]
    for i, j in (*zip(cx, cy), *zip(bx, by)):
        right[j] = left[i]
    free = [a for i, a in enumerate(left) if i not in (*cx, *bx)] + [
        a for j, a in enumerate(right) if j not in (*cy, *by)
    ]
    out = [left[i] for i in bx] + free
    wide = (
        np.promote_types(np.float32, x.dtype)
        if np.issubdtype(x.dtype, np.floating) or str(x.dtype) in _HALVES
        else x.dtype
    )
    return np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", x.astype(wide), y.astype(wide))


def _slice(params: Any, equation: Any, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _starts(x: np.ndarray, sizes: Sequence[int], starts: Sequence[np.ndarray]) -> tuple[slice, ...]:
    begins = [int(np.clip(int(s), 0, n - size)) for s, n, size in zip(starts, x.shape, sizes)]
    return tuple(slice(b, b + size) for b, size in zip(begins, sizes))


def _dynamic_slice(params: Any, equation: Any, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    return x[_starts(x, params["slice_sizes"], starts)]


def _dynamic_update_slice(
    params: Any, equation: Any, x: np.ndarray, new: np.ndarray, *starts: np.ndarray
) -> np.ndarray:
    found = x.copy()
    found[_starts(x, new.shape, starts)] = new
    return found


def _reduction(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def reduce(params: Any, equation: Any, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float32) if str(x.dtype) in _HALVES else x
        return function(wide, axis=tuple(params["axes"]))

    return reduce


def _cumulation(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def cumulate(params: Any, equation: Any, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float32) if str(x.dtype) in _HALVES else x
        turned = np.flip(wide, params["axis"]) if params["reverse"] else wide
        found = function(turned, axis=params["axis"])
        return np.flip(found, params["axis"]) if params["reverse"] else found

    return cumulate


def _pad(params: Any, equation: Any, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    if any(low < 0 or high < 0 or inner for low, high, inner in params["padding_config"]):
        return _by_jax(equation, [x, value])[0]
    found = np.full(equation.outvars[0].aval.shape, value, x.dtype)
    found[tuple(slice(low, low + n) for (low, _, _), n in zip(params["padding_config"], x.shape))] = x
    return found


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ("sign", "floor", "ceil", "exp", "exp2", "log", "log1p", "expm1", "tanh", "sin")
    },
    **{
        name: getattr(np, name) for name in ("cos", "tan", "sqrt", "cbrt", "abs", "square", "sinh", "cosh", "nextafter")
    },
    "neg": np.negative,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logistic": special.expit,
    "erf": special.erf,
    "erf_inv": special.erfinv,
    "is_finite": np.isfinite,
    "not": np.invert,
    "integer_pow": lambda x, y: x**y,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "add_any": np.add,
    "div": _divide,
    "rem": np.fmod,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "select_n": _select_n,
    "clamp": _clamp,
    "stop_gradient": lambda x: x,
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "shift_left": np.left_shift,
    "shift_right_arithmetic": np.right_shift,
    "shift_right_logical": lambda x, y: x.astype(f"u{x.dtype.itemsize}") >> y.astype(f"u{x.dtype.itemsize}"),
}
_SHAPED: dict[str, Callable[..., Any]] = {
    "convert_element_type": _convert,
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, equation, x: x.transpose(params["dimensions"] or range(x.ndim)).reshape(
        params["new_sizes"]
    ),
    "squeeze": lambda params, equation, x: x.squeeze(tuple(params["dimensions"])),
    "expand_dims": lambda params, equation, x: np.expand_dims(x, tuple(params["dimensions"])),
    "transpose": lambda params, equation, x: x.transpose(params["permutation"]),
    "rev": lambda params, equation, x: np.flip(x, tuple(params["dimensions"])),
    "concatenate": lambda params, equation, *xs: np.concatenate(xs, params["dimension"]),
    "split": lambda params, equation, x: np.split(x, np.cumsum(params["sizes"])[:-1], params["axis"]),
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "pad": _pad,
    "iota": lambda params, equation: np.broadcast_to(
        np.arange(params["shape"][params["dimension"]], dtype=params["dtype"]).reshape(
            [-1 if axis == params["dimension"] else 1 for axis in range(len(params["shape"]))]
        ),
        params["shape"],
    ),
    "dot_general": _dot,
    "argmax": lambda params, equation, x: np.argmax(x, params["axes"][0]),
    "argmin": lambda params, equation, x: np.argmin(x, params["axes"][0]),
    **{f"reduce_{name}": _reduction(getattr(np, name)) for name in ("sum", "max", "min", "prod")},
    "reduce_and": _reduction(np.all),
    "reduce_or": _reduction(np.any),
    "cumsum": _cumulation(np.cumsum),
    "cumprod": _cumulation(np.cumprod),
    "cummax": _cumulation(np.maximum.accumulate),
    "cummin": _cumulation(np.minimum.accumulate),
    "optimization_barrier": lambda params, equation, *xs: list(xs),
    "random_wrap": lambda params, equation, key: key,
    "random_unwrap": lambda params, equation, key: key,
    "random_fold_in": _fold_in,
    "random_bits": _random_bits,
    "random_split": _random_split,
    "threefry2x32": lambda params, equation, *xs: list(_threefry(*xs)),
}
