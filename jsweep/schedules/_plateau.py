"""Reduce on plateau: not a schedule of the count but a transformation that watches the loss."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jsweep.schedules._check import check, check_factor, check_whole
from jsweep.schedules._core import Number, number

Updates = TypeVar("Updates")


class PlateauState(NamedTuple):
    """The state of `reduce_on_plateau`.

    Attributes:
        scale: what updates are multiplied by.
        best: the lowest mean loss so far.
        waited: looks since the last improvement.
        cooling: looks that are still not to count after a cut.
        seen: losses of the current look.
        mean: their mean.
    """

    scale: Float[Array, ""]
    best: Float[Array, ""]
    waited: Int[Array, ""]
    cooling: Int[Array, ""]
    seen: Int[Array, ""]
    mean: Float[Array, ""]


@dataclass(frozen=True)
class _Rule:
    """When to cut the scale and by how much: the arguments of `reduce_on_plateau`."""

    factor: Number
    patience: Number
    rtol: Number
    atol: Number
    cooldown: Number
    min_scale: Number


def reduce_on_plateau(
    factor: Number = 0.1,
    patience: Number = 10,
    *,
    rtol: Number = 1e-4,
    atol: Number = 0.0,
    cooldown: Number = 0,
    accumulation_size: Number = 1,
    min_scale: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Scale updates down by ``factor`` when the loss has not improved for ``patience`` looks; every number may be traced.

    Chain it after an optimizer and pass the loss: ``update(..., value=loss)``, as `jsweep.supervised` does. A look is the
    mean of ``accumulation_size`` losses, and improves if ``mean < best - rtol * abs(best) - atol``. While losses are
    positive this is the rule of optax's ``contrib.reduce_on_plateau``, and of PyTorch's ``ReduceLROnPlateau`` with
    ``patience + 1``. Those require ``mean < (1 - rtol) * best``, which for a negative ``best`` lets a mean that became
    worse pass as an improvement; here an improvement is always a lower mean.

    Args:
        factor: what a cut multiplies the scale by, between 0 and 1.
        patience: looks without an improvement until a cut, at least 1.
        rtol: the improvement required, relative to ``abs(best)``, from 0 up to but not including 1.
        atol: the improvement required in addition, in units of the loss.
        cooldown: looks after a cut that do not count as waiting.
        accumulation_size: losses per look, at least 1.
        min_scale: the scale does not fall below it, 0 to 1.

    Returns:
        An optax transformation with the state `PlateauState`.

    Raises:
        ConfigError: for a concrete argument that is not valid.

    >>> import optax
    >>> from jsweep import schedules
    >>> transform = optax.chain(optax.sgd(1.0), schedules.reduce_on_plateau(factor=0.5, patience=2))
    >>> state = transform.init(1.0)
    >>> for _ in range(4):
    ...     update, state = transform.update(1.0, state, value=3.0)
    >>> float(update)
    -0.5
    """
    check("factor", factor, lambda v: 0 < v < 1, "a number between 0 and 1")
    check_whole("patience", patience, 1)
    check("rtol", rtol, lambda v: 0 <= v < 1, "a number from 0 up to but not including 1")
    check_factor("atol", atol, zero=True)
    check_whole("cooldown", cooldown, 0)
    check_whole("accumulation_size", accumulation_size, 1)
    check("min_scale", min_scale, lambda v: 0 <= v <= 1, "a number from 0 to 1")

    rule = _Rule(factor, patience, rtol, atol, cooldown, min_scale)

    def init(params: optax.Params) -> PlateauState:
        zero = jnp.zeros((), jnp.int32)
        return PlateauState(number(1.0), number(jnp.inf), zero, zero, zero, number(0.0))

    def update(
        updates: Updates, state: PlateauState, params: optax.Params | None = None, *, value: Number, **extra_args: Any
    ) -> tuple[Updates, PlateauState]:
        seen = state.seen + 1
        mean = state.mean + (number(value) - state.mean) / seen
        looked = _look(state._replace(seen=jnp.zeros_like(seen), mean=number(0.0)), mean, rule)
        waiting = state._replace(seen=seen, mean=mean)
        new = jax.tree.map(lambda a, b: jnp.where(seen >= jnp.asarray(accumulation_size), a, b), looked, waiting)
        return jax.tree.map(lambda u: (u * new.scale).astype(jnp.result_type(u)), updates), new

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _look(state: PlateauState, mean: Float[Array, ""], rule: _Rule) -> PlateauState:
    """The state after a look whose mean loss is ``mean``."""
    required = jnp.where(state.best < 0, 1 + number(rule.rtol), 1 - number(rule.rtol))
    better = mean < required * state.best - number(rule.atol)
    waited = jnp.where(better, 0, state.waited + 1)
    cooling = state.cooling > 0
    cut = (waited >= jnp.asarray(rule.patience)) & ~cooling
    lower = jnp.maximum(state.scale * number(rule.factor), number(rule.min_scale))
    return state._replace(
        scale=jnp.where(cut, lower, state.scale),
        best=jnp.where(better, mean, state.best),
        waited=jnp.where(cut | cooling, 0, waited).astype(jnp.int32),
        cooling=jnp.where(cut, jnp.asarray(rule.cooldown), jnp.maximum(state.cooling - 1, 0)).astype(jnp.int32),
    )
