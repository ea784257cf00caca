"""Schedules that fall from a first value: by steps, exponentially, along a cosine, a line, a power, a root."""

import jax.numpy as jnp

from jsweep.schedules._check import check_factor, check_flag, check_steps, check_value
from jsweep.schedules._core import (
    Number,
    Schedule,
    half_cosine,
    length_of,
    mix,
    number,
    passed_and_left,
    power_of,
    steps_since,
    whole_periods,
)


def constant(value: Number) -> Schedule:
    """``value`` at every step (optax's ``constant_schedule``).

    >>> from jsweep import schedules
    >>> float(schedules.constant(0.5)(1000))
    0.5
    """
    check_value("value", value)
    return lambda count: number(value) + 0 * steps_since(count)


def linear(
    init_value: Number, end_value: Number, *, transition_steps: Number, transition_begin: Number = 0
) -> Schedule:
    """A straight line (optax's ``linear_schedule``, PyTorch's ``LinearLR``).

    ``init_value + (end_value - init_value) * (count - transition_begin) / transition_steps``

    Args:
        init_value: the value up to ``transition_begin``.
        end_value: the value, exactly, from the end of the line on.
        transition_steps: the length of the line in steps; a traced one of 0 or below gives ``end_value``.
        transition_begin: the step at which the line begins.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.linear(1.0, 0.0, transition_steps=4)(t)) for t in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """
    return polynomial(
        init_value, end_value, power=1.0, transition_steps=transition_steps, transition_begin=transition_begin
    )


def polynomial(
    init_value: Number,
    end_value: Number,
    *,
    power: Number,
    transition_steps: Number,
    transition_begin: Number = 0,
) -> Schedule:
    """A power of the steps left (optax's ``polynomial_schedule``, PyTorch's ``PolynomialLR``).

    ``(init_value - end_value) * (1 - (count - transition_begin) / transition_steps) ** power + end_value``

    Args:
        init_value: the value up to ``transition_begin``.
        end_value: the value, exactly, from the end of the curve on.
        power: the exponent, above 0.
        transition_steps: the length of the curve in steps; a traced one of 0 or below gives ``end_value``.
        transition_begin: the step at which the curve begins.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.polynomial(1.0, 0.0, power=2.0, transition_steps=4)(t)) for t in (0, 2, 4)]
    [1.0, 0.25, 0.0]
    """
    check_value("init_value", init_value)
    check_value("end_value", end_value)
    check_factor("power", power)
    check_steps("transition_steps", transition_steps)
    check_steps("transition_begin", transition_begin, zero=True)

    def schedule(count: Number):
        passed, left = passed_and_left(count, transition_steps, transition_begin)
        exponent = number(power)
        straight = exponent == 1
        falling = jnp.where(straight, left, power_of(left, exponent))
        return mix(init_value, end_value, falling, jnp.where(straight, passed, 1 - falling))

    return schedule


def step_decay(init_value: Number, interval: Number, *, factor: Number) -> Schedule:
    """A cut every ``interval`` steps, forever: ``init_value * factor ** (count // interval)`` (PyTorch's ``StepLR``).

    Args:
        init_value: the first value.
        interval: the steps between two cuts; a traced one of 0 or below counts as 1.
        factor: what each cut multiplies the value by, at least 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.step_decay(1.0, 10, factor=0.5)(t)) for t in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """
    check_value("init_value", init_value)
    check_steps("interval", interval)
    check_factor("factor", factor, zero=True)

    def schedule(count: Number):
        cuts = whole_periods(steps_since(count), length_of(interval))
        return number(init_value) * number(factor) ** cuts

    return schedule


