"""Matrix products, written in the form that moves the fewest numbers.

The product of a first and a second operand, (rows, contracted) and (contracted, columns) or its transpose, has the result
(rows, columns). XLA's fast kernels take the second operand either way, and the first only with its contracted axis last. Any
product can be written with its operands exchanged, and then has the result (columns, rows).

Where lanes share a batch, only one operand has lanes, and XLA would transpose that one to bring its lanes and columns
together. The other one is repeated for each lane instead, which copies whole rows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import lax
from jax.extend.core import primitives as p
from jaxtyping import Array

from jsweep.engine.layout.ir import Op
from jsweep.engine.layout.values import NARROW, Layout, Stored

REPEATED = 8  # numbers copied in whole rows, in the time of moving one across rows


@dataclass(frozen=True)
class _Operand:
    """An operand with its contracted axes, and the axis of the result that each of its batch and other axes becomes."""

    value: Stored
    contracted: tuple[int, ...]
    batch: dict[int, int]
    others: dict[int, int]

    @property
    def contracted_last(self) -> bool:
        return set(self.value.layout[self.value.rank - len(self.contracted) :]) == set(self.contracted)

    @property
    def result_axes(self) -> list[int]:
        """The axes of the result that come from it, as they are in memory."""
        return [self.others[axis] for axis in self.value.layout if axis in self.others]

    @property
    def leading(self) -> tuple[int, ...]:
        """The other axes before the contracted ones, where those after them are too large for the operand to be moved."""
        places = self.places(self.contracted) or (0,)
        before = tuple(axis for axis in self.others if self.value.layout.index(axis) < min(places))
        after = [axis for axis in self.others if self.value.layout.index(axis) > max(places)]
        return before if after and self.size(after) >= NARROW else ()

    def size(self, axes: Iterable[int]) -> int:
        return math.prod(self.value.array.shape[place] for place in self.places(axes))

    def places(self, axes: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.value.layout.index(axis) for axis in axes)

    def with_contracted_last(self) -> "_Operand":
        layout = (*[axis for axis in self.value.layout if axis not in self.contracted], *self.contracted)
        # Without the barriers, here and below, XLA merges the transposes into the product again.
        return replace(self, value=Stored(lax.optimization_barrier(self.value.in_layout(layout)), layout))

    def with_leading_as_batch(self) -> "_Operand":
        lanes = self.leading
        rest = {axis: becomes for axis, becomes in self.others.items() if axis not in lanes}
        return replace(self, batch=self.batch | {axis: self.others[axis] for axis in lanes}, others=rest)

    def repeated(self, sizes: Sequence[int], becomes: Sequence[int]) -> "_Operand":
        """The operand repeated along new batch axes of ``sizes``, which become the axes ``becomes`` of the result."""
        array, new = self.value.array, range(self.value.rank, self.value.rank + len(sizes))
        shape = (*sizes, *array.shape)
        array = lax.broadcast_in_dim(array, shape, tuple(range(len(sizes), len(shape))))
        value = Stored(lax.optimization_barrier(array), (*new, *self.value.layout))
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
    def contracted(self) -> int:
        return self.first.size(self.first.contracted)

    @property
    def transposes(self) -> bool:
        """XLA is slow with a first operand whose contracted axis is not last, except for products that are wide on every side."""
        return not self.first.contracted_last and min(self.rows, self.columns, self.contracted) <= NARROW

    @property
    def layout(self) -> Layout:
        """The layout of the result."""
        return (*self.first.batch.values(), *self.first.result_axes, *self.second.result_axes)

    def moved(self, wanted: Layout | None) -> int:
        """The numbers moved in memory besides the product itself."""
        moved = self.rows * self.contracted if self.transposes else int(not self.first.contracted_last)
        return moved + (2 * self.rows * self.columns if wanted not in (None, self.layout) else 0)


def emit_product(op: Op, left: Stored, right: Stored, wanted: Layout | None) -> Stored:
    """The product of two values, in the layout ``wanted`` or, for None, in the one that costs least."""
    form = _best_form(*_lane_by_lane(*_operands(op, left, right)), wanted)
    result = Stored(_emit_form(op, form), form.layout)
    if wanted in (None, form.layout):
        return result
    return Stored(
        lax.optimization_barrier(replace(result, array=lax.optimization_barrier(result.array)).in_layout(wanted)),
        wanted,
    )


def numbers_moved(op: Op, left: Layout, right: Layout, result: Layout) -> int:
    """The numbers that the best form of a product moves in memory beside itself, its operands and result in these layouts."""

    def shaped(shape: tuple[int, ...], layout: Layout) -> Stored:
        array: Any = jax.ShapeDtypeStruct(tuple(shape[axis] for axis in layout), "float32")
        return Stored(array, layout)

    operands = map(shaped, op.input_shapes, (left, right))
    return _best_form(*_operands(op, *operands), result).moved(result)


def _operands(op: Op, left: Stored, right: Stored) -> tuple[_Operand, _Operand]:
    (left_contracted, right_contracted), (left_batch, right_batch) = op.params["dimension_numbers"]
    one = _operand(left, left_contracted, left_batch, len(left_batch))
    return one, _operand(right, right_contracted, right_batch, len(left_batch) + len(one.others))


def _best_form(one: _Operand, two: _Operand, wanted: Layout | None) -> _Form:
    return min(_Form(one, two, False), _Form(two, one, True), key=lambda form: form.moved(wanted))


def _operand(value: Stored, contracted: Sequence[int], batch: Sequence[int], begin: int) -> _Operand:
    others = [axis for axis in range(value.rank) if axis not in contracted and axis not in batch]
    becomes = {axis: begin + i for i, axis in enumerate(others)}
    return _Operand(value, tuple(contracted), {axis: i for i, axis in enumerate(batch)}, becomes)


def _lane_by_lane(one: _Operand, two: _Operand) -> tuple[_Operand, _Operand]:
    """Both operands, with the leading axes of one as batch axes of both where repeating the other costs less."""
    if one.leading and not two.leading:
        two, one = _lane_by_lane(two, one)
        return one, two
    lanes = two.leading
    sizes = [two.size([axis]) for axis in lanes]
    if one.leading or not lanes or math.prod(sizes) * one.value.array.size > REPEATED * two.value.array.size:
        return one, two
    return one.repeated(sizes, [two.others[axis] for axis in lanes]), two.with_leading_as_batch()


def _emit_form(op: Op, form: _Form) -> Array:
    first, second = form.first.with_contracted_last() if form.transposes else form.first, form.second
    numbers = (
        (first.places(first.contracted), second.places(second.contracted)),
        (first.places(first.batch), second.places(second.batch)),
    )
    precision = op.params["precision"]
    if form.exchanged and isinstance(precision, tuple):
        precision = precision[::-1]  # one for each operand
    params = {**op.params, "dimension_numbers": numbers, "precision": precision}
    return p.dot_general_p.bind(first.value.array, second.value.array, **params)
