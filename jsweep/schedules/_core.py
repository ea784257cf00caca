"""What all schedules share: how numbers and counts become arrays, and how concrete arguments are checked."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jsweep.errors import ConfigError

Number = Any  # a Python number, a NumPy or JAX scalar, or a tracer
Schedule = Callable[[Number], jax.Array]


def number(value: Number) -> jax.Array:
    """A parameter as a float of JAX's default width, so that concrete and traced arguments take the same path."""
    return jnp.asarray(value, jnp.result_type(float))


def steps_since(count: Number, begin: Number = 0) -> jax.Array:
    """The steps from ``begin`` to ``count`` as a float, 0 before it; whole numbers up to 2**24 are exact in float32."""
    return jnp.maximum(number(count) - number(begin), 0.0)


def passed_and_left(count: Number, steps: Number, begin: Number = 0) -> tuple[jax.Array, jax.Array]:
    """How much of ``steps`` has passed since ``begin``, and how much is left: 0.0 to 1.0, both exact at both ends.

    Each is computed by itself: one minus the other would lose its relative accuracy where it is small. Where ``steps``
    is 0 or below, all has passed.
    """
    steps = number(steps)
    passed = jnp.minimum(steps_since(count, begin), steps)
    divisor = jnp.where(steps > 0, steps, 1.0)
    done = passed >= steps
    return jnp.where(done, 1.0, passed / divisor), jnp.where(done, 0.0, (steps - passed) / divisor)


def half_cosine(left: jax.Array) -> jax.Array:
    """Falls from 1.0 where all is left to 0.0 where nothing is: ``0.5 * (1 + cos(pi * (1 - left)))``.

    Written as the square of a sine it keeps its relative accuracy near the end, where one plus a cosine cancels.
    """
    return jnp.square(jnp.sin(0.5 * jnp.pi * left))


def mix(start: Number, end: Number, falling: jax.Array, rising: jax.Array) -> jax.Array:
    """``start * falling + end * rising``, and exactly ``start`` or ``end`` where the other's weight is 0."""
    start, end = number(start), number(end)
    return jnp.where(rising == 0, start, jnp.where(falling == 0, end, start * falling + end * rising))


def concrete(value: Any) -> bool:
    """Whether a value can be looked at: traced ones cannot, and go unchecked."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def check(name: str, value: Any, holds: Callable[[np.ndarray], Any], what: str) -> None:
    """Raise ConfigError unless a concrete ``value`` is finite and ``holds``; ``what`` says what is wanted."""
    if not concrete(value):
        return
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not (np.all(np.isfinite(array)) and np.all(holds(array))):
        raise ConfigError(f"{name}={_shown(value)} is not {what}: give {what}.")


def check_value(name: str, value: Number) -> None:
    """A learning rate or other level: any finite number."""
    check(name, value, lambda v: True, "a finite number")


def check_steps(name: str, value: Number, least: float = 0) -> None:
    """A length in steps: above ``least``, or from 0 where ``least`` is negative."""
    if least < 0:
        check(name, value, lambda v: v >= 0, "a number of steps of at least 0")
    else:
        check(name, value, lambda v: v > least, "a number of steps above 0")


def check_boundaries(boundaries: Sequence[Number], others: Sequence[Any], name: str, extra: int = 0) -> None:
    """Boundaries in ascending order from 0, and as many of ``name`` as there are (plus ``extra``)."""
    if len(boundaries) + extra != len(others):
        raise ConfigError(
            f"boundaries has {len(boundaries)} steps and {name} {len(others)} entries: give {len(boundaries) + extra} {name}."
        )
    known = [float(b) for b in boundaries if concrete(b)]
    if any(b < 0 for b in known) or any(b >= c for b, c in itertools.pairwise(known)):
        raise ConfigError(
            f"boundaries={_shown(list(boundaries))} is not in ascending order from 0: sort them, none twice."
        )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str | list | tuple | type(None)) else str(value)
