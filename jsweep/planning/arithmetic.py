"""Arithmetic on single numbers as XLA does it in a program's types, beside the same without rounding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

TOLERANCE = 0.01  # of a number, relative: more than rounding to 32 bits does, the cancellation in 1 - 0.9999 included
MOVES = frozenset({"broadcast_in_dim", "reshape", "squeeze", "copy", "stop_gradient", "convert_element_type"})
_SMALLEST = float(np.finfo(np.float32).tiny)  # XLA takes smaller floats for 0


@dataclass(frozen=True)
class Known:
    """A number that follows from lanes and constants alone, one for each config: as a program has it, and without rounding.

    ``lanes`` names the lanes that it follows from.
    """

    rounded: np.ndarray
    exact: np.ndarray
    lanes: frozenset[str] = frozenset()

    @property
    def strays(self) -> np.ndarray:
        """For which configs the two are not the same number."""
        return ~close(self.rounded, self.exact)


def close(one: Any, other: Any) -> Any:
    """Whether numbers are equal but for rounding."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    with np.errstate(all="ignore"):
        return (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= TOLERANCE * np.abs(b))


def known(values: Any, dtype: np.dtype, lanes: frozenset[str] = frozenset()) -> Known:
    """Python numbers in the type that a program has for them."""
    array = np.atleast_1d(np.asarray(values))
    return Known(_rounded(array, dtype), array.astype(_wide(array.dtype)), lanes)


def constant(value: Any) -> Known | None:
    """A constant of a program; None unless it is a single number."""
    if np.ndim(value) or jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key):
        return None
    array = np.asarray(value)
    return known(array, array.dtype) if array.dtype.kind in "biufV" else None


def evaluated(equation: core.JaxprEqn, operands: Sequence[Known]) -> Known | None:
    """The result of an operation on known numbers; None where it is none of those written here."""
    function = _FUNCTIONS.get(equation.primitive.name)
    if function is None:
        return None
    is_whole = np.issubdtype(operands[-1].rounded.dtype, np.integer)
    apply = lambda *arrays: np.asarray(function(*arrays, **{**equation.params, "is_whole": is_whole}))
    dtype = np.dtype(getattr(equation.outvars[0].aval, "dtype", np.float32))
    with np.errstate(all="ignore"):
        rounded = _rounded(apply(*(operand.rounded for operand in operands)), dtype)
        exact = apply(*(operand.exact for operand in operands)).astype(_wide(dtype))
    return Known(rounded, exact, frozenset[str]().union(*(operand.lanes for operand in operands)))


def _rounded(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``array`` in another type, as XLA has it: whole numbers wrap round, and there are no subnormal floats."""
    with np.errstate(all="ignore"):
        if np.issubdtype(dtype, np.integer) and array.dtype.kind == "f":
            array = np.nan_to_num(array).astype(np.int64)
        rounded = np.atleast_1d(array.astype(dtype))
        if dtype.kind in "fV":
            rounded = np.where(np.abs(rounded.astype(np.float64)) < _SMALLEST, np.zeros((), dtype), rounded)
    return rounded


def _wide(dtype: np.dtype) -> type:
    return np.bool_ if dtype == np.bool_ else np.float64


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays, **_: function(*arrays)


def _of_bits(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of truth values or whole numbers, which are floats where they are exact."""
    return lambda *arrays, **_: function(*(a if a.dtype.kind in "bi" else a.astype(np.int64) for a in arrays))


def _divided(a: np.ndarray, b: np.ndarray, is_whole: bool, **_: Any) -> np.ndarray:
    return np.trunc(np.true_divide(a, b)) if is_whole else np.true_divide(a, b)


def _chosen(which: np.ndarray, *cases: np.ndarray, **_: Any) -> np.ndarray:
    first, *others = np.broadcast_arrays(which.astype(np.int64), *cases)
    return np.choose(first, others)


_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "rem": np.fmod,
    "pow": np.power,
    "sqrt": np.sqrt,
    "square": np.square,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "is_finite": np.isfinite,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    **{name: lambda x: x for name in MOVES},
}
_BITS = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shift_left": np.left_shift,
    "shift_right_logical": np.right_shift,
    "shift_right_arithmetic": np.right_shift,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _of_numbers(function) for name, function in _NUMBERS.items()},
    **{name: _of_bits(function) for name, function in _BITS.items()},
    "div": _divided,
    "select_n": _chosen,
    "integer_pow": lambda x, y, **_: np.power(np.asarray(x, np.float64), y),
}
