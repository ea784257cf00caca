"""A traced function as a flat list of operations on numbered values: calls inlined, dead ends left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}  # and the parameter with what they call

REDUCTIONS = {p.reduce_sum_p, p.reduce_max_p, p.reduce_min_p, p.reduce_prod_p, p.reduce_and_p, p.reduce_or_p}
OF_ELEMENTS = {
    *(p.add_p, p.sub_p, p.mul_p, p.div_p, p.rem_p, p.neg_p, p.sign_p, p.abs_p, p.max_p, p.min_p, p.pow_p),
    *(p.integer_pow_p, p.square_p, p.sqrt_p, p.rsqrt_p, p.cbrt_p, p.exp_p, p.exp2_p, p.expm1_p, p.log_p, p.log1p_p),
    *(p.sin_p, p.cos_p, p.tan_p, p.asin_p, p.acos_p, p.atan_p, p.atan2_p, p.sinh_p, p.cosh_p, p.tanh_p, p.asinh_p),
    *(p.acosh_p, p.atanh_p, p.logistic_p, p.erf_p, p.erfc_p, p.erf_inv_p, p.lgamma_p, p.digamma_p, p.floor_p),
    *(p.ceil_p, p.round_p, p.is_finite_p, p.eq_p, p.ne_p, p.lt_p, p.le_p, p.gt_p, p.ge_p, p.and_p, p.or_p, p.not_p),
    *(p.xor_p, p.select_n_p, p.clamp_p, p.convert_element_type_p, p.reduce_precision_p, p.stop_gradient_p),
    *(p.nextafter_p, p.copy_p, p.add_jaxvals_p),
}  # functions of single elements: operands of the result's shape, or of one element along some axes, or of none


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