def exponential_decay(
    init_value: Number,
    transition_steps: Number,
    *,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """Exponential decay (optax's and Keras's of that name; PyTorch's ``ExponentialLR`` with 1 transition step).

    ``init_value * decay_rate ** ((count - transition_begin) / transition_steps)``

    Args:
        init_value: the value up to ``transition_begin``.
        transition_steps: the steps in which the value is multiplied by ``decay_rate``; traced ones of 0 or below count
            as 1.
        decay_rate: above 0; above 1 the value grows.
        transition_begin: the step at which the decay begins.
        staircase: round the exponent down, so that the value falls in steps.
        end_value: a bound that the value does not cross: a floor if ``decay_rate < 1``, otherwise a ceiling.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.exponential_decay(1.0, 10, decay_rate=0.25)(t)) for t in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check_factor("decay_rate", decay_rate)
    check_steps("transition_begin", transition_begin, zero=True)
    check_flag("staircase", staircase)
    if end_value is not None:
        check_value("end_value", end_value)

    def schedule(count: Number):
        first, rate, length = number(init_value), number(decay_rate), length_of(transition_steps)
        passed = steps_since(count, transition_begin)
        exponent = whole_periods(passed, length) if staircase else passed / length
        value = first * rate**exponent
        if end_value is None:
            return value
        bound = number(end_value)
        crossed = jnp.where(rate < 1, value <= bound, value >= bound)
        # A growing power may overflow, and its derivative must not: past the bound the exponent is 0.
        return jnp.where(crossed, bound, first * rate ** jnp.where(crossed, 0.0, exponent))

    return schedule


def inverse_time_decay(
    init_value: Number, transition_steps: Number, *, decay_rate: Number, staircase: bool = False
) -> Schedule:
    """``init_value / (1 + decay_rate * count / transition_steps)``, forever (Keras's ``InverseTimeDecay``).

    Args:
        init_value: the first value.
        transition_steps: the unit of time in steps; a traced one of 0 or below counts as 1.
        decay_rate: what each unit adds to the divisor, at least 0.
        staircase: round ``count / transition_steps`` down.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> float(schedules.inverse_time_decay(1.0, 10, decay_rate=1.0)(10))
    0.5
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check_factor("decay_rate", decay_rate, zero=True)
    check_flag("staircase", staircase)

    def schedule(count: Number):
        passed, length = steps_since(count), length_of(transition_steps)
        quotient = whole_periods(passed, length) if staircase else passed / length
        return number(init_value) / (1 + number(decay_rate) * quotient)

    return schedule


def cosine_decay(init_value: Number, decay_steps: Number, *, alpha: Number = 0.0, exponent: Number = 1.0) -> Schedule:
    """Cosine annealing to ``alpha * init_value`` (Loshchilov and Hutter 2017, without restarts; optax's of that name).

    ``init_value * ((1 - alpha) * (0.5 * (1 + cos(pi * count / decay_steps))) ** exponent + alpha)``

    Args:
        init_value: the first value.
        decay_steps: the length of the decay in steps; a traced one of 0 or below gives the floor.
        alpha: the floor as a fraction of ``init_value``, held from ``decay_steps`` on.
        exponent: the exponent of the half cosine, above 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [round(float(schedules.cosine_decay(1.0, 10, alpha=0.1)(t)), 4) for t in (0, 5, 10, 20)]
    [1.0, 0.55, 0.1, 0.1]
    """
    check_value("init_value", init_value)
    check_steps("decay_steps", decay_steps)
    check_value("alpha", alpha)
    check_factor("exponent", exponent)

    def schedule(count: Number):
        _, left = passed_and_left(count, decay_steps)
        floor, exact = number(alpha), number(exponent)
        fallen = half_cosine(left)
        fallen = jnp.where(exact == 1, fallen, power_of(fallen, exact))
        return number(init_value) * ((1 - floor) * fallen + floor)

    return schedule


def inverse_sqrt(init_value: Number, timescale: Number) -> Schedule:
    """``init_value * sqrt(timescale / max(count, timescale))``: flat for ``timescale`` steps, then an inverse root.

    The decay of Vaswani et al. 2017 and Raffel et al. 2020 without their warm-up; it goes on forever. A traced
    ``timescale`` of 0 or below counts as 1 step.

    >>> from jsweep import schedules
    >>> [float(schedules.inverse_sqrt(1.0, 100)(t)) for t in (0, 100, 400)]
    [1.0, 1.0, 0.5]
    """
    check_value("init_value", init_value)
    check_steps("timescale", timescale)

    def schedule(count: Number):
        scale = length_of(timescale)
        return number(init_value) * jnp.sqrt(scale / jnp.maximum(steps_since(count), scale))

    return schedule


def rex(init_value: Number, transition_steps: Number, *, end_value: Number = 0.0) -> Schedule:
    """The reflected exponential of Chen et al. 2021 ("REX: Revisiting budgeted training").

    ``end_value + (init_value - end_value) * (1 - p) / (0.5 + 0.5 * (1 - p))`` with ``p = count / transition_steps``

    Args:
        init_value: the first value.
        transition_steps: the length of the decay in steps; a traced one of 0 or below gives ``end_value``.
        end_value: the value, exactly, from the end of the decay on.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [round(float(schedules.rex(1.0, 10)(t)), 4) for t in (0, 5, 10)]
    [1.0, 0.6667, 0.0]
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check_value("end_value", end_value)

    def schedule(count: Number):
        passed, left = passed_and_left(count, transition_steps)
        return mix(init_value, end_value, 2 * left / (1 + left), passed / (1 + left))

    return schedule
