"""The size of a grid, known before any of its configs is built."""

from collections.abc import Iterator
from dataclasses import dataclass

from jsweep._runtime.types import Value
from jsweep.space._conditions import Condition, When, conditions_of, in_order, leaf_in, satisfies
from jsweep.space._domains import Distribution
from jsweep.space._space import Space

Met = tuple[tuple[str, tuple[bool, ...]], ...]
"""Names, each with which of the conditions on it its value meets."""


@dataclass(frozen=True)
class _Alike:
    """Configs that meet the same conditions: how many there are, and the values of one of them."""

    count: int
    config: dict[str, Value]


def count_configs(space: Space) -> int:
    """The number of configs in the grid of a space of lists.

    Configs that meet the same conditions are counted together, and a name is forgotten once no further name depends
    on it, so that the work does not grow with the size of the grid.
    """
    parts = dict(sorted(space.items(), key=lambda item: not isinstance(item[1], When)))
    order = in_order(parts)  # a name on which others depend comes right before the first of them
    last_use = {asked: place for place, name in enumerate(order) for asked, _ in conditions_of(parts[name])}
    alike: dict[Met, _Alike] = {(): _Alike(1, {})}
    for place, name in enumerate(order):
        conditions = [c for part in parts.values() for asked, c in conditions_of(part) if asked == name]
        following: dict[Met, _Alike] = {}
        for met, group in alike.items():
            kept = tuple(pair for pair in met if last_use[pair[0]] > place)
            for added, split in _split(space, name, conditions, group):
                same = following.get(kept + added)
                following[kept + added] = _Alike(split.count + (same.count if same else 0), split.config)
        alike = following
    return sum(group.count for group in alike.values())


def _split(space: Space, name: str, conditions: list[Condition], group: _Alike) -> Iterator[tuple[Met, _Alike]]:
    """The group once ``name`` has its values, in one part for each set of ``conditions`` that they meet."""
    leaf = leaf_in(space[name], group.config)
    if leaf is None:
        yield (), group
        return
    assert not isinstance(leaf, Distribution)  # grid refuses them before
    if not conditions:
        yield (), _Alike(group.count * len(leaf.values), group.config)
        return
    members: dict[tuple[bool, ...], list[Value]] = {}
    for value in leaf.values:
        members.setdefault(tuple(satisfies(value, c) for c in conditions), []).append(value)
    for met, values in members.items():
        yield ((name, met),), _Alike(group.count * len(values), {**group.config, name: values[0]})
