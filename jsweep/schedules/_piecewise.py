"""Schedules given piece by piece: constant or interpolated between boundaries, or as a table."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._core import (
    Number,
    Schedule,
    check,
    check_boundaries,
    check_steps,
    check_value,
    half_cosine,
    mix,
    number,
    passed_and_left,
    steps_since,
)
from jsweep.schedules._decay import whole_periods


def piecewise_constant(init_value: Number, boundaries: Sequence[Number], scales: Sequence[Number]) -> Schedule:
    """Multiplied by ``scales[i]`` from step ``boundaries[i]`` on (optax's ``piecewise_constant_schedule``).

    ``init_value * product of scales[i] over boundaries[i] <= count``. optax takes ``dict(zip(boundaries, scales))``;
    as two sequences both may be traced. The last value holds for ever.

    >>> [round(float(piecewise_constant(1.0, [10, 20], [0.1, 0.5])(t)), 3) for t in (9, 10, 20)]
    [1.0, 0.1, 0.05]
    """
    check_value("init_value", init_value)
    check_boundaries(boundaries, scales, "scales")
    check("scales", scales, lambda v: v >= 0, "factors of at least 0")

    def schedule(count: Number):
        value = number(init_value)
        for boundary, factor in zip(boundaries, scales, strict=True):
            value = value * jnp.where(steps_since(count) >= number(boundary), number(factor), 1.0)
        return value

    return schedule


def multi_step(init_value: Number, boundaries: Sequence[Number], factor: Number) -> Schedule:
    """Multiplied by ``factor`` at each of ``boundaries`` (PyTorch's ``MultiStepLR``); the last value holds for ever.

    >>> [float(multi_step(1.0, [10, 20], 0.5)(t)) for t in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    check("factor", factor, lambda v: v >= 0, "a factor of at least 0")
    return piecewise_constant(init_value, boundaries, [factor] * len(boundaries))


def piecewise_interpolate(
    interpolate_type: Literal["linear", "cosine"],
    init_value: Number,
    boundaries: Sequence[Number],
    scales: Sequence[Number],
) -> Schedule:
    """From value to value along lines or half cosines (optax's ``piecewise_interpolate_schedule``).

    At step ``boundaries[i]`` the value is ``init_value`` times the product of ``scales[: i + 1]``, exactly up to
    rounding of that product; between two boundaries it is interpolated, and the last value holds for ever.

    >>> [float(piecewise_interpolate("linear", 1.0, [10, 20], [2.0, 0.25])(t)) for t in (0, 5, 10, 15, 30)]
    [1.0, 1.5, 2.0, 1.25, 0.5]
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ConfigError(f"interpolate_type={interpolate_type!r} is unknown: give 'linear' or 'cosine'.")
    check_value("init_value", init_value)
    check_boundaries(boundaries, scales, "scales")
    check("scales", scales, lambda v: v >= 0, "factors of at least 0")

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
    """``values[count // interval]``, one value for each ``interval`` steps; the last holds for ever.

    >>> [float(table([0.5, 0.25, 0.125], interval=10)(t)) for t in (0, 10, 99)]
    [0.5, 0.25, 0.125]
    """
    if len(values) == 0:
        raise ConfigError("values is empty: give at least one value.")
    check("values", values, lambda v: True, "a sequence of finite numbers")
    check_steps("interval", interval)

    def schedule(count: Number):
        length = number(interval)
        rows = jnp.stack([number(value) for value in values])
        row = whole_periods(steps_since(count), jnp.where(length > 0, length, 1.0))
        return rows[jnp.minimum(row, len(values) - 1).astype(jnp.int32)]

    return schedule
