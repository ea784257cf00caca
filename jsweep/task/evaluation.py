"""Losses and metrics over a batch or a split of any size: means over examples, and metrics of the whole split."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from jsweep._runtime.per_example import at_least_float32, check_scalar, per_example_values
from jsweep.data.arrays import Arrays
from jsweep.task.config import Config

CHUNK = 2048  # examples evaluated at once; bounds the memory of activations over a large split

Measure = Callable[[PyTree, Arrays], Shaped[Array, "..."]]
"""A loss or a metric: ``(outputs, targets) -> values``."""


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
    examples = jnp.shape(jax.tree.leaves(split)[0])[0]

    def values_of(x: Arrays, y: Arrays) -> tuple[dict[str, Array], PyTree]:
        outputs = forward(x)
        values = {name: per_example_values(_called(name), measure, outputs, y) for name, measure in each.items()}
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


def _called(name: str) -> str:
    return name if name == "loss" else f"metric {name!r}"


def _of_whole(name: str, measure: Measure, outputs: PyTree, targets: Arrays) -> Float[Array, ""]:
    value = measure(outputs, targets)
    check_scalar(f"metric {name!r}", value)
    return at_least_float32(jnp.asarray(value))
