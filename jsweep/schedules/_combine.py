"""Schedules made of schedules: joined, scaled, clipped, warmed up, counted in epochs, selected by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._core import Number, Schedule, check_boundaries, check_steps, check_value, number, steps_since


def join(schedules: Sequence[Schedule], boundaries: Sequence[Number]) -> Schedule:
    """One schedule after another (optax's ``join_schedules``): ``schedules[i + 1]`` takes over at ``boundaries[i]``.

    Each counts from 0 at its own beginning. Where traced boundaries are out of order the last that has passed wins.

    >>> both = join([lambda t: 1.0, lambda t: 0.5 + 0.1 * t], [10])
    >>> [round(float(both(t)), 2) for t in (9, 10, 12)]
    [1.0, 0.5, 0.7]
    """
    check_boundaries(boundaries, schedules, "schedules", extra=1)

    def schedule(count: Number):
        value = number(schedules[0](steps_since(count)))
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            passed = steps_since(count) >= number(boundary)
            value = jnp.where(passed, number(following(steps_since(count, boundary))), value)
        return value

    return schedule


def scale(schedule: Schedule, factor: Number) -> Schedule:
    """``factor`` times another schedule.

    >>> float(scale(lambda t: 0.5, 4.0)(0))
    2.0
    """
    check_value("factor", factor)
    return lambda count: number(factor) * number(schedule(count))


def clip(schedule: Schedule, min_value: Number | None = None, max_value: Number | None = None) -> Schedule:
    """Another schedule, held between ``min_value`` and ``max_value``; None leaves a side open.

    >>> float(clip(lambda t: 5.0, max_value=1.0)(0))
    1.0
    """
    for name, value in (("min_value", min_value), ("max_value", max_value)):
        if value is not None:
            check_value(name, value)
    if isinstance(min_value, int | float) and isinstance(max_value, int | float) and min_value > max_value:
        raise ConfigError(f"min_value={min_value!r} is above max_value={max_value!r}: swap them.")

    def schedule_between(count: Number):
        value = number(schedule(count))
        if min_value is not None:
            value = jnp.maximum(value, number(min_value))
        return value if max_value is None else jnp.minimum(value, number(max_value))

    return schedule_between


def warmup(schedule: Schedule, steps: Number, init_value: Number = 0.0) -> Schedule:
    """Another schedule after a line from ``init_value`` up to its first value over ``steps`` steps.

    The other counts from 0 where the warm-up ends. A traced ``steps`` of 0 or below warms nothing up.

    >>> [float(warmup(lambda t: 1.0 - 0.1 * t, 4)(t)) for t in (0, 2, 4)]
    [0.0, 0.5, 1.0]
    """
    check_steps("steps", steps, -1)
    check_value("init_value", init_value)

    def rise(count: Number):
        first = number(schedule(0))
        length = number(steps)
        return number(init_value) + (first - number(init_value)) * steps_since(count) / jnp.where(
            length > 0, length, 1.0
        )

    return join([rise, schedule], [steps])


def per_epoch(schedule: Schedule, steps_per_epoch: Number, staircase: bool = True) -> Schedule:
    """A schedule stated in epochs, for an optimizer that counts steps.

    ``schedule(count // steps_per_epoch)``, as with a ``scheduler.step()`` after each epoch; with ``staircase=False`` the
    quotient is not rounded, and the schedule is followed within epochs too. ``steps_per_epoch`` need not be whole.

    >>> [float(per_epoch(lambda epoch: 0.5**epoch, 100)(t)) for t in (0, 99, 100, 250)]
    [1.0, 1.0, 0.5, 0.25]
    """
    check_steps("steps_per_epoch", steps_per_epoch)

    def schedule_in_steps(count: Number):
        length = number(steps_per_epoch)
        length = jnp.where(length > 0, length, 1.0)
        epoch = steps_since(count) / length
        if not staircase:
            return number(schedule(epoch))
        whole = jnp.floor(epoch)
        return number(schedule(jnp.where(whole * length > steps_since(count), whole - 1, whole)))

    return schedule_in_steps


def select(kind: Any, schedules: Mapping[str, Schedule]) -> Schedule:
    """The schedule of ``schedules`` that ``kind`` names; lanes of one compiled program may differ in it.

    ``kind`` is a name, a whole number in the mapping's order (which may be traced), or the choice that a swept string
    arrives as in a jsweep lane. With a traced one every schedule is computed, a handful of operations each, and the chosen value
    kept; one that is not chosen can do no harm, whatever it gives. A traced number out of range takes the nearest.

    >>> float(select("half", {"whole": lambda t: 1.0, "half": lambda t: 0.5})(0))
    0.5
    """
    names = list(schedules)
    if not names:
        raise ConfigError("schedules is empty: give at least one by name.")
    if isinstance(kind, str):
        if kind not in schedules:
            raise ConfigError(f"{kind!r} is none of the schedules {', '.join(names)}: name one of them.")
        return schedules[kind]
    if isinstance(kind, int) and not 0 <= kind < len(names):
        raise ConfigError(
            f"kind={kind} is not the position of one of {len(names)} schedules: give 0 to {len(names) - 1}."
        )
    position = kind.position(names) if hasattr(kind, "position") else jnp.asarray(kind, jnp.int32)  # pyright: ignore
    position = jnp.clip(position, 0, len(names) - 1)

    def schedule(count: Number):
        values = [number(one(count)) for one in schedules.values()]
        return jax.lax.select_n(position, *values) if len(values) > 1 else values[0]

    return schedule
