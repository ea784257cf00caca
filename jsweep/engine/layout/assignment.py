"""Which order each value of a step is to have in memory.

An order names, for each axis of the memory, the axis of the value that it holds; ``(0, 2, 1)`` keeps a (lanes, examples,
features) array with its examples last. Values that a function of single elements ties together have one order. The plain
one is kept by what the step is given and gives, and by all that meets an operation of another kind; the rest is free.
"""

import math

from jsweep.engine.layout.ir import Flat, Op

NARROW = 32  # features; as many fill two vectors of a CPU of today, and products as wide run as fast either way

Order = tuple[int, ...]


def plain(rank: int) -> Order:
    """The order of an array as it is written."""
    return tuple(range(rank))


def choose_orders(flat: Flat) -> list[Order | None]:
    """The order wanted of each value, by its number; None where any will do."""
    group = _tied(flat)
    pinned = {group[v] for v in _in_plain_order(flat)}
    wanted: dict[int, Order] = {}
    products: dict[int, set[Order]] = {}
    for op in flat.ops:
        if op.is_product and group[op.gives[0]] not in pinned:
            products.setdefault(group[op.gives[0]], set()).add(_examples_last(op))
    for number, orders in products.items():
        if len(orders) == 1:
            wanted[number] = orders.pop()
    order_of = lambda v: plain(len(flat.shapes[v])) if group[v] in pinned else wanted.get(group[v])
    for op in reversed(flat.ops):  # a product that is transposed next is kept as what it is transposed to
        if op.is_transpose and isinstance(op.takes[0], int):
            later = order_of(op.gives[0])
            if group[op.takes[0]] in products and later is not None:
                wanted[group[op.takes[0]]] = tuple(op.params["permutation"][axis] for axis in later)
    return [order_of(v) for v in range(len(flat.shapes))]


def _tied(flat: Flat) -> list[int]:
    """For each value the number of its group: values of one shape that functions of single elements tie together."""
    parent = list(range(len(flat.shapes)))

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = v = parent[parent[v]]
        return v

    for op in flat.ops:
        if op.is_of_elements:
            for v in op.takes:
                if isinstance(v, int) and flat.shapes[v] == flat.shapes[op.gives[0]]:
                    parent[root(v)] = root(op.gives[0])
    return [root(v) for v in range(len(parent))]


def _in_plain_order(flat: Flat) -> set[int]:
    """The values that are in plain order, whatever would be good for them."""
    values = [*flat.inputs, *flat.outputs, *flat.constants]
    for op in flat.ops:
        takes_any = op.is_product or op.is_spread or op.is_transpose or op.is_of_elements or op.is_reduction
        if not takes_any:
            values += [*op.takes, *op.gives]
    return {v for v in values if isinstance(v, int)}


def _examples_last(op: Op) -> Order:
    """The order that suits a product's result: the rows of its first operand last, where its columns are few."""
    (left_summed, _), (left_batch, _) = op.params["dimension_numbers"]
    shape, batch = op.equation.outvars[0].aval.shape, len(left_batch)
    rows = len(op.equation.invars[0].aval.shape) - batch - len(left_summed)
    of_rows, of_columns = range(batch, batch + rows), range(batch + rows, len(shape))
    size = lambda axes: math.prod(shape[axis] for axis in axes)
    if of_columns and size(of_columns) < NARROW and size(of_rows) >= 2 * size(of_columns):
        return (*range(batch), *of_columns, *of_rows)
    return plain(len(shape))
