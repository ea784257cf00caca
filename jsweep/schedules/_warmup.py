"""Schedules that warm up first: along a line from a low value to the peak, then a tail."""

from typing import Literal

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._check import ascending, check_factor, check_option, check_steps, check_value
from jsweep.schedules._combine import join
from jsweep.schedules._core import Number, Schedule, half_cosine, mix, number, passed_and_left, root
from jsweep.schedules._decay import constant, cosine_decay, exponential_decay, inverse_sqrt, linear


def warmup_constant(init_value: Number, peak_value: Number, *, warmup_steps: Number) -> Schedule:
    """A line to ``peak_value`` at step ``warmup_steps``, which holds (optax's ``warmup_constant_schedule``).

    Args:
        init_value: the first value.
        peak_value: the value from ``warmup_steps`` on.
        warmup_steps: the length of the line in steps; 0 (or a traced number below) gives the peak at once.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.warmup_constant(0.0, 1.0, warmup_steps=4)(t)) for t in (0, 2, 4, 9)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return _warmed(init_value, peak_value, warmup_steps, constant(peak_value))


def warmup_cosine_decay(
    init_value: Number,
    peak_value: Number,
    *,
    warmup_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> Schedule:
    """A line to the peak, then a cosine to ``end_value`` at step ``decay_steps``, warm-up included (as in optax).

    The tail is ``end_value + (peak_value - end_value) * (0.5 * (1 + cos(pi * p))) ** exponent`` with
    ``p = (count - warmup_steps) / (decay_steps - warmup_steps)``.

    Args:
        init_value: the first value.
        peak_value: the value at ``warmup_steps``.
        warmup_steps: the length of the line in steps.
        decay_steps: the length of line and tail together in steps, above ``warmup_steps``; traced lengths that leave no
            tail give ``end_value`` after the line.
        end_value: the value, exactly, from ``decay_steps`` on.
        exponent: the exponent of the half cosine, above 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> schedule = schedules.warmup_cosine_decay(0.0, 1.0, warmup_steps=10, decay_steps=30)
    >>> [round(float(schedule(t)), 4) for t in (0, 10, 20, 30)]
    [0.0, 1.0, 0.5, 0.0]
    """
    check_steps("warmup_steps", warmup_steps, zero=True)
    check_steps("decay_steps", decay_steps)
    if not ascending(warmup_steps, decay_steps):
        raise ConfigError(
            f"decay_steps={decay_steps!r} is not valid: pass more than warmup_steps={warmup_steps!r}, which it includes."
        )
    check_value("end_value", end_value)
    check_factor("exponent", exponent)
    unit = cosine_decay(1.0, number(decay_steps) - number(warmup_steps), exponent=exponent)

    def tail(count: Number):
        fallen = unit(count)
        return mix(peak_value, end_value, fallen, 1 - fallen)

    return _warmed(init_value, peak_value, warmup_steps, tail)


def warmup_exponential_decay(
    init_value: Number,
    peak_value: Number,
    *,
    warmup_steps: Number,
    transition_steps: Number,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """A line to the peak, then `exponential_decay` from there, whose steps count from the end of the line (as in optax).

    Args:
        init_value: the first value.
        peak_value: the value at ``warmup_steps``.
        warmup_steps: the length of the line in steps.
        transition_steps: the steps in which the value is multiplied by ``decay_rate``.
        decay_rate: above 0.
        transition_begin: steps between the end of the line and the beginning of the decay.
        staircase: decay in steps of ``transition_steps``.
        end_value: a bound that the tail does not cross.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> schedule = schedules.warmup_exponential_decay(0.0, 1.0, warmup_steps=4, transition_steps=10, decay_rate=0.25)
    >>> [float(schedule(t)) for t in (2, 4, 9, 14)]
    [0.5, 1.0, 0.5, 0.25]
    """
    tail = exponential_decay(
        peak_value,
        transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        staircase=staircase,
        end_value=end_value,
    )
    return _warmed(init_value, peak_value, warmup_steps, tail)


def warmup_inverse_sqrt(init_value: Number, peak_value: Number, *, warmup_steps: Number) -> Schedule:
    """A line to the peak, then ``peak_value * sqrt(warmup_steps / count)``, forever (Vaswani et al. 2017, section 5.3).

    With ``init_value=0`` and ``peak_value = (d_model * warmup_steps) ** -0.5`` it is the rate of that paper.

    Args:
        init_value: the first value.
        peak_value: the value at ``warmup_steps``.
        warmup_steps: the length of the line in steps, above 0.

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> [float(schedules.warmup_inverse_sqrt(0.0, 1.0, warmup_steps=100)(t)) for t in (0, 50, 100, 400)]
    [0.0, 0.5, 1.0, 0.5]
    """
    check_steps("warmup_steps", warmup_steps)
    tail = inverse_sqrt(peak_value, warmup_steps)
    return _warmed(init_value, peak_value, warmup_steps, lambda count: tail(number(count) + number(warmup_steps)))


def warmup_stable_decay(
    init_value: Number,
    peak_value: Number,
    *,
    warmup_steps: Number,
    stable_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
    tail: Literal["linear", "cosine", "1-sqrt"] = "linear",
) -> Schedule:
    """The trapezoid of Zhai et al. 2022 and Hu et al. 2024: up, level for ``stable_steps``, down for ``decay_steps``.

    With p the fraction of the decay that has passed, the tail falls as ``1 - p`` (linear), ``0.5 * (1 + cos(pi * p))``
    (cosine) or ``1 - sqrt(p)`` (Hägele et al. 2024). The derivative of that root by p is infinite at p = 0; a gradient
    takes it as 0 there.

    Args:
        init_value: the first value.
        peak_value: the value of the plateau.
        warmup_steps: the length of the rise in steps.
        stable_steps: the length of the plateau in steps.
        decay_steps: the length of the tail in steps.
        end_value: the value, exactly, from the end of the tail on.
        tail: "linear", "cosine" or "1-sqrt".

    Returns:
        A schedule.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> from jsweep import schedules
    >>> schedule = schedules.warmup_stable_decay(0.0, 1.0, warmup_steps=10, stable_steps=20, decay_steps=10)
    >>> [float(schedule(t)) for t in (5, 10, 30, 35, 40)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    check_option("tail", tail, ("linear", "cosine", "1-sqrt"))
    check_value("end_value", end_value)
    check_steps("stable_steps", stable_steps, zero=True)
    check_steps("decay_steps", decay_steps, zero=True)

    def plateau_and_tail(count: Number):
        passed, left = passed_and_left(count, decay_steps, stable_steps)
        risen = root(passed)
        rising, falling = {
            "linear": (passed, left),
            "cosine": (half_cosine(passed), half_cosine(left)),
            "1-sqrt": (risen, left / (1 + risen)),  # 1 - sqrt(p), without the cancellation
        }[tail]
        stable = number(count) < number(stable_steps)
        return jnp.where(stable, number(peak_value), mix(peak_value, end_value, falling, rising))

    return _warmed(init_value, peak_value, warmup_steps, plateau_and_tail)


def _warmed(init_value: Number, peak_value: Number, warmup_steps: Number, tail: Schedule) -> Schedule:
    check_value("init_value", init_value)
    check_value("peak_value", peak_value)
    check_steps("warmup_steps", warmup_steps, zero=True)
    rise = linear(init_value, peak_value, transition_steps=jnp.maximum(number(warmup_steps), 1e-3))
    return join([rise, tail], [warmup_steps])
