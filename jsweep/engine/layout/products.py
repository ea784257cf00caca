"""Matrix products, written in the form that moves the fewest numbers.

The product of a first and a second operand, (rows, summed) and (summed, columns) or its transpose, comes out as (rows,
columns). XLA's fast kernels take the second operand either way, and the first only with its summed axis last. Any product can
be written with its operands exchanged, and then comes out as (columns, rows).

Where lanes share a batch, only one operand has lanes, and XLA would move that one to bring its lanes and columns together.
The other one is repeated for each lane instead, which is a copy of whole rows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax import lax
from jax.extend.core import primitives as p

from jsweep.engine.layout.assignment import NARROW, Order
from jsweep.engine.layout.ir import Op
from jsweep.engine.layout.values import Laid

REPEATED = 8  # numbers copied in whole rows, in the time that one takes to be moved across rows


@dataclass(frozen=True)
class _Operand:
    """An operand with its summed axes, and the axis of the result that each of its batch and its other axes becomes."""

    value: Laid
    summed: tuple[int, ...]
    batch: dict[int, int]
    others: dict[int, int]

    @property
    def summed_last(self) -> bool:
        return set(self.value.order[self.value.rank - len(self.summed) :]) == set(self.summed)

    @property
    def result_axes(self) -> list[int]:
        """The axes of the result that come from it, as they lie in memory."""
        return [self.others[axis] for axis in self.value.order if axis in self.others]

    @property
    def leading(self) -> tuple[int, ...]:
        """The other axes that lie before the summed ones, where those behind them are too many for it to be moved."""
        places = self.places(self.summed) or (0,)
        before = tuple(axis for axis in self.others if self.value.order.index(axis) < min(places))
        behind = [axis for axis in self.others if self.value.order.index(axis) > max(places)]
        return before if behind and self.size(behind) >= NARROW else ()

    def size(self, axes: Iterable[int]) -> int:
        return math.prod(self.value.array.shape[place] for place in self.places(axes))

    def places(self, axes: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.value.order.index(axis) for axis in axes)

    def with_summed_last(self) -> "_Operand":
        order = (*[axis for axis in self.value.order if axis not in self.summed], *self.summed)
        # Without the barriers, here and below, XLA takes the transposes back into the product.
        return replace(self, value=Laid(lax.optimization_barrier(self.value.to(order)), order))

    def with_leading_as_batch(self) -> "_Operand":
        lanes = self.leading
        rest = {axis: becomes for axis, becomes in self.others.items() if axis not in lanes}
        return replace(self, batch=self.batch | {axis: self.others[axis] for axis in lanes}, others=rest)

    def repeated(self, sizes: Sequence[int], becomes: Sequence[int]) -> "_Operand":
        """The operand once for each place on new batch axes of ``sizes``, which become those axes of the result."""
        array, new = self.value.array, range(self.value.rank, self.value.rank + len(sizes))
        shape = (*sizes, *array.shape)
        array = lax.broadcast_in_dim(array, shape, tuple(range(len(sizes), len(shape))))
        value = Laid(lax.optimization_barrier(array), (*new, *self.value.order))
        return replace(self, value=value, batch=self.batch | dict(zip(new, becomes, strict=True)))


@dataclass(frozen=True)
class _Form:
    """A way to write a product: which operand is first, and whether that is transposed."""

    first: _Operand
    second: _Operand
    exchanged: bool

    @property
    def rows(self) -> int:
        return self.first.size(self.first.others)

    @property
    def columns(self) -> int:
        return self.second.size(self.second.others)

    @property
    def summed(self) -> int:
        return self.first.size(self.first.summed)

    @property
    def transposes(self) -> bool:
        """XLA's way with a first operand whose summed axis is not last is slow, but for products wide on every side."""
        return not self.first.summed_last and min(self.rows, self.columns, self.summed) <= NARROW

    @property
    def order(self) -> Order:
        """The order that the result comes out in."""
        return (*self.first.batch.values(), *self.first.result_axes, *self.second.result_axes)

    def moved(self, wanted: Order | None) -> int:
        """The numbers moved in memory beside the product itself."""
        moved = self.rows * self.summed if self.transposes else int(not self.first.summed_last)
        return moved + (2 * self.rows * self.columns if wanted not in (None, self.order) else 0)


def write_product(op: Op, left: Laid, right: Laid, wanted: Order | None) -> Laid:
    """The product of two values, in the order ``wanted``, or in the one that costs least."""
    (left_summed, right_summed), (left_batch, right_batch) = op.params["dimension_numbers"]
    one = _operand(left, left_summed, left_batch, len(left_batch))
    two = _operand(right, right_summed, right_batch, len(left_batch) + len(one.others))
    one, two = _lane_by_lane(one, two)
    form = min(_Form(one, two, False), _Form(two, one, True), key=lambda form: form.moved(wanted))
    result = Laid(_multiplied(op, form), form.order)
    if wanted in (None, form.order):
        return result
    return Laid(
        lax.optimization_barrier(replace(result, array=lax.optimization_barrier(result.array)).to(wanted)), wanted
    )


def _operand(value: Laid, summed: Sequence[int], batch: Sequence[int], begin: int) -> _Operand:
    others = [axis for axis in range(value.rank) if axis not in summed and axis not in batch]
    becomes = {axis: begin + i for i, axis in enumerate(others)}
    return _Operand(value, tuple(summed), {axis: i for i, axis in enumerate(batch)}, becomes)


def _lane_by_lane(one: _Operand, two: _Operand) -> tuple[_Operand, _Operand]:
    """Both operands with the leading axes that only one has as batch axes of both, where repeating the other costs less."""
    if one.leading and not two.leading:
        two, one = _lane_by_lane(two, one)
        return one, two
    lanes = two.leading
    sizes = [two.size([axis]) for axis in lanes]
    if one.leading or not lanes or math.prod(sizes) * one.value.array.size > REPEATED * two.value.array.size:
        return one, two
    return one.repeated(sizes, [two.others[axis] for axis in lanes]), two.with_leading_as_batch()


def _multiplied(op: Op, form: _Form) -> Any:
    first, second = form.first.with_summed_last() if form.transposes else form.first, form.second
    numbers = (
        (first.places(first.summed), second.places(second.summed)),
        (first.places(first.batch), second.places(second.batch)),
    )
    precision = op.params["precision"]
    if form.exchanged and isinstance(precision, tuple):
        precision = precision[::-1]  # of either operand
    params = {**op.params, "dimension_numbers": numbers, "precision": precision}
    return p.dot_general_p.bind(first.value.array, second.value.array, **params)
