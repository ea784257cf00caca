"""Schedules that fall from a first value: by steps, exponentially, along a cosine, a line, a power, a root."""

import jax.numpy as jnp

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


def constant(value: Number) -> Schedule:
    """``value`` at every step (optax's ``constant_schedule``).

    >>> float(constant(0.5)(1000))
    0.5
    """
    check_value("value", value)
    return lambda count: number(value) + 0 * steps_since(count)


def linear(init_value: Number, end_value: Number, transition_steps: Number, transition_begin: Number = 0) -> Schedule:
    """A straight line (optax's ``linear_schedule``, PyTorch's ``LinearLR``).

    ``init_value + (end_value - init_value) * (count - transition_begin) / transition_steps``; ``init_value`` before
    ``transition_begin`` and ``end_value`` exactly from its end on. Lengths are in steps; traced lengths of 0 or below
    give ``end_value``.

    >>> [float(linear(1.0, 0.0, 4)(t)) for t in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """
    return polynomial(init_value, end_value, 1.0, transition_steps, transition_begin)


def polynomial(
    init_value: Number, end_value: Number, power: Number, transition_steps: Number, transition_begin: Number = 0
) -> Schedule:
    """A power of the steps left (optax's ``polynomial_schedule``, PyTorch's ``PolynomialLR``).

    ``(init_value - end_value) * (1 - (count - transition_begin) / transition_steps) ** power + end_value``;
    ``init_value`` before ``transition_begin`` and ``end_value`` exactly from its end on. Lengths are in steps; traced
    lengths of 0 or below give ``end_value``.

    >>> [float(polynomial(1.0, 0.0, 2.0, 4)(t)) for t in (0, 2, 4)]
    [1.0, 0.25, 0.0]
    """
    check_value("init_value", init_value)
    check_value("end_value", end_value)
    check("power", power, lambda v: v > 0, "a power above 0")
    check_steps("transition_steps", transition_steps)
    check_steps("transition_begin", transition_begin, -1)

    def schedule(count: Number):
        passed, left = passed_and_left(count, transition_steps, transition_begin)
        exponent = number(power)
        straight = exponent == 1
        falling = jnp.where(straight, left, left**exponent)
        return mix(init_value, end_value, falling, jnp.where(straight, passed, 1 - falling))

    return schedule


def step_decay(init_value: Number, interval: Number, factor: Number) -> Schedule:
    """A cut every ``interval`` steps: ``init_value * factor ** (count // interval)`` (PyTorch's ``StepLR``).

    Goes on for ever; ``interval`` is in steps. A traced interval of 0 or below counts as 1.

    >>> [float(step_decay(1.0, 10, 0.5)(t)) for t in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """
    check_value("init_value", init_value)
    check_steps("interval", interval)
    check("factor", factor, lambda v: v >= 0, "a factor of at least 0")

    def schedule(count: Number):
        length = number(interval)
        cuts = whole_periods(steps_since(count), jnp.where(length > 0, length, 1.0))
        return number(init_value) * number(factor) ** cuts

    return schedule


def whole_periods(passed, length):
    """``passed // length`` of non-negative floats, right where the quotient rounds up to a whole number."""
    periods = jnp.floor(passed / length)
    return jnp.where(periods * length > passed, periods - 1, periods)


