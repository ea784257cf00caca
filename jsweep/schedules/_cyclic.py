"""Schedules that rise and fall: cycles, one cycle, and warm restarts."""

from typing import Literal

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._core import (
    Number,
    Schedule,
    check,
    check_steps,
    check_value,
    half_cosine,
    mix,
    number,
    passed_and_left,
    steps_since,
)
from jsweep.schedules._decay import whole_periods


def cosine_restarts(
    init_value: Number,
    decay_steps: Number,
    period_multiplier: Number = 1.0,
    peak_multiplier: Number = 1.0,
    alpha: Number = 0.0,
) -> Schedule:
    """Cosine annealing with warm restarts (SGDR, Loshchilov and Hutter 2017), for ever.

    Period k begins at ``decay_steps * (m ** k - 1) / (m - 1)`` with ``m = period_multiplier`` (``k * decay_steps`` where
    m is 1), lasts ``decay_steps * m ** k`` steps, and falls from ``init_value * peak_multiplier ** k`` to ``alpha`` times
    that. Keras calls them ``first_decay_steps``, ``t_mul``, ``m_mul``; PyTorch ``T_0``, ``T_mult``. Traced lengths of 0 or
    below count as 1, traced multipliers below 1 as 1.

    >>> [round(float(cosine_restarts(1.0, 10, period_multiplier=2.0)(t)), 4) for t in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    check_value("init_value", init_value)
    check_steps("decay_steps", decay_steps)
    check("period_multiplier", period_multiplier, lambda v: v >= 1, "a multiplier of at least 1")
    check("peak_multiplier", peak_multiplier, lambda v: v > 0, "a multiplier above 0")
    check_value("alpha", alpha)

    def schedule(count: Number):
        period, begin, length = _period(steps_since(count), number(decay_steps), number(period_multiplier))
        left = jnp.clip((begin + length - steps_since(count)) / length, 0.0, 1.0)
        floor = number(alpha)
        peak = number(init_value) * number(peak_multiplier) ** period
        return peak * ((1 - floor) * half_cosine(left) + floor)

    return schedule


def _period(passed, first, multiplier):
    """The number, begin and length of the period that holds ``passed``: by logarithm, then put right by one."""
    first = jnp.where(first > 0, first, 1.0)
    growing = multiplier > 1
    growth = jnp.where(growing, multiplier - 1, 1.0)  # stands in where there is none, so that nothing divides by zero
    base = jnp.where(growing, multiplier, 2.0)

    def begin_of(period):
        geometric = first * jnp.expm1(period * jnp.log(base)) / growth
        exact = first * (jnp.round(base) ** period - 1) / growth  # whole multipliers have whole boundaries
        return jnp.where(growing, jnp.where(base == jnp.round(base), exact, geometric), first * period)

    guess = jnp.floor(jnp.log1p(passed * growth / first) / jnp.log(base))
    period = jnp.where(growing, guess, whole_periods(passed, first))
    period = jnp.where(begin_of(period + 1) <= passed, period + 1, period)
    period = jnp.maximum(jnp.where(begin_of(period) > passed, period - 1, period), 0.0)
    return period, begin_of(period), jnp.where(growing, first * base**period, first)


def cosine_onecycle(
    transition_steps: Number,
    peak_value: Number,
    pct_start: Number = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Smith and Topin's one cycle along half cosines (optax's ``cosine_onecycle_schedule``, PyTorch's ``OneCycleLR``).

    From ``peak_value / div_factor`` up to ``peak_value`` at step ``floor(pct_start * transition_steps)``, then down to
    ``peak_value / (div_factor * final_div_factor)`` at ``transition_steps``, which holds. With ``three_phase`` the fall
    is first to the start value in as many steps as the rise, then to the end. PyTorch counts ``total_steps - 1`` and
    ``pct_start * total_steps - 1`` steps to its boundaries.

    >>> [round(float(cosine_onecycle(10, 1.0, pct_start=0.5)(t)), 4) for t in (0, 5, 10)]
    [0.04, 1.0, 0.0]
    """
    _check_onecycle(transition_steps, peak_value, pct_start, div_factor, final_div_factor)
    return _onecycle(
        transition_steps,
        peak_value,
        pct_start,
        (2 * number(pct_start) if three_phase else None),
        div_factor,
        final_div_factor,
        True,
    )


