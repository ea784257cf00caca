"""The tile program: initialisation, training and evaluation of C lanes on one device, compiled ahead of time."""

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jsweep._runtime.backend import reductions_flag_in_force
from jsweep._runtime.prng import step_key, trial_keys
from jsweep.data.splits import train_like
from jsweep.engine.layout import laid_out
from jsweep.planning import Group
from jsweep.task.config import Config
from jsweep.task.task import Task

STEPS_PER_CALL = 256  # the most steps one call of the training program takes; fewer are a matter of its argument


@dataclass(frozen=True)
class TileProgram:
    """The three compiled programs of a tile, for one device.

    - ``init(root, seeds, words, lanes) -> state, noise, order``
    - ``train(lanes, noise, state, sums, bad, examples, rows, start, count) -> state, sums, bad``
    - ``evaluate(lanes, state, split) -> {metric: (C,)}``
    """

    init: Callable
    train: Callable
    evaluate: Callable
    width: int


@dataclass(frozen=True)
class LoweredTile:
    """The three programs before compilation, with a fingerprint of their text."""

    init: Any
    train: Any
    evaluate: Any
    width: int

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when the computation does (not with names of Python objects or lines)."""
        digest = hashlib.sha256()
        for part in (self.init, self.train, self.evaluate):
            text = part.as_text()
            digest.update(re.sub(r"loc\(.*?\)|#loc.*|0x[0-9a-f]+|@[\w.]+", "", text).encode())
        return digest.hexdigest()[:16]

    def compile(self) -> TileProgram:
        """Compile all three; the persistent cache serves what it has seen."""
        options = compiler_options()
        with ThreadPoolExecutor(2) as pool:  # training takes as long to compile as the other two together
            train = pool.submit(self.train.compile, options)
            others = pool.submit(lambda: (self.init.compile(options), self.evaluate.compile(options)))
            init, evaluate = others.result()
            return TileProgram(init, train.result(), evaluate, self.width)


def compiler_options() -> dict[str, Any] | None:
    """XLA's options for tile programs on this backend.

    On CPU optimization level 1 compiles two to three times faster than the default to programs of the same speed.
    Without the flag of `jsweep.configure` the fusion that computes wrong reductions is turned off whole.
    """
    if jax.default_backend() != "cpu":
        return None
    options: dict[str, Any] = {"xla_backend_optimization_level": 1}
    if not reductions_flag_in_force():
        options["xla_cpu_experimental_ynn_fusion_type"] = ""
    return options


def lower_tile(task: Task, group: Group, width: int, device: jax.Device, window: int | None = None) -> LoweredTile:
    """Trace and lower the three programs of a tile of ``width`` lanes of ``group``, for ``device``.

    ``window`` is the number of training examples it is handed at a time where they are streamed.
    """
    shapes = _Shapes(group, width, device)
    init = jax.jit(_init(task, group, width)).lower(
        shapes.array((2,), jnp.uint32), shapes.array((width,), jnp.uint32), shapes.words, shapes.lanes
    )
    evaluate = jax.jit(_evaluate(task, group, width)).lower(
        shapes.lanes, shapes.state, shapes.like(task.data.validation)
    )
    return LoweredTile(init, lower_train(task, group, width, device, window), evaluate, width)


def lower_train(task: Task, group: Group, width: int, device: jax.Device, window: int | None = None) -> Any:
    """The training program alone."""
    shapes = _Shapes(group, width, device)
    sums = {name: shapes.array((width,), jnp.float32) for name in group.traced.train_metrics}
    rows = shapes.array((STEPS_PER_CALL, *([] if group.shared else [width]), group.rows), jnp.int32)
    bad, scalar = shapes.array((width,), jnp.int32), shapes.array((), jnp.int32)
    return jax.jit(_train(task, group, width), donate_argnums=2).lower(
        shapes.lanes,
        shapes.words,
        shapes.state,
        sums,
        bad,
        shapes.like(train_like(task.data), window),
        rows,
        scalar,
        scalar,
    )


def lower_test(task: Task, group: Group, width: int, device: jax.Device) -> Any:
    """The evaluation program for the test split, lowered only when that is opened."""
    shapes = _Shapes(group, width, device)
    return jax.jit(_evaluate(task, group, width)).lower(shapes.lanes, shapes.state, shapes.like(task.data.test))


class _Shapes:
    """The arguments of a tile's programs as shapes on a device."""

    def __init__(self, group: Group, width: int, device: jax.Device):
        self._place = jax.sharding.SingleDeviceSharding(device)
        self.lanes = {name: self.array((width,), lane.dtype) for name, lane in group.lanes.items()}
        self.words = self.array((width, 2), jnp.uint32)
        self.state = jax.tree.map(lambda leaf: self.array((width, *leaf.shape), leaf.dtype), group.traced.state)

    def array(self, dims: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, dtype, sharding=self._place)

    def like(self, arrays: Any, rows: int | None = None) -> Any:
        dims = lambda a: (rows or a.shape[0], *a.shape[1:])
        return jax.tree.map(lambda a: self.array(dims(a), jax.dtypes.canonicalize_dtype(a.dtype)), arrays)


