"""A traced function as a flat list of operations on numbered values: calls inlined, dead ends left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}  # and the parameter with what they call

# By their names, as not every version of JAX has all of them.
_REDUCTIONS = {f"reduce_{kind}" for kind in ("sum", "max", "min", "prod", "and", "or")}
_OF_ELEMENTS = {
    *("add", "add_any", "sub", "mul", "div", "rem", "neg", "sign", "abs", "max", "min", "pow", "integer_pow", "square"),
    *("one_minus_square", "sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "lgamma", "digamma", "floor", "ceil", "round", "is_finite", "nextafter"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor"),
    *("shift_left", "shift_right_logical", "shift_right_arithmetic"),
    *("select_n", "clamp", "convert_element_type", "reduce_precision", "stop_gradient", "copy"),
}


@dataclass(frozen=True)
class Op:
    """One operation: the equation it came from, and the numbers of the values (or the literals) it takes and gives."""

    equation: Any
    takes: tuple[Any, ...]
    gives: tuple[int, ...]

    @property
    def primitive(self) -> Any:
        return self.equation.primitive

    @property
    def params(self) -> dict[str, Any]:
        return self.equation.params

    @property
    def is_of_elements(self) -> bool:
        """Whether it is a function of single elements: of operands of its result's shape, of 1 along an axis, or scalar."""
        return self.primitive.name in _OF_ELEMENTS

    @property
    def is_reduction(self) -> bool:
        """Whether it sums, or finds the largest or smallest, over axes."""
        return self.primitive.name in _REDUCTIONS

    @property
    def is_transpose(self) -> bool:
        return self.primitive is p.transpose_p

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product in float32, the one type whose speeds were measured."""
        if self.primitive is not p.dot_general_p or self.params["out_sharding"] is not None:
            return False
        return all(v.aval.dtype == np.float32 for v in self.equation.invars)

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution in float32."""
        return self.primitive is p.conv_general_dilated_p and all(
            v.aval.dtype == np.float32 for v in self.equation.invars
        )

    @property
    def is_spread(self) -> bool:
        """Whether it repeats an array along new axes."""
        return self.primitive is p.broadcast_in_dim_p and len(self.takes) == 1


class Flat:
    """``ops`` on values numbered from 0; ``shapes`` of all; ``outputs`` are numbers or literals; ``constants`` by number."""

    def __init__(self, traced: core.ClosedJaxpr):
        self.shapes: list[tuple[int, ...]] = []
        self.constants: dict[int, Any] = {}
        ops: list[Op] = []
        self.inputs = [self._new(v) for v in traced.jaxpr.invars]
        self.outputs = self._inline(traced, self.inputs, ops)
        self.ops = _live(ops, self.outputs)

    def _new(self, variable: Any) -> int:
        self.shapes.append(tuple(getattr(variable.aval, "shape", ())))
        return len(self.shapes) - 1

    def _inline(self, closed: core.ClosedJaxpr, takes: Sequence[Any], ops: list[Op]) -> list[Any]:
        numbers: dict[Any, Any] = dict(zip(closed.jaxpr.invars, takes, strict=True))
        for variable, constant in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            numbers[variable] = self._new(variable)
            self.constants[numbers[variable]] = constant
        number_of = lambda v: v if isinstance(v, core.Literal) else numbers[v]
        for equation in closed.jaxpr.eqns:
            arguments = [number_of(v) for v in equation.invars]
            called = equation.params.get(_INLINED.get(equation.primitive.name, ""))
            if called is not None:
                gives = self._inline(called, arguments, ops)
            else:
                gives = [self._new(v) for v in equation.outvars]
                ops.append(Op(equation, tuple(arguments), tuple(gives)))
            numbers.update(zip(equation.outvars, gives, strict=True))
        return [number_of(v) for v in closed.jaxpr.outvars]


def _live(ops: Sequence[Op], outputs: Sequence[Any]) -> list[Op]:
    """The operations that an output or an effect needs."""
    needed = {v for v in outputs if isinstance(v, int)}
    kept = []
    for op in reversed(ops):
        if op.equation.effects or not needed.isdisjoint(op.gives):
            kept.append(op)
            needed.update(v for v in op.takes if isinstance(v, int))
    return kept[::-1]