def exponential_decay(
    init_value: Number,
    transition_steps: Number,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """Exponential decay (optax's and Keras's of that name; PyTorch's ``ExponentialLR`` with 1 transition step).

    ``init_value * decay_rate ** ((count - transition_begin) / transition_steps)``, the exponent rounded down with
    ``staircase``; ``init_value`` before ``transition_begin``, and for ever on after it, but never past ``end_value``:
    a floor where ``decay_rate < 1``, else a ceiling. Lengths are in steps; traced lengths of 0 or below count as 1.

    >>> [float(exponential_decay(1.0, 10, 0.25)(t)) for t in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check("decay_rate", decay_rate, lambda v: v > 0, "a rate above 0")
    check_steps("transition_begin", transition_begin, -1)
    if end_value is not None:
        check_value("end_value", end_value)

    def schedule(count: Number):
        rate, length = number(decay_rate), number(transition_steps)
        passed, length = steps_since(count, transition_begin), jnp.where(length > 0, length, 1.0)
        value = number(init_value) * rate ** (whole_periods(passed, length) if staircase else passed / length)
        if end_value is None:
            return value
        bound = number(end_value)
        return jnp.where(rate < 1, jnp.maximum(value, bound), jnp.minimum(value, bound))

    return schedule


def inverse_time_decay(
    init_value: Number, transition_steps: Number, decay_rate: Number, staircase: bool = False
) -> Schedule:
    """``init_value / (1 + decay_rate * count / transition_steps)`` (Keras's ``InverseTimeDecay``).

    With ``staircase`` the quotient is rounded down. Goes on for ever; lengths are in steps, and traced ones of 0 or below
    count as 1.

    >>> float(inverse_time_decay(1.0, 10, 1.0)(10))
    0.5
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check("decay_rate", decay_rate, lambda v: v >= 0, "a rate of at least 0")

    def schedule(count: Number):
        length = number(transition_steps)
        passed, length = steps_since(count), jnp.where(length > 0, length, 1.0)
        quotient = whole_periods(passed, length) if staircase else passed / length
        return number(init_value) / (1 + number(decay_rate) * quotient)

    return schedule


def cosine_decay(init_value: Number, decay_steps: Number, alpha: Number = 0.0, exponent: Number = 1.0) -> Schedule:
    """Cosine annealing to ``alpha * init_value`` (Loshchilov and Hutter 2017, without restarts; optax's of that name).

    ``init_value * ((1 - alpha) * (0.5 * (1 + cos(pi * count / decay_steps))) ** exponent + alpha)`` up to
    ``decay_steps``, and exactly ``alpha * init_value`` from there on. Traced lengths of 0 or below give that floor.

    >>> [round(float(cosine_decay(1.0, 10, alpha=0.1)(t)), 4) for t in (0, 5, 10, 20)]
    [1.0, 0.55, 0.1, 0.1]
    """
    check_value("init_value", init_value)
    check_steps("decay_steps", decay_steps)
    check_value("alpha", alpha)
    check("exponent", exponent, lambda v: v > 0, "an exponent above 0")

    def schedule(count: Number):
        _, left = passed_and_left(count, decay_steps)
        floor, power = number(alpha), number(exponent)
        fallen = half_cosine(left)
        fallen = jnp.where(power == 1, fallen, fallen**power)
        return number(init_value) * ((1 - floor) * fallen + floor)

    return schedule


def inverse_sqrt(init_value: Number, timescale: Number) -> Schedule:
    """``init_value * sqrt(timescale / max(count, timescale))``: flat for ``timescale`` steps, then one over a root.

    The decay of Vaswani et al. 2017 and Raffel et al. 2020 without their warm-up. Goes on for ever. Traced timescales of 0 or
    below count as 1.

    >>> [float(inverse_sqrt(1.0, 100)(t)) for t in (0, 100, 400)]
    [1.0, 1.0, 0.5]
    """
    check_value("init_value", init_value)
    check_steps("timescale", timescale)

    def schedule(count: Number):
        scale = number(timescale)
        scale = jnp.where(scale > 0, scale, 1.0)
        return number(init_value) * jnp.sqrt(scale / jnp.maximum(steps_since(count), scale))

    return schedule


def rex(init_value: Number, transition_steps: Number, end_value: Number = 0.0) -> Schedule:
    """The reflected exponential of Chen et al. 2021 ("REX: Revisiting budgeted training"), from a value to another.

    ``end_value + (init_value - end_value) * (1 - p) / (0.5 + 0.5 * (1 - p))`` with ``p = count / transition_steps``; exactly
    ``end_value`` from its end on. Traced lengths of 0 or below give ``end_value``.

    >>> [round(float(rex(1.0, 10)(t)), 4) for t in (0, 5, 10)]
    [1.0, 0.6667, 0.0]
    """
    check_value("init_value", init_value)
    check_steps("transition_steps", transition_steps)
    check_value("end_value", end_value)

    def schedule(count: Number):
        passed, left = passed_and_left(count, transition_steps)
        return mix(init_value, end_value, 2 * left / (1 + left), passed / (1 + left))

    return schedule
