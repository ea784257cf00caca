"""One abstract trace of a task: what it reads, the shapes of its state, and the metrics it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep._runtime.prng import GENERATOR
from jsweep.data.splits import train_like
from jsweep.errors import ConfigError
from jsweep.task.config import Config
from jsweep.task.lanes import Choice, Width, code_of
from jsweep.task.task import Task


@dataclass(frozen=True)
class LaneType:
    """How a lane's values travel: their dtype, and for a choice among strings the names."""

    dtype: np.dtype
    names: tuple[str, ...] = ()
    widest: int = 0  # the largest of whole numbers
    most: int = 0  # above 0: the widest of widths that are padded to it and masked

    def encode(self, value: Any) -> Any:
        """One config's value as the number that is put in the lane."""
        return code_of(value) if self.names else value

    def wrap(self, value: jax.Array) -> Any:
        """What the task sees: the tracer, or a choice or width that holds it."""
        if self.most:
            return Width(value, self.most)
        return Choice(value, self.names) if self.names else value


@dataclass(frozen=True)
class Traced:
    """What one abstract trace of a task tells."""

    reads: frozenset[str]
    state: Any  # the shapes of one lane's state
    train_metrics: tuple[str, ...]
    evaluation_metrics: tuple[str, ...]
    convolves: bool = False  # whether a step convolves, which under vmap is slower than one lane at a time
    masks: bool = False  # whether the step masks every width that travels padded


def lane_type(values: Sequence[Any]) -> LaneType | None:
    """How these values could travel in a lane, or None when they cannot (tuples, callables, None, mixtures)."""
    kinds = {type(v) for v in values}
    if kinds == {str}:
        return LaneType(np.dtype(np.uint32), tuple(sorted(set(values))))
    if kinds == {bool}:
        return LaneType(np.dtype(bool))
    if kinds and kinds <= {int, float, np.float32, np.float64, np.int32, np.int64}:
        if any(issubclass(kind, float | np.floating) for kind in kinds):
            return LaneType(np.dtype(jnp.result_type(float)))
        if all(abs(int(v)) < 2**31 for v in values):
            return LaneType(np.dtype(np.int32), widest=max(int(v) for v in values))
    return None


def trace(task: Task, static: Mapping[str, Any], lanes: Mapping[str, LaneType], batch_rows: int) -> Traced:
    """Trace one initialisation, step and evaluation under a vmap of two lanes; nothing is compiled or run.

    Raises ConfigError where the task breaks its contract (structure of the state, metrics that are no scalars); an
    exception of the task itself passes through.
    """
    reads: set[str] = set()
    seen: dict[str, Any] = {}

    def one(values: dict[str, jax.Array], words: jax.Array, batch: Any, validation: Any) -> Any:
        wrapped = {n: lanes[n].wrap(v) for n, v in values.items()}
        config = Config({**static, **wrapped}, reads)
        key = jax.random.wrap_key_data(words, impl=GENERATOR)
        state = jax.tree.map(jnp.asarray, task.init(config, key))
        widths = [value for value in wrapped.values() if isinstance(value, Width)]
        before = [width.masked for width in widths]
        outcome = task.step(config, state, batch, key)
        seen["masks"] = all(width.masked > count for width, count in zip(widths, before, strict=True))
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            raise ConfigError(f"step returned {type(outcome).__name__}: return the pair (state, metrics).")
        _check_same_state(state, outcome[0])
        evaluated = task.evaluate(config, outcome[0], validation)
        for where, metrics in (("step", outcome[1]), ("evaluate", evaluated)):
            _check_metrics(where, metrics)
        seen["state"] = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), state)
        seen["train"], seen["evaluation"] = tuple(outcome[1]), tuple(evaluated)
        return outcome, evaluated

    def shapes(arrays: Any, rows: int | None) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((rows or a.shape[0], *a.shape[1:]), _dtype(a)), arrays)

    values = {name: jax.ShapeDtypeStruct((2,), lane.dtype) for name, lane in lanes.items()}
    words = jax.ShapeDtypeStruct((2, 2), jnp.uint32)
    over_lanes = jax.vmap(one, in_axes=(0, 0, None, None))
    batch, validation = shapes(train_like(task.data), batch_rows), shapes(task.data.validation, None)
    jaxpr = jax.make_jaxpr(over_lanes)(values, words, batch, validation)
    convolves = _mentions(jaxpr.jaxpr, "conv_general_dilated")
    return Traced(frozenset(reads), seen["state"], seen["train"], seen["evaluation"], convolves, seen["masks"])


def _mentions(jaxpr: Any, primitive: str) -> bool:
    inner = (value for equation in jaxpr.eqns for value in equation.params.values())
    return any(equation.primitive.name == primitive for equation in jaxpr.eqns) or any(
        _mentions(getattr(value, "jaxpr", value), primitive)
        for value in inner
        if hasattr(value, "eqns") or hasattr(value, "jaxpr")
    )


def _dtype(array: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(array.dtype)


def _check_same_state(before: Any, after: Any) -> None:
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ConfigError(
            f"step returned a state of structure {jax.tree.structure(after)}, and init one of "
            f"{jax.tree.structure(before)}: return the same structure."
        )
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if jnp.shape(old) != jnp.shape(new) or jnp.result_type(old) != jnp.result_type(new):
            raise ConfigError(
                f"step turned state{jax.tree_util.keystr(path)} from {jnp.result_type(old)}{list(jnp.shape(old))} into "
                f"{jnp.result_type(new)}{list(jnp.shape(new))}: keep shapes and types."
            )


def _check_metrics(where: str, metrics: Any) -> None:
    if not isinstance(metrics, Mapping):
        raise ConfigError(f"{where} returned {type(metrics).__name__} as metrics: return a dict of scalars.")
    for name, value in metrics.items():
        if jnp.shape(value) != ():
            raise ConfigError(f"the metric {name!r} of {where} has shape {jnp.shape(value)}: return a scalar.")
