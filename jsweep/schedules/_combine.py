"""Schedules made of schedules: joined, scaled, clipped, warmed up, counted in epochs, selected by name."""

import operator
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, cast, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jsweep.errors import ConfigError
from jsweep.schedules._check import (
    ascending,
    check_boundaries,
    check_flag,
    check_schedule,
    check_steps,
    check_value,
    concrete,
)
from jsweep.schedules._core import (
    AnySchedule,
    Number,
    Scalar,
    Schedule,
    length_of,
    number,
    steps_since,
    value_if,
    whole_periods,
)


@runtime_checkable
class NamedChoice(Protocol):
    """What a swept string arrives as in a lane: it knows its position among names."""

    def position(self, names: Sequence[str]) -> Int[Array, ""]: ...


Kind: TypeAlias = "str | Number | NamedChoice"


def join(schedules: Sequence[AnySchedule], boundaries: Sequence[Number]) -> Schedule:
    """One schedule after another (optax's ``join_schedules``): ``schedules[i + 1]`` takes over at ``boundaries[i]``.

    Each counts from 0 where it begins. If traced boundaries are out of order, the last one in the list that has passed
    decides. A schedule that has not begun, or is over, contributes nothing to the gradient.

    >>> from jsweep import schedules
    >>> both = schedules.join([lambda t: 1.0, lambda t: 0.5 + 0.1 * t], [10])
    >>> [round(float(both(t)), 2) for t in (9, 10, 12)]
    [1.0, 0.5, 0.7]
    """
    check_boundaries(boundaries, schedules, "schedules", extra=1)
    for i, each in enumerate(schedules):
        check_schedule(f"schedules[{i}]", each)

    def schedule(count: Number):
        begun = [jnp.asarray(True), *(steps_since(count) >= number(boundary) for boundary in boundaries)]
        counts = [steps_since(count), *(steps_since(count, boundary) for boundary in boundaries)]
        value = number(0.0)
        for i, (each, own_count) in enumerate(zip(schedules, counts, strict=True)):
            over = jnp.any(jnp.stack(begun[i + 1 :])) if begun[i + 1 :] else jnp.asarray(False)
            value = jnp.where(begun[i], value_if(begun[i] & ~over, each, own_count), value)
        return value

    return schedule


def scale(schedule: AnySchedule, factor: Number) -> Schedule:
    """``factor`` times another schedule.

    >>> from jsweep import schedules
    >>> float(schedules.scale(lambda t: 0.5, 4.0)(0))
    2.0
    """
    check_schedule("schedule", schedule)
    check_value("factor", factor)
    return lambda count: number(factor) * number(schedule(count))


def clip(schedule: AnySchedule, *, min_value: Number | None = None, max_value: Number | None = None) -> Schedule:
    """Another schedule, held between two values.

    Args:
        schedule: a schedule.
        min_value: the lowest value; None for no such bound.
        max_value: the highest value; None for no such bound.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a bound that is not a finite number, and for bounds out of order.

    >>> from jsweep import schedules
    >>> float(schedules.clip(lambda t: 5.0, max_value=1.0)(0))
    1.0
    """
    check_schedule("schedule", schedule)
    for name, value in (("min_value", min_value), ("max_value", max_value)):
        if value is not None:
            check_value(name, value)
    if min_value is not None and max_value is not None and not ascending(min_value, max_value, strict=False):
        raise ConfigError(f"min_value={min_value!r} is above max_value={max_value!r}: swap them.")

    def schedule_between(count: Number):
        value = number(schedule(count))
        if min_value is not None:
            value = jnp.maximum(value, number(min_value))
        return value if max_value is None else jnp.minimum(value, number(max_value))

    return schedule_between