def over_lanes(function: Callable, width: int, shared: int = 0) -> Callable:
    """``function`` over the lane axis of all arguments but the last ``shared`` ones.

    One lane alone is not vmapped: a batch axis of one slows convolutions down.
    """
    if width > 1:
        return lambda *args: jax.vmap(function, in_axes=(*[0] * (len(args) - shared), *[None] * shared))(*args)

    def alone(*args: Any) -> Any:
        laned, rest = args[: len(args) - shared], args[len(args) - shared :]
        return jax.tree.map(lambda a: a[None], function(*jax.tree.map(lambda a: a[0], laned), *rest))

    return alone


def _config(group: Group, values: dict[str, jax.Array]) -> Config:
    return Config({**group.static, **{name: group.lanes[name].wrap(value) for name, value in values.items()}})


def _init(task: Task, group: Group, width: int) -> Callable:
    def init(root: jax.Array, seeds: jax.Array, words: jax.Array, lanes: dict[str, jax.Array]) -> Any:
        def one(seed: jax.Array, own: jax.Array, values: dict[str, jax.Array]) -> Any:
            for_init, order, noise = trial_keys(root, seed, own)
            state = jax.tree.map(jnp.asarray, task.init(_config(group, values), for_init))
            return state, jax.random.key_data(noise), jax.random.key_data(order)

        return over_lanes(one, width)(seeds, words, lanes)

    return init


def _train(task: Task, group: Group, width: int) -> Callable:
    """Train ``count`` steps; a lane's first step with a metric that is not finite is kept in ``bad`` (-1: none)."""

    def train(
        lanes: dict[str, jax.Array],
        noise: jax.Array,
        state: Any,
        sums: dict[str, jax.Array],
        bad: jax.Array,
        examples: Any,
        rows: jax.Array,
        start: jax.Array,
        count: jax.Array,
    ) -> Any:
        def body(i: jax.Array, carry: Any) -> Any:
            state, sums, bad = carry
            step = start + i

            def gather(indices: jax.Array) -> Any:
                return jax.tree.map(lambda a: a.at[indices].get(mode="promise_in_bounds"), examples)

            def one(values: dict[str, jax.Array], words: jax.Array, state: Any, seen: Any) -> Any:
                batch = seen if group.shared else gather(seen)
                return task.step(_config(group, values), state, batch, step_key(words, step))

            indices = jax.lax.dynamic_index_in_dim(rows, i, axis=0, keepdims=False)
            seen = gather(indices) if group.shared else indices
            state, metrics = _fast(over_lanes(one, width, shared=int(group.shared)))(lanes, noise, state, seen)
            sums = {name: sums[name] + metrics[name].astype(jnp.float32) for name in sums}
            for value in metrics.values():
                bad = jnp.where((bad < 0) & ~jnp.isfinite(value), step, bad)
            return state, sums, bad

        return jax.lax.fori_loop(0, count, body, (state, sums, bad))

    return train


def _evaluate(task: Task, group: Group, width: int) -> Callable:
    def evaluate(lanes: dict[str, jax.Array], state: Any, split: Any) -> dict[str, jax.Array]:
        def one(values: dict[str, jax.Array], state: Any, split: Any) -> dict[str, jax.Array]:
            metrics = task.evaluate(_config(group, values), state, split)
            return {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}

        return _fast(over_lanes(one, width, shared=1))(lanes, state, split)

    return evaluate


def _fast(function: Callable) -> Callable:
    """``function`` in the form that this backend runs fastest."""
    return laid_out(function) if jax.default_backend() == "cpu" else function
