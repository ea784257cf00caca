"""Schedules that rise and fall again and again: cycles and warm restarts."""

from typing import Literal

import jax.numpy as jnp

from jsweep.schedules._check import check, check_factor, check_option, check_steps, check_value
from jsweep.schedules._core import Number, Scalar, Schedule, half_cosine, length_of, number, steps_since, whole_periods


def cosine_restarts(
    init_value: Number,
    decay_steps: Number,
    *,
    period_multiplier: Number = 1.0,
    peak_multiplier: Number = 1.0,
    alpha: Number = 0.0,
) -> Schedule:
    """Cosine annealing with warm restarts, forever (SGDR, Loshchilov and Hutter 2017; Keras's ``CosineDecayRestarts``).

    ``init_value * ((1 - alpha) * peak_multiplier ** k * 0.5 * (1 + cos(pi * p)) + alpha)`` in period k, of which the
    fraction p has passed. Period k begins at ``decay_steps * (m ** k - 1) / (m - 1)`` with ``m = period_multiplier``
    (``k * decay_steps`` if m is 1) and lasts ``decay_steps * m ** k`` steps.

    Args:
        init_value: the first value (Keras's ``initial_learning_rate``).
        decay_steps: the length of the first period in steps (``first_decay_steps``; PyTorch's ``T_0``); a traced one of 0
            or below counts as 1.
        period_multiplier: how many times longer each period is than the one before, at least 1 (``t_mul``; ``T_mult``);
            a traced one below 1 counts as 1.
        peak_multiplier: what the height above the floor is multiplied by at each restart, above 0 (``m_mul``).
        alpha: the floor of every period as a fraction of ``init_value``.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [round(float(schedules.cosine_restarts(1.0, 10, period_multiplier=2.0)(t)), 4) for t in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    check_value("init_value", init_value)
    check_steps("decay_steps", decay_steps)
    check("period_multiplier", period_multiplier, lambda v: v >= 1, "a number of at least 1")
    check_factor("peak_multiplier", peak_multiplier)
    check_value("alpha", alpha)

    def schedule(count: Number):
        passed = steps_since(count)
        period, begin, length = _period(passed, length_of(decay_steps), number(period_multiplier))
        left = jnp.clip((begin + length - passed) / length, 0.0, 1.0)
        floor, height = number(alpha), number(peak_multiplier) ** period
        return number(init_value) * ((1 - floor) * height * half_cosine(left) + floor)

    return schedule


def _period(passed: Scalar, first: Scalar, multiplier: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The number, begin and length of the period that holds ``passed``: by logarithm, then corrected by one."""
    growing = multiplier > 1
    growth = jnp.where(growing, multiplier - 1, 1.0)  # 1 if there is none, so that nothing is divided by zero
    base = jnp.where(growing, multiplier, 2.0)

    def begin_of(period: Scalar) -> Scalar:
        k = jnp.where(growing, period, 0.0)  # without growth the power could overflow, and its derivative be NaN
        geometric = first * jnp.expm1(k * jnp.log(base)) / growth
        exact = first * (jnp.round(base) ** k - 1) / growth  # whole multipliers have whole boundaries
        return jnp.where(growing, jnp.where(base == jnp.round(base), exact, geometric), first * period)

    guess = jnp.floor(jnp.log1p(passed * growth / first) / jnp.log(base))
    period = jnp.where(growing, guess, whole_periods(passed, first))
    period = jnp.where(begin_of(period + 1) <= passed, period + 1, period)
    period = jnp.maximum(jnp.where(begin_of(period) > passed, period - 1, period), 0.0)
    return period, begin_of(period), first * base ** jnp.where(growing, period, 0.0)


def cyclic(
    init_value: Number,
    peak_value: Number,
    *,
    step_size_up: Number,
    step_size_down: Number | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: Number = 1.0,
) -> Schedule:
    """Cyclical rates (Smith 2017; PyTorch's ``CyclicLR``): lines up to ``peak_value`` and down again, forever.

    Args:
        init_value: the value at both ends of a cycle (PyTorch's ``base_lr``).
        peak_value: the value between them (``max_lr``).
        step_size_up: the steps from ``init_value`` to ``peak_value``; a traced length of 0 or below counts as 1.
        step_size_down: the steps back; by default as many.
        mode: "triangular2" halves the height at each cycle, "exp_range" multiplies it by ``gamma ** count``.
        gamma: for "exp_range", above 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.cyclic(0.0, 1.0, step_size_up=4)(t)) for t in (0, 2, 4, 6, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    check_value("init_value", init_value)
    check_value("peak_value", peak_value)
    check_steps("step_size_up", step_size_up)
    if step_size_down is not None:
        check_steps("step_size_down", step_size_down)
    check_option("mode", mode, ("triangular", "triangular2", "exp_range"))
    check_factor("gamma", gamma)

    def schedule(count: Number):
        up = length_of(step_size_up)
        down = up if step_size_down is None else length_of(step_size_down)
        passed = steps_since(count)
        cycle = whole_periods(passed, up + down)
        within = passed - cycle * (up + down)
        height = jnp.where(within <= up, within / up, (up + down - within) / down)
        factor = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": number(gamma) ** passed}[mode]
        return number(init_value) + (number(peak_value) - number(init_value)) * height * factor

    return schedule