def linear_onecycle(
    transition_steps: Number,
    peak_value: Number,
    pct_start: Number = 0.3,
    pct_final: Number = 0.85,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> Schedule:
    """Smith and Topin's one cycle along lines, in three phases (optax's ``linear_onecycle_schedule``).

    From ``peak_value / div_factor`` up to ``peak_value`` at ``floor(pct_start * transition_steps)``, back at
    ``floor(pct_final * transition_steps)``, then down to ``peak_value / (div_factor * final_div_factor)`` at
    ``transition_steps``, which holds.

    >>> [round(float(linear_onecycle(20, 1.0, pct_start=0.5, pct_final=0.75)(t)), 4) for t in (0, 10, 15, 20)]
    [0.04, 1.0, 0.04, 0.0]
    """
    _check_onecycle(transition_steps, peak_value, pct_start, div_factor, final_div_factor)
    check("pct_final", pct_final, lambda v: (v > 0) & (v <= 1), "a share in (0, 1]")
    return _onecycle(transition_steps, peak_value, pct_start, pct_final, div_factor, final_div_factor, False)


def _onecycle(steps, peak, pct_start, pct_back, div_factor, final_div_factor, cosine: bool) -> Schedule:
    def phase(start, end, parts):
        passed, left = (half_cosine(part) for part in parts) if cosine else parts
        return mix(start, end, left, passed)

    def schedule(count: Number):
        total, top = number(steps), number(peak)
        low = top / number(div_factor)
        last = top / (number(div_factor) * number(final_div_factor))
        rise = jnp.floor(number(pct_start) * total)
        back = rise if pct_back is None else jnp.floor(number(pct_back) * total)
        up = phase(low, top, passed_and_left(count, rise))
        middle = phase(top, low, passed_and_left(count, back - rise, rise))
        down = phase(top if pct_back is None else low, last, passed_and_left(count, total - back, back))
        passed = steps_since(count)
        return jnp.where(passed < rise, up, jnp.where(passed < back, middle, down))

    return schedule


def _check_onecycle(steps, peak, pct_start, div_factor, final_div_factor) -> None:
    check_steps("transition_steps", steps)
    check_value("peak_value", peak)
    check("pct_start", pct_start, lambda v: (v > 0) & (v < 1), "a share between 0 and 1")
    check("div_factor", div_factor, lambda v: v > 0, "a factor above 0")
    check("final_div_factor", final_div_factor, lambda v: v > 0, "a factor above 0")


def cyclic(
    init_value: Number,
    peak_value: Number,
    step_size_up: Number,
    step_size_down: Number | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: Number = 1.0,
) -> Schedule:
    """Smith's cyclical rates (2017): lines from ``init_value`` up to ``peak_value`` and down again, for ever.

    PyTorch's ``CyclicLR`` with ``base_lr`` and ``max_lr``. Up in ``step_size_up`` steps and down in ``step_size_down``
    (default: as many). The height is halved each cycle in mode "triangular2", and multiplied by ``gamma ** count`` in mode
    "exp_range". Traced lengths of 0 or below count as 1.

    >>> [float(cyclic(0.0, 1.0, 4)(t)) for t in (0, 2, 4, 6, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    check_value("init_value", init_value)
    check_value("peak_value", peak_value)
    check_steps("step_size_up", step_size_up)
    if step_size_down is not None:
        check_steps("step_size_down", step_size_down)
    if mode not in ("triangular", "triangular2", "exp_range"):
        raise ConfigError(f"mode={mode!r} is unknown: give 'triangular', 'triangular2' or 'exp_range'.")
    check("gamma", gamma, lambda v: v > 0, "a factor above 0")

    def schedule(count: Number):
        up = number(step_size_up)
        up = jnp.where(up > 0, up, 1.0)
        down = up if step_size_down is None else number(step_size_down)
        down = jnp.where(down > 0, down, 1.0)
        passed = steps_since(count)
        cycle = whole_periods(passed, up + down)
        within = passed - cycle * (up + down)
        height = jnp.where(within <= up, within / up, (up + down - within) / down)
        factor = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": number(gamma) ** passed}[mode]
        return number(init_value) + (number(peak_value) - number(init_value)) * height * factor

    return schedule
