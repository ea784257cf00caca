"""One cycle: up to a peak, down again and out (Smith and Topin 2018, "Super-convergence")."""

from dataclasses import dataclass

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._check import ascending, check, check_factor, check_flag, check_steps, check_value
from jsweep.schedules._core import (
    Number,
    Scalar,
    Schedule,
    half_cosine,
    mix,
    number,
    passed_and_left,
    steps_since,
    whole_steps,
)


@dataclass(frozen=True)
class _Cycle:
    """A cycle's length, and its values at the start, at the peak and at the end."""

    steps: Number
    peak: Number
    div_factor: Number
    final_div_factor: Number

    def check(self) -> None:
        check_steps("transition_steps", self.steps)
        check_value("peak_value", self.peak)
        check_factor("div_factor", self.div_factor)
        check_factor("final_div_factor", self.final_div_factor)

    @property
    def start(self) -> Scalar:
        return number(self.peak) / number(self.div_factor)

    @property
    def end(self) -> Scalar:
        return number(self.peak) / (number(self.div_factor) * number(self.final_div_factor))


def cosine_onecycle(
    transition_steps: Number,
    peak_value: Number,
    *,
    pct_start: Number = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """One cycle along half cosines (optax's ``cosine_onecycle_schedule``, PyTorch's ``OneCycleLR``).

    From ``peak_value / div_factor`` up to ``peak_value`` at step ``floor(pct_start * transition_steps)``, then down to
    ``peak_value / (div_factor * final_div_factor)`` at ``transition_steps``, which holds.

    Args:
        transition_steps: the length of the cycle in steps.
        peak_value: the highest value.
        pct_start: the fraction of the steps in which the value rises, between 0 and 1.
        div_factor: the peak over the start value.
        final_div_factor: the start value over the end value.
        three_phase: fall first to the start value in as many steps as the rise, then to the end value; ``pct_start`` must
            then be below 0.5.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid, and for phases that do not fit into the cycle.

    >>> from jsweep import schedules
    >>> [round(float(schedules.cosine_onecycle(10, 1.0, pct_start=0.5)(t)), 4) for t in (0, 5, 10)]
    [0.04, 1.0, 0.0]
    """
    cycle = _Cycle(transition_steps, peak_value, div_factor, final_div_factor)
    cycle.check()
    check_flag("three_phase", three_phase)
    if three_phase:
        check(
            "pct_start", pct_start, lambda v: 0 < v < 0.5, "a number between 0 and 0.5, as three_phase rises and falls"
        )
    else:
        check("pct_start", pct_start, lambda v: 0 < v < 1, "a number between 0 and 1")

    def schedule(count: Number):
        rise = whole_steps(pct_start, transition_steps)
        up = _phase(count, (0, rise), cycle.start, cycle.peak, cosine=True)
        if not three_phase:
            out = _phase(count, (rise, transition_steps), cycle.peak, cycle.end, cosine=True)
            return jnp.where(steps_since(count) < rise, up, out)
        down = _phase(count, (rise, 2 * rise), cycle.peak, cycle.start, cosine=True)
        out = _phase(count, (2 * rise, transition_steps), cycle.start, cycle.end, cosine=True)
        return jnp.where(steps_since(count) < rise, up, jnp.where(steps_since(count) < 2 * rise, down, out))

    return schedule


def linear_onecycle(
    transition_steps: Number,
    peak_value: Number,
    *,
    pct_start: Number = 0.3,
    pct_final: Number = 0.85,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> Schedule:
    """One cycle along lines, in three phases (optax's ``linear_onecycle_schedule``).

    From ``peak_value / div_factor`` up to ``peak_value`` at step ``floor(pct_start * transition_steps)``, back at
    ``floor(pct_final * transition_steps)``, then down to ``peak_value / (div_factor * final_div_factor)`` at
    ``transition_steps``, which holds.

    Args:
        transition_steps: the length of the cycle in steps.
        peak_value: the highest value.
        pct_start: the fraction of the steps after which the value is at its peak, between 0 and 1.
        pct_final: the fraction after which it is back at the start value, between ``pct_start`` and 1.
        div_factor: the peak over the start value.
        final_div_factor: the start value over the end value.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid, and for phases out of order.

    >>> from jsweep import schedules
    >>> cycle = schedules.linear_onecycle(20, 1.0, pct_start=0.5, pct_final=0.75)
    >>> [round(float(cycle(t)), 4) for t in (0, 10, 15, 20)]
    [0.04, 1.0, 0.04, 0.0]
    """
    cycle = _Cycle(transition_steps, peak_value, div_factor, final_div_factor)
    cycle.check()
    check("pct_start", pct_start, lambda v: 0 < v < 1, "a number between 0 and 1")
    check("pct_final", pct_final, lambda v: 0 < v < 1, "a number between pct_start and 1")
    if not ascending(pct_start, pct_final):
        raise ConfigError(f"pct_final={pct_final!r} is not valid: pass a number between pct_start={pct_start!r} and 1.")

    def schedule(count: Number):
        rise, back = whole_steps(pct_start, transition_steps), whole_steps(pct_final, transition_steps)
        up = _phase(count, (0, rise), cycle.start, cycle.peak)
        down = _phase(count, (rise, back), cycle.peak, cycle.start)
        out = _phase(count, (back, transition_steps), cycle.start, cycle.end)
        return jnp.where(steps_since(count) < rise, up, jnp.where(steps_since(count) < back, down, out))

    return schedule


def _phase(count: Number, steps: tuple[Number, Number], start: Number, end: Number, *, cosine: bool = False) -> Scalar:
    """From ``start`` at the first of two steps to ``end`` at the second, and as at the ends outside."""
    begin, finish = map(number, steps)
    passed, left = passed_and_left(count, finish - begin, begin)
    return mix(start, end, half_cosine(left), half_cosine(passed)) if cosine else mix(start, end, left, passed)
