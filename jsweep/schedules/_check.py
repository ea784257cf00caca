"""How concrete arguments are checked: one sentence with the argument, its value and the fix. Traced ones pass."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jsweep.errors import ConfigError
from jsweep.schedules._core import Number

Holds = Callable[[float], bool]


def concrete(value: object) -> bool:
    """Whether a value can be looked at: traced ones cannot, and are not checked."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def ascending(low: Number, high: Number, *, strict: bool = True) -> bool:
    """Whether two numbers are in order, as far as they are concrete."""
    if not concrete((low, high)):
        return True
    return bool(np.less(low, high)) if strict else bool(np.less_equal(low, high))


def check(name: str, value: object, holds: Holds, what: str) -> None:
    """Raise ConfigError unless a concrete ``value`` is one finite number that ``holds``; ``what`` says what to pass."""
    if concrete(value) and not _satisfies(value, holds):
        raise _not_valid(name, value, what)


def check_value(name: str, value: object) -> None:
    """A learning rate or another level: any finite number."""
    check(name, value, lambda v: True, "a finite number")


def check_factor(name: str, value: object, *, zero: bool = False) -> None:
    """A factor above 0, or of at least 0."""
    if zero:
        check(name, value, lambda v: v >= 0, "a number of at least 0")
    else:
        check(name, value, lambda v: v > 0, "a number above 0")


def check_steps(name: str, value: object, *, zero: bool = False) -> None:
    """A length in steps: above 0, or of at least 0."""
    if zero:
        check(name, value, lambda v: v >= 0, "a number of steps of at least 0")
    else:
        check(name, value, lambda v: v > 0, "a number of steps above 0")


def check_whole(name: str, value: object, least: int) -> None:
    """A count of looks or losses."""
    check(name, value, lambda v: v >= least and v == int(v), f"a whole number of at least {least}")


def check_each(name: str, values: object, holds: Holds, what: str) -> None:
    """A sequence of numbers, each of which is checked unless it is traced."""
    listed = not isinstance(values, str | Mapping) and _sized(values) and getattr(values, "ndim", 1) == 1
    if not listed or not all(_satisfies(value, holds) for value in cast(Sequence[object], values) if concrete(value)):
        raise _not_valid(name, values, what)


def check_boundaries(boundaries: Sequence[Any], others: Sequence[Any], name: str, *, extra: int = 0) -> None:
    """Boundaries in ascending order from 0, and as many of ``name`` as there are boundaries, plus ``extra``."""
    check_each("boundaries", boundaries, lambda v: v >= 0, "a list of steps in ascending order from 0")
    wanted = len(boundaries) + extra
    if not _sized(others) or len(others) != wanted:
        raise ConfigError(f"{name} is not valid: pass a list of {wanted}, as there are {len(boundaries)} boundaries.")
    known = [float(boundary) for boundary in boundaries if concrete(boundary)]
    if any(b >= c for b, c in itertools.pairwise(known)):
        raise _not_valid("boundaries", boundaries, "a list of steps in ascending order from 0")


def check_flag(name: str, value: object) -> None:
    """A flag that decides which operations are traced."""
    if not isinstance(value, bool | np.bool_):
        raise _not_valid(name, value, "True or False")


def check_option(name: str, value: object, options: Sequence[str]) -> None:
    """One of a few words."""
    if not isinstance(value, str) or value not in options:
        raise _not_valid(name, value, " or ".join(map(repr, options)))


def check_schedule(name: str, value: object) -> None:
    """A schedule: something that can be called."""
    if not callable(value):
        raise _not_valid(name, value, "a schedule, such as schedules.constant(0.1)")


def _satisfies(value: object, holds: Holds) -> bool:
    array = _real(value)
    return array is not None and array.shape == () and bool(np.isfinite(array)) and holds(float(array))


def _real(value: object) -> Float[np.ndarray, "..."] | None:
    """A real number, or an array of them, in float64; None for bools, strings and everything else."""
    try:
        array = np.asarray(value)
        real = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
        return array.astype(np.float64) if real else None
    except (TypeError, ValueError):
        return None


def _sized(value: object) -> bool:
    try:
        len(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return False
    return True


def _not_valid(name: str, value: object, what: str) -> ConfigError:
    shown = repr(value) if isinstance(value, int | float | str | list | tuple | None) else str(value)
    return ConfigError(f"{name}={' '.join(shown.split())} is not valid: pass {what}.")
