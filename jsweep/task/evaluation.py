"""Losses and metrics over a batch or a split: one value per example checked, their means, and whole-split metrics."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Shaped

from jsweep._runtime.per_example import at_least_float32
from jsweep.data.arrays import Arrays
from jsweep.errors import ConfigError
from jsweep.task.config import Config

CHUNK = 2048  # examples evaluated at once; bounds the memory of activations over a large split

Measure = Callable[[PyTree, Arrays], Shaped[Array, "..."]]
"""A loss or a metric: ``(outputs, targets) -> values``."""


def per_example(name: str, measure: Measure, outputs: PyTree, targets: Arrays) -> Shaped[Array, " batch"]:
    """``measure(outputs, targets)``; ConfigError unless it is one value per example, made from that example alone."""
    check_no_pairs(name, measure, outputs, targets)
    values = jnp.asarray(measure(outputs, targets))
    rows = _rows(targets)
    shape = jnp.shape(values)
    if shape == (rows,):
        return values
    given = (
        f"{name} returned shape {shape} for {rows} examples, of outputs {shapes(outputs)} and targets {shapes(targets)}"
    )
    if len(shape) > 1 and shape[0] == rows:
        axis = "1" if len(shape) == 2 else str(tuple(range(1, len(shape))))
        raise ConfigError(f"{given}: return one value per example, such as with .mean(axis={axis}).")
    whole = "" if name == "loss" else ", or declare it with jsweep.metrics.Metric(..., per_example=False)"
    raise ConfigError(f"{given}: return one value per example, not their mean{whole}.")


def batch_mean(config: Config, values: Shaped[Array, " batch"]) -> Float[Array, ""]:
    """The mean over a batch, at least in float32; where batch size is a lane, over its first ``batch_size`` rows."""
    values = at_least_float32(values)
    size: Any = config.get("batch_size")
    if isinstance(size, jax.core.Tracer):
        real = jnp.arange(values.shape[0]) < size
        return jnp.where(real, values, 0.0).sum() / size.astype(values.dtype)
    return values.mean()


def evaluate_split(
    forward: Callable[[Arrays], PyTree],
    each: Mapping[str, Measure],
    whole: Mapping[str, Measure],
    split: tuple[Arrays, Arrays],
) -> dict[str, Float[Array, ""]]:
    """Losses and metrics of a model over a split of any size.

    Args:
        forward: ``forward(x) -> outputs`` for a batch.
        each: functions whose values, one per example, are averaged.
        whole: functions of the outputs and targets of the whole split, which return a scalar.
        split: the pair (x, y).
    """
    examples = _rows(split)

    def values_of(x: Arrays, y: Arrays) -> tuple[dict[str, Array], PyTree]:
        outputs = forward(x)
        values = {name: at_least_float32(per_example(name, measure, outputs, y)) for name, measure in each.items()}
        return values, outputs if whole else None

    if examples <= CHUNK:
        values, outputs = values_of(*split)
        means = {name: one.mean() for name, one in values.items()}
    else:
        means, outputs = _in_chunks(values_of, split, examples)
    return means | {name: _of_whole(name, measure, outputs, split[1]) for name, measure in whole.items()}


def _in_chunks(
    values_of: Callable[[Arrays, Arrays], tuple[dict[str, Array], PyTree]],
    split: tuple[Arrays, Arrays],
    examples: int,
) -> tuple[dict[str, Array], PyTree]:
    """Means of values and all outputs, of chunks of equal size; the last one is filled up with the last example."""
    count = -(-examples // CHUNK)
    size = -(-examples // count)

    def add(index: Array) -> tuple[dict[str, Array], PyTree]:
        rows = index * size + jnp.arange(size)
        x, y = jax.tree.map(lambda a: jnp.take(a, rows, axis=0, mode="clip"), split)
        values, outputs = values_of(x, y)
        return {name: jnp.where(rows < examples, one, 0.0).sum() for name, one in values.items()}, outputs

    sums, outputs = jax.lax.map(add, jnp.arange(count))
    outputs = jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:])[:examples], outputs)
    return {name: one.sum() / examples for name, one in sums.items()}, outputs


def _of_whole(name: str, measure: Measure, outputs: PyTree, targets: Arrays) -> Float[Array, ""]:
    check_no_pairs(name, measure, outputs, targets)
    value = jnp.asarray(measure(outputs, targets))
    if value.shape != ():
        raise ConfigError(
            f"{name} returned shape {value.shape} for the whole split, of outputs {shapes(outputs)} and targets "
            f"{shapes(targets)}: return a scalar, or declare it with per_example=True."
        )
    return at_least_float32(value)


def check_no_pairs(name: str, measure: Measure, outputs: PyTree, targets: Arrays) -> None:
    """Raise ConfigError where outputs (n, 1) and targets (n,), or the reverse, are broadcast to all pairs of examples.

    A measure that takes two outputs and three targets alike does that.
    """
    if not isinstance(outputs, jax.Array) or not isinstance(targets, jax.Array | np.ndarray):
        return
    if outputs.shape != (*targets.shape, 1) and targets.shape != (*outputs.shape, 1):
        return
    rows = lambda array, count: jax.ShapeDtypeStruct((count, *array.shape[1:]), array.dtype)
    try:
        traced = jax.make_jaxpr(measure)(rows(outputs, 2), rows(targets, 3)).jaxpr
    except Exception:
        return
    used = {id(variable) for equation in traced.eqns for variable in equation.invars}
    if all(id(variable) in used for variable in traced.invars):
        raise ConfigError(
            f"{name} compares outputs of shape {outputs.shape} with targets of shape {targets.shape}, which broadcasts them "
            "to every pair of examples: give both one shape, such as with targets[..., None] or outputs[..., 0]."
        )


def _rows(arrays: Arrays) -> int:
    return jnp.shape(jax.tree.leaves(arrays)[0])[0]


def shapes(arrays: PyTree) -> str:
    """The shapes of a pytree's arrays, for messages."""
    return ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(arrays))
