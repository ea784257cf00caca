"""Schedules that warm up first: along a line from a low value to the peak, then a tail."""

from typing import Literal

import jax.numpy as jnp

from jsweep.errors import ConfigError
from jsweep.schedules._combine import join
from jsweep.schedules._core import Number, Schedule, check_steps, check_value, half_cosine, mix, number, passed_and_left
from jsweep.schedules._decay import constant, cosine_decay, exponential_decay, inverse_sqrt, linear


def warmup_constant(init_value: Number, peak_value: Number, warmup_steps: Number) -> Schedule:
    """A line to ``peak_value`` at step ``warmup_steps``, which holds (optax's ``warmup_constant_schedule``).

    A traced ``warmup_steps`` of 0 or below gives the peak at once.

    >>> [float(warmup_constant(0.0, 1.0, 4)(t)) for t in (0, 2, 4, 9)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return _warmed(init_value, peak_value, warmup_steps, constant(peak_value))


def warmup_cosine_decay(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> Schedule:
    """A line to the peak, then a cosine to ``end_value`` at step ``decay_steps``, warm-up included (as in optax).

    The tail is ``end_value + (peak_value - end_value) * (0.5 * (1 + cos(pi * p))) ** exponent`` with
    ``p = (count - warmup_steps) / (decay_steps - warmup_steps)``; exactly ``end_value`` from ``decay_steps`` on, also where
    traced lengths leave no tail.

    >>> [round(float(warmup_cosine_decay(0.0, 1.0, 10, 30)(t)), 4) for t in (0, 10, 20, 30)]
    [0.0, 1.0, 0.5, 0.0]
    """
    if isinstance(warmup_steps, int | float) and isinstance(decay_steps, int | float) and decay_steps <= warmup_steps:
        raise ConfigError(
            f"decay_steps={decay_steps!r} includes the warm-up and is not above warmup_steps={warmup_steps!r}: give more."
        )
    check_value("end_value", end_value)
    unit = cosine_decay(1.0, number(decay_steps) - number(warmup_steps), 0.0, exponent)

    def tail(count: Number):
        fallen = unit(count)
        return mix(peak_value, end_value, fallen, 1 - fallen)

    return _warmed(init_value, peak_value, warmup_steps, tail)


def warmup_exponential_decay(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    transition_steps: Number,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """A line to the peak, then `exponential_decay` from there, its steps counted after the warm-up (as in optax).

    >>> [float(warmup_exponential_decay(0.0, 1.0, 4, 10, 0.25)(t)) for t in (2, 4, 9, 14)]
    [0.5, 1.0, 0.5, 0.25]
    """
    tail = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _warmed(init_value, peak_value, warmup_steps, tail)


def warmup_inverse_sqrt(init_value: Number, peak_value: Number, warmup_steps: Number) -> Schedule:
    """A line to the peak, then ``peak_value * sqrt(warmup_steps / count)`` (Vaswani et al. 2017, section 5.3).

    With ``init_value=0`` and ``peak_value = (d_model * warmup_steps) ** -0.5`` it is the rate of that paper.

    >>> [float(warmup_inverse_sqrt(0.0, 1.0, 100)(t)) for t in (0, 50, 100, 400)]
    [0.0, 0.5, 1.0, 0.5]
    """
    check_steps("warmup_steps", warmup_steps)
    tail = inverse_sqrt(peak_value, warmup_steps)
    return _warmed(init_value, peak_value, warmup_steps, lambda count: tail(number(count) + number(warmup_steps)))


def warmup_stable_decay(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    stable_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
    tail: Literal["linear", "cosine", "1-sqrt"] = "linear",
) -> Schedule:
    """The trapezoid of Zhai et al. 2022 and Hu et al. 2024: up, level for ``stable_steps``, down for ``decay_steps``.

    With p the part of the decay that has passed, the tail falls as ``1 - p`` (linear), ``0.5 * (1 + cos(pi * p))``, or
    ``1 - sqrt(p)`` (Hägele et al. 2024); exactly ``end_value`` from its end on.

    >>> [float(warmup_stable_decay(0.0, 1.0, 10, 20, 10)(t)) for t in (5, 10, 30, 35, 40)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if tail not in ("linear", "cosine", "1-sqrt"):
        raise ConfigError(f"tail={tail!r} is unknown: give 'linear', 'cosine' or '1-sqrt'.")
    check_value("end_value", end_value)
    check_steps("stable_steps", stable_steps, -1)
    check_steps("decay_steps", decay_steps, -1)

    def falling(count: Number):
        passed, left = passed_and_left(count, decay_steps, stable_steps)
        root = jnp.sqrt(passed)
        rising, falling = {
            "linear": (passed, left),
            "cosine": (half_cosine(passed), half_cosine(left)),
            "1-sqrt": (root, left / (1 + root)),  # 1 - sqrt(p), without the cancellation
        }[tail]
        stable = number(count) < number(stable_steps)
        return jnp.where(stable, number(peak_value), mix(peak_value, end_value, falling, rising))

    return _warmed(init_value, peak_value, warmup_steps, falling)


def _warmed(init_value: Number, peak_value: Number, warmup_steps: Number, tail: Schedule) -> Schedule:
    check_value("init_value", init_value)
    check_value("peak_value", peak_value)
    check_steps("warmup_steps", warmup_steps, -1)
    rise = linear(init_value, peak_value, jnp.maximum(number(warmup_steps), 1e-3))
    return join([rise, tail], [warmup_steps])