def warmup(schedule: AnySchedule, steps: Number, *, init_value: Number = 0.0) -> Schedule:
    """Another schedule after a line from ``init_value`` up to its first value.

    Args:
        schedule: a schedule, which counts from 0 where the line ends.
        steps: the length of the line in steps; 0 (or a traced number below) leaves it out.
        init_value: the first value.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.warmup(lambda t: 1.0 - 0.1 * t, 4)(t)) for t in (0, 2, 4)]
    [0.0, 0.5, 1.0]
    """
    check_schedule("schedule", schedule)
    check_steps("steps", steps, zero=True)
    check_value("init_value", init_value)

    def rise(count: Number):
        first, begin = number(schedule(0)), number(init_value)
        return begin + (first - begin) * steps_since(count) / length_of(steps)

    return join([rise, schedule], [steps])


def per_epoch(schedule: AnySchedule, steps_per_epoch: Number, *, staircase: bool = True) -> Schedule:
    """A schedule stated in epochs, for an optimizer that counts steps: ``schedule(count // steps_per_epoch)``.

    Args:
        schedule: a schedule of the number of epochs made so far.
        steps_per_epoch: need not be whole; a traced number of 0 or below counts as 1.
        staircase: follow the schedule from epoch to epoch, as with a ``scheduler.step()`` after each; if False, the
            quotient is not rounded down, and the schedule is followed within epochs too.

    Returns:
        A schedule of steps.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.per_epoch(lambda epoch: 0.5**epoch, 100)(t)) for t in (0, 99, 100, 250)]
    [1.0, 1.0, 0.5, 0.25]
    """
    check_schedule("schedule", schedule)
    check_steps("steps_per_epoch", steps_per_epoch)
    check_flag("staircase", staircase)

    def schedule_in_steps(count: Number):
        passed, length = steps_since(count), length_of(steps_per_epoch)
        return number(schedule(whole_periods(passed, length) if staircase else passed / length))

    return schedule_in_steps


def select(kind: Kind, schedules: Mapping[str, AnySchedule]) -> Schedule:
    """The schedule that ``kind`` names; lanes of one compiled program may differ in it.

    ``kind`` is a name, an integer (the position in the mapping, which may be traced), or the choice that a swept string
    becomes in a lane. If it is traced, every schedule is computed, a handful of operations each, and the chosen value
    kept: values and derivatives of the others, NaN or infinite, have no effect. A traced position out of range takes the
    nearest.

    >>> from jsweep import schedules
    >>> float(schedules.select("half", {"whole": lambda t: 1.0, "half": lambda t: 0.5})(0))
    0.5
    """
    if not isinstance(schedules, Mapping) or not schedules:
        raise ConfigError(f"schedules={schedules!r} is not valid: pass a dict from names to schedules, at least one.")
    for name, each in schedules.items():
        check_schedule(f"schedules[{name!r}]", each)
    names, each = list(schedules), list(schedules.values())
    if isinstance(kind, str) and not isinstance(kind, NamedChoice):
        if kind not in schedules:
            raise ConfigError(f"kind={kind!r} is not one of the schedules: pass {' or '.join(map(repr, names))}.")
        chosen = schedules[kind]
        return lambda count: number(chosen(count))
    position = _position(kind, names)
    if isinstance(position, int):
        return lambda count: number(each[position](count))

    def schedule(count: Number) -> Scalar:
        values = [value_if(position == i, one, count) for i, one in enumerate(each)]
        return jax.lax.select_n(position, *values) if len(values) > 1 else values[0]

    return schedule


def _position(kind: Number | NamedChoice, names: list[str]) -> int | Int[Array, ""]:
    """The position that ``kind`` stands for: an int, or if it is traced an int32 that is in range."""
    position = kind.position(names) if isinstance(kind, NamedChoice) else kind
    fix = f"pass a name, or a position from 0 to {len(names) - 1}."
    dtype = getattr(position, "dtype", float)
    if isinstance(position, bool) or not (isinstance(position, int) or jnp.issubdtype(dtype, jnp.integer)):
        raise ConfigError(f"kind={kind!r} is not valid: {fix}")
    if not concrete(position):
        return jnp.clip(jnp.asarray(position, jnp.int32), 0, len(names) - 1)
    try:
        whole = operator.index(cast(int, position))
    except TypeError:  # several positions
        whole = -1
    if not 0 <= whole < len(names):
        raise ConfigError(f"kind={kind!r} is not valid: {fix}")
    return whole
