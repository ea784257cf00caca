"""A traced function as a flat list of operations on numbered values, with calls inlined and unused operations left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p
from jaxtyping import Array

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}  # and the parameter with what they call

# By their names, as not every version of JAX has all of them.
_REDUCTIONS = {f"reduce_{kind}" for kind in ("sum", "max", "min", "prod", "and", "or")}
_ELEMENTWISE = {
    *("add", "add_any", "sub", "mul", "div", "rem", "neg", "sign", "abs", "max", "min", "pow", "integer_pow", "square"),
    *("one_minus_square", "sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "lgamma", "digamma", "floor", "ceil", "round", "is_finite", "nextafter"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor"),
    *("shift_left", "shift_right_logical", "shift_right_arithmetic"),
    *("select_n", "clamp", "convert_element_type", "reduce_precision", "stop_gradient", "copy"),
}

Operand = int | core.Literal
"""A value's number, or a constant that is written where it is used."""


@dataclass(frozen=True)
class Op:
    """One operation: the equation it came from, its operands, and the numbers of its results."""

    equation: core.JaxprEqn
    inputs: tuple[Operand, ...]
    outputs: tuple[int, ...]

    @property
    def primitive(self) -> core.Primitive:
        return self.equation.primitive

    @property
    def params(self) -> dict[str, Any]:
        return self.equation.params

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        return [_shape(v) for v in self.equation.invars]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its first result."""
        return _shape(self.equation.outvars[0])

    @property
    def is_elementwise(self) -> bool:
        """Whether it is an elementwise function, of operands of its result's shape, of size 1 along an axis, or scalar."""
        return self.primitive.name in _ELEMENTWISE

    @property
    def is_reduction(self) -> bool:
        """Whether it reduces over axes to a sum, a product, or the largest or smallest."""
        return self.primitive.name in _REDUCTIONS

    @property
    def is_transpose(self) -> bool:
        return self.primitive is p.transpose_p

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product in float32, the one type whose speeds were measured."""
        if self.primitive is not p.dot_general_p or self.params["out_sharding"] is not None:
            return False
        return self.has_float32

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution in float32."""
        return self.primitive is p.conv_general_dilated_p and self.has_float32

    @property
    def is_broadcast(self) -> bool:
        """Whether it repeats an array along new axes."""
        return self.primitive is p.broadcast_in_dim_p and len(self.inputs) == 1

    @property
    def has_float32(self) -> bool:
        """Whether all its floating-point operands are float32."""
        dtypes = [np.dtype(getattr(v.aval, "dtype", np.float32)) for v in self.equation.invars]
        return all(dtype == np.float32 for dtype in dtypes if dtype.kind not in "biu")


class FlatJaxpr:
    """``ops`` on values that are numbered from 0, with the ``shapes`` of all values.

    ``outputs`` are numbers or literals; ``constants`` maps numbers to arrays.
    """

    def __init__(self, traced: core.ClosedJaxpr):
        self.shapes: list[tuple[int, ...]] = []
        self.constants: dict[int, Array] = {}
        ops: list[Op] = []
        self.inputs = [self._new(v) for v in traced.jaxpr.invars]
        self.outputs = self._inline(traced, self.inputs, ops)
        self.ops = _needed(ops, self.outputs)

    def _new(self, variable: core.Var) -> int:
        self.shapes.append(_shape(variable))
        return len(self.shapes) - 1

    def _inline(self, closed: core.ClosedJaxpr, inputs: Sequence[Operand], ops: list[Op]) -> list[Operand]:
        numbers: dict[core.Var, Operand] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        for variable, constant in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            number = self._new(variable)
            numbers[variable] = number
            self.constants[number] = constant
        operand = lambda v: v if isinstance(v, core.Literal) else numbers[v]
        for equation in closed.jaxpr.eqns:
            arguments = [operand(v) for v in equation.invars]
            params: Mapping[str, Any] = equation.params
            called = params.get(_INLINED.get(equation.primitive.name, ""))
            if called is not None:
                outputs = self._inline(called, arguments, ops)
            else:
                outputs = [self._new(v) for v in equation.outvars]
                ops.append(Op(equation, tuple(arguments), tuple(outputs)))
            numbers.update(zip(equation.outvars, outputs, strict=True))
        return [operand(v) for v in closed.jaxpr.outvars]


def _shape(variable: core.Var | core.Literal) -> tuple[int, ...]:
    """A variable's shape; () for what is not an array."""
    return tuple(getattr(variable.aval, "shape", ()))


def _needed(ops: Sequence[Op], outputs: Sequence[Operand]) -> list[Op]:
    """The operations that an output or an effect needs."""
    needed = {v for v in outputs if isinstance(v, int)}
    kept = []
    for op in reversed(ops):
        if op.equation.effects or not needed.isdisjoint(op.outputs):
            kept.append(op)
            needed.update(v for v in op.inputs if isinstance(v, int))
    return kept[::-1]
