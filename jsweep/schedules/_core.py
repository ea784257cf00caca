"""What all schedules share: how numbers and counts become arrays, and arithmetic whose gradient is finite everywhere."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

Number: TypeAlias = ArrayLike
"""A Python number, a NumPy or JAX scalar, or a tracer."""

Scalar: TypeAlias = Float[Array, ""]

Schedule: TypeAlias = Callable[[Number], Scalar]
"""A function from the number of updates made so far to a value."""

AnySchedule: TypeAlias = Callable[[ArrayLike], ArrayLike]
"""A schedule of optax's or of the user's own, which need not return an array."""


def number(value: Number) -> Scalar:
    """A parameter as a float of JAX's default width, so that concrete and traced arguments take the same path."""
    return jnp.asarray(value, jnp.result_type(float))


def steps_since(count: Number, begin: Number = 0) -> Scalar:
    """The steps from ``begin`` to ``count``, 0 before it; whole numbers up to 2**24 are exact in float32."""
    return jnp.maximum(number(count) - number(begin), 0.0)


def length_of(steps: Number) -> Scalar:
    """A length by which to divide: a traced one of 0 or below counts as 1."""
    steps = number(steps)
    return jnp.where(steps > 0, steps, 1.0)


def passed_and_left(count: Number, steps: Number, begin: Number = 0) -> tuple[Scalar, Scalar]:
    """The fractions of ``steps`` that have passed since ``begin`` and that are left, both exact at both ends.

    Each is computed by itself: one minus the other would lose its relative accuracy where it is small. If ``steps`` is 0
    or below, all has passed.
    """
    steps = number(steps)
    passed = jnp.minimum(steps_since(count, begin), steps)
    done = passed >= steps
    length = length_of(steps)
    return jnp.where(done, 1.0, passed / length), jnp.where(done, 0.0, (steps - passed) / length)


def whole_periods(passed: Scalar, length: Scalar) -> Scalar:
    """``passed // length`` of non-negative floats, correct where the quotient rounds up to a whole number."""
    periods = jnp.floor(passed / length)
    return jnp.where(periods * length > passed, periods - 1, periods)


def whole_steps(share: Number, steps: Number) -> Scalar:
    """``floor(share * steps)``, where a product that rounding put just below a whole number counts as that number."""
    product = number(share) * number(steps)
    nearest = jnp.round(product)
    close = jnp.abs(product - nearest) <= 2 * jnp.finfo(product.dtype).eps * jnp.abs(product)
    return jnp.where(close, nearest, jnp.floor(product))


def half_cosine(left: Scalar) -> Scalar:
    """Falls from 1.0 where all is left to 0.0 where nothing is: ``0.5 * (1 + cos(pi * (1 - left)))``.

    Written as the square of a sine it keeps its relative accuracy near the end, where one plus a cosine cancels.
    """
    return jnp.square(jnp.sin(0.5 * jnp.pi * left))


def power_of(base: Scalar, exponent: Scalar) -> Scalar:
    """``base ** exponent`` of a base of at least 0; at 0 it is 0, with derivative 0 rather than infinity or NaN."""
    positive = base > 0
    return jnp.where(positive, jnp.where(positive, base, 1.0) ** exponent, 0.0)


def root(value: Scalar) -> Scalar:
    """``sqrt(value)`` of a value of at least 0; at 0 its derivative is 0 rather than infinity."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)


def mix(start: Number, end: Number, falling: Scalar, rising: Scalar) -> Scalar:
    """``start * falling + end * rising``, and exactly ``start`` or ``end`` where the other's weight is 0."""
    start, end = number(start), number(end)
    return jnp.where(rising == 0, start, jnp.where(falling == 0, end, start * falling + end * rising))


def value_if(chosen: Bool[Array, ""], schedule: AnySchedule, count: Number) -> Scalar:
    """``schedule(count)``, whose derivative cannot reach anything where ``chosen`` is False.

    A zero cotangent is not enough: times an infinite derivative it is NaN. So everything that the schedule is computed
    from passes a `where` of its own, which replaces that NaN by zero.
    """
    pure, inputs = jax.closure_convert(lambda: number(schedule(count)))
    return jnp.asarray(pure(*(jnp.where(chosen, value, jax.lax.stop_gradient(value)) for value in inputs)))
