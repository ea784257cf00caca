"""Which layout each value of a step is to have in memory.

A layout names, for each axis in memory, the axis of the value that it holds; ``(0, 2, 1)`` keeps a (lanes, examples,
features) array with its examples last. Values that an elementwise function connects have one layout. The step's inputs and
outputs, and all operands and results of operations of other kinds, have the default layout; the rest is free. So is the state of
a loop's step, each part of which has the same layout before and after.
"""

import math
from collections.abc import Mapping, Sequence

from jsweep.engine.layout.ir import FlatJaxpr, Op, Operand
from jsweep.engine.layout.picks import is_pick, is_put
from jsweep.engine.layout.products import numbers_moved
from jsweep.engine.layout.values import NARROW, Layout, default_layout


def choose_layouts(flat: FlatJaxpr, carried: int = 0) -> list[Layout | None]:
    """The layout chosen for each value, by its number; None where any will do.

    The first ``carried`` inputs and outputs are what a loop hands from one step to the next, each in one layout, which is
    free; such an input has one always.
    """
    group = _connected(flat, carried)
    pinned = {group[v] for v in _in_default_layout(flat, carried)}
    state = {group[v] for v in flat.inputs[:carried]} - pinned
    wanted: dict[int, Layout] = {}
    products: dict[int, set[Layout]] = {}
    for op in flat.ops:
        if op.is_product and group[op.outputs[0]] not in pinned | state:
            products.setdefault(group[op.outputs[0]], set()).add(_examples_last(op))
    for number, layouts in products.items():
        if len(layouts) == 1:
            wanted[number] = layouts.pop()
    wanted |= {number: _of_state(flat, group, number, wanted) for number in sorted(state)}
    layout_of = lambda v: default_layout(len(flat.shapes[v])) if group[v] in pinned else wanted.get(group[v])
    for op in reversed(flat.ops):  # a product that is transposed next is kept as what it is transposed to
        if op.is_transpose and isinstance(op.inputs[0], int):
            later = layout_of(op.outputs[0])
            if group[op.inputs[0]] in products and later is not None:
                wanted[group[op.inputs[0]]] = _before(op.params["permutation"], later)
    return [layout_of(v) for v in range(len(flat.shapes))]


def _of_state(flat: FlatJaxpr, group: Sequence[int], number: int, wanted: Mapping[int, Layout]) -> Layout:
    """The layout of a group of the state's values: with its last two axes exchanged where products then move fewer numbers."""
    rank = len(flat.shapes[number])
    default = default_layout(rank)
    if rank < 3 or flat.shapes[number][-1] >= NARROW:
        return default
    exchanged = (*default[:-2], rank - 1, rank - 2)
    transposes = {
        op.inputs[0]: op.params["permutation"] for op in flat.ops if op.is_transpose and group[op.outputs[0]] == number
    }
    near = [op for op in flat.ops if op.is_product and (_touches(op, group, number) or op.outputs[0] in transposes)]

    def moved(own: Layout) -> int:
        def layout_of(v: Operand) -> Layout:
            if not isinstance(v, int):
                return ()  # a number that is written where it is used
            if group[v] == number:
                return own
            if v in transposes:
                return _before(transposes[v], own)
            return wanted.get(group[v], default_layout(len(flat.shapes[v])))

        return sum(numbers_moved(op, *map(layout_of, (*op.inputs, *op.outputs))) for op in near)

    return exchanged if moved(exchanged) < moved(default) else default


def _before(permutation: Sequence[int], layout: Layout) -> Layout:
    """The layout of a value whose transpose has ``layout`` where nothing moves in memory."""
    return tuple(permutation[axis] for axis in layout)


def _touches(op: Op, group: Sequence[int], number: int) -> bool:
    return any(isinstance(v, int) and group[v] == number for v in (*op.inputs, *op.outputs))


def _connected(flat: FlatJaxpr, carried: int) -> list[int]:
    """For each value the number of its group: values of one shape that elementwise functions, or a loop, connect."""
    parent = list(range(len(flat.shapes)))

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = v = parent[parent[v]]
        return v

    for op in flat.ops:
        if op.is_elementwise or is_put(op):
            for v in op.inputs:
                if isinstance(v, int) and flat.shapes[v] == flat.shapes[op.outputs[0]]:
                    parent[root(v)] = root(op.outputs[0])
    for before, after in zip(flat.inputs[:carried], flat.outputs[:carried], strict=True):
        if isinstance(after, int):
            parent[root(before)] = root(after)
    return [root(v) for v in range(len(parent))]


def _in_default_layout(flat: FlatJaxpr, carried: int) -> set[int]:
    """The values that must be in the default layout."""
    values = [*flat.inputs[carried:], *flat.outputs[carried:], *flat.constants]
    for op in flat.ops:
        if is_pick(op):
            values += [*op.inputs[1:], *op.outputs]
        elif is_put(op):
            values += op.inputs[1:]
        elif not (op.is_product or op.is_broadcast or op.is_transpose or op.is_elementwise or op.is_reduction):
            values += [*op.inputs, *op.outputs]
    return {v for v in values if isinstance(v, int)}


def _examples_last(op: Op) -> Layout:
    """The layout that suits a product's result: the rows of its first operand last, where its columns are few."""
    (left_contracted, _), (left_batch, _) = op.params["dimension_numbers"]
    shape, batch = op.output_shape, len(left_batch)
    rows = len(op.input_shapes[0]) - batch - len(left_contracted)
    of_rows, of_columns = range(batch, batch + rows), range(batch + rows, len(shape))
    size = lambda axes: math.prod(shape[axis] for axis in axes)
    if of_columns and size(of_columns) < NARROW and size(of_rows) >= 2 * size(of_columns):
        return (*range(batch), *of_columns, *of_rows)
    return default_layout(len(shape))
