"""Which layout each value of a step is to have in memory.

A layout names, for each axis in memory, the axis of the value that it holds; ``(0, 2, 1)`` keeps a (lanes, examples,
features) array with its examples last. Values that an elementwise function connects have one layout. The step's inputs and
outputs, and all operands and results of operations of other kinds, have the default layout; the rest is free.
"""

import math

from jsweep.engine.layout.ir import FlatJaxpr, Op

NARROW = 32  # features; as many fill two vector registers of a CPU, and wider products are as fast in either layout

Layout = tuple[int, ...]


def default_layout(rank: int) -> Layout:
    """The layout of an array that is not transposed."""
    return tuple(range(rank))


def choose_layouts(flat: FlatJaxpr) -> list[Layout | None]:
    """The layout chosen for each value, by its number; None where any will do."""
    group = _connected(flat)
    pinned = {group[v] for v in _in_default_layout(flat)}
    wanted: dict[int, Layout] = {}
    products: dict[int, set[Layout]] = {}
    for op in flat.ops:
        if op.is_product and group[op.outputs[0]] not in pinned:
            products.setdefault(group[op.outputs[0]], set()).add(_examples_last(op))
    for number, layouts in products.items():
        if len(layouts) == 1:
            wanted[number] = layouts.pop()
    layout_of = lambda v: default_layout(len(flat.shapes[v])) if group[v] in pinned else wanted.get(group[v])
    for op in reversed(flat.ops):  # a product that is transposed next is kept as what it is transposed to
        if op.is_transpose and isinstance(op.inputs[0], int):
            later = layout_of(op.outputs[0])
            if group[op.inputs[0]] in products and later is not None:
                wanted[group[op.inputs[0]]] = tuple(op.params["permutation"][axis] for axis in later)
    return [layout_of(v) for v in range(len(flat.shapes))]


def _connected(flat: FlatJaxpr) -> list[int]:
    """For each value the number of its group: values of one shape that elementwise functions connect."""
    parent = list(range(len(flat.shapes)))

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = v = parent[parent[v]]
        return v

    for op in flat.ops:
        if op.is_elementwise:
            for v in op.inputs:
                if isinstance(v, int) and flat.shapes[v] == flat.shapes[op.outputs[0]]:
                    parent[root(v)] = root(op.outputs[0])
    return [root(v) for v in range(len(parent))]


def _in_default_layout(flat: FlatJaxpr) -> set[int]:
    """The values that must be in the default layout."""
    values = [*flat.inputs, *flat.outputs, *flat.constants]
    for op in flat.ops:
        takes_any = op.is_product or op.is_broadcast or op.is_transpose or op.is_elementwise or op.is_reduction
        if not takes_any:
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
