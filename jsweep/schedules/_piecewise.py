"""Schedules given piece by piece: constant or interpolated between boundaries, or as a table."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._check import check_boundaries, check_each, check_factor, check_option, check_steps, check_value
from jsweep.schedules._core import (
    Number,
    Schedule,
    half_cosine,
    length_of,
    mix,
    number,
    passed_and_left,
    steps_since,
    whole_periods,
)


def piecewise_constant(init_value: Number, boundaries: Sequence[Number], *, scales: Sequence[Number]) -> Schedule:
    """Multiplied by ``scales[i]`` from step ``boundaries[i]`` on (optax's ``piecewise_constant_schedule``).

    ``init_value * product of scales[i] over boundaries[i] <= count``. optax takes ``dict(zip(boundaries, scales))``;
    as two sequences both may be traced.

    Args:
        init_value: the first value.
        boundaries: steps in ascending order; the last value holds forever.
        scales: as many factors of at least 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [round(float(schedules.piecewise_constant(1.0, [10, 20], scales=[0.1, 0.5])(t)), 3) for t in (9, 10, 20)]
    [1.0, 0.1, 0.05]
    """
    _check_pieces(init_value, boundaries, scales)

    def schedule(count: Number):
        value = number(init_value)
        for boundary, factor in zip(boundaries, scales, strict=True):
            value = value * jnp.where(steps_since(count) >= number(boundary), number(factor), 1.0)
        return value

    return schedule


def multi_step(init_value: Number, boundaries: Sequence[Number], *, factor: Number) -> Schedule:
    """Multiplied by ``factor`` at each of ``boundaries`` (PyTorch's ``MultiStepLR``).

    Args:
        init_value: the first value.
        boundaries: steps in ascending order; the last value holds forever.
        factor: at least 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.multi_step(1.0, [10, 20], factor=0.5)(t)) for t in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    check_factor("factor", factor, zero=True)
    check_each("boundaries", boundaries, lambda v: v >= 0, "a list of steps in ascending order from 0")
    return piecewise_constant(init_value, boundaries, scales=[factor] * len(boundaries))


def piecewise_interpolate(
    interpolate_type: Literal["linear", "cosine"],
    init_value: Number,
    *,
    boundaries: Sequence[Number],
    scales: Sequence[Number],
) -> Schedule:
    """From value to value along lines or half cosines (optax's ``piecewise_interpolate_schedule``).

    At step ``boundaries[i]`` the value is ``init_value`` times the product of ``scales[: i + 1]``.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: the first value.
        boundaries: steps in ascending order; the last value holds forever.
        scales: as many factors of at least 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> lines = schedules.piecewise_interpolate("linear", 1.0, boundaries=[10, 20], scales=[2.0, 0.25])
    >>> [float(lines(t)) for t in (0, 5, 10, 15, 30)]
    [1.0, 1.5, 2.0, 1.25, 0.5]
    """
    check_option("interpolate_type", interpolate_type, ("linear", "cosine"))
    _check_pieces(init_value, boundaries, scales)

    def schedule(count: Number):
        begin, start = number(0), number(init_value)
        value = start + 0 * steps_since(count)
        for boundary, factor in zip(boundaries, scales, strict=True):
            end = start * number(factor)
            passed, left = passed_and_left(count, number(boundary) - begin, begin)
            if interpolate_type == "cosine":
                passed, left = half_cosine(passed), half_cosine(left)
            value = jnp.where(steps_since(count) >= begin, mix(start, end, left, passed), value)
            begin, start = number(boundary), end
        return value

    return schedule


def table(values: Sequence[Number], interval: Number = 1) -> Schedule:
    """``values[count // interval]``, one value for every ``interval`` steps; the last one holds forever.

    A traced ``interval`` of 0 or below counts as 1 step.

    >>> from jsweep import schedules
    >>> [float(schedules.table([0.5, 0.25, 0.125], interval=10)(t)) for t in (0, 10, 99)]
    [0.5, 0.25, 0.125]
    """
    check_each("values", values, lambda v: True, "a list of finite numbers")
    if len(values) == 0:
        raise ConfigError("values is empty: pass at least one value.")
    check_steps("interval", interval)

    def schedule(count: Number):
        rows = jnp.stack([number(value) for value in values])
        row = whole_periods(steps_since(count), length_of(interval))
        return rows[jnp.minimum(row, len(values) - 1).astype(jnp.int32)]

    return schedule


def _check_pieces(init_value: Number, boundaries: Sequence[Number], scales: Sequence[Number]) -> None:
    check_value("init_value", init_value)
    check_boundaries(boundaries, scales, "scales")
    check_each("scales", scales, lambda v: v >= 0, "a list of numbers of at least 0")
