"""Reduce on plateau: not a schedule of the count but a transformation that watches the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jsweep.schedules._core import Number, check, number


class PlateauState(NamedTuple):
    """Where a lane stands: its scale so far, the best mean loss, and the counts of `reduce_on_plateau`."""

    scale: jax.Array
    best: jax.Array
    waited: jax.Array
    cooling: jax.Array
    seen: jax.Array
    mean: jax.Array


def reduce_on_plateau(
    factor: Number = 0.1,
    patience: Number = 10,
    rtol: Number = 1e-4,
    atol: Number = 0.0,
    cooldown: Number = 0,
    accumulation_size: Number = 1,
    min_scale: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Scale updates down by ``factor`` when the loss has not improved for ``patience`` looks; every number may be traced.

    Chain it after an optimizer and pass the loss: ``update(..., value=loss)`` (`jsweep.supervised` does). A look is the
    mean of ``accumulation_size`` losses. It improves where ``mean < (1 - rtol) * best - atol``. After a cut the next
    ``cooldown`` looks do not count as waiting, and the scale never falls below ``min_scale``. The rule of optax's
    ``contrib.reduce_on_plateau``, and of PyTorch's ``ReduceLROnPlateau`` with ``patience + 1``.

    >>> import optax
    >>> transform = optax.chain(optax.sgd(1.0), reduce_on_plateau(factor=0.5, patience=2))
    >>> state = transform.init(1.0)
    >>> for _ in range(4):
    ...     update, state = transform.update(1.0, state, value=3.0)
    >>> float(update)
    -0.5
    """
    check("factor", factor, lambda v: (v > 0) & (v < 1), "a factor between 0 and 1")
    check("patience", patience, lambda v: v >= 1, "a number of looks of at least 1")
    for name, value in (("rtol", rtol), ("atol", atol), ("cooldown", cooldown), ("min_scale", min_scale)):
        check(name, value, lambda v: v >= 0, "a number of at least 0")
    check("accumulation_size", accumulation_size, lambda v: v >= 1, "a number of losses of at least 1")

    def init(params: Any) -> PlateauState:
        zero = jnp.zeros((), jnp.int32)
        return PlateauState(number(1.0), number(jnp.inf), zero, zero, zero, number(0.0))

    def update(updates: Any, state: PlateauState, params: Any = None, *, value: Number, **_: Any) -> Any:
        seen = state.seen + 1
        mean = state.mean + (number(value) - state.mean) / seen
        looked = _look(state._replace(seen=jnp.zeros_like(seen), mean=number(0.0)), mean)
        waiting = state._replace(seen=seen, mean=mean)
        new = jax.tree.map(lambda a, b: jnp.where(seen >= jnp.asarray(accumulation_size), a, b), looked, waiting)
        return jax.tree.map(lambda u: (u * new.scale).astype(jnp.result_type(u)), updates), new

    def _look(state: PlateauState, mean: jax.Array) -> PlateauState:
        better = mean < (1 - number(rtol)) * state.best - number(atol)
        waited = jnp.where(better, 0, state.waited + 1)
        cooling = state.cooling > 0
        cut = (waited >= jnp.asarray(patience)) & ~cooling
        return state._replace(
            scale=jnp.where(cut, jnp.maximum(state.scale * number(factor), number(min_scale)), state.scale),
            best=jnp.where(better, mean, state.best),
            waited=jnp.where(cut | cooling, 0, waited).astype(jnp.int32),
            cooling=jnp.where(cut, jnp.asarray(cooldown), jnp.maximum(state.cooling - 1, 0)).astype(jnp.int32),
        )

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
