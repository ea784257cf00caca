"""The tile program: initialisation, training and evaluation of C lanes on one device, compiled ahead of time."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int32, Num, PyTree, UInt32

from jsweep._runtime.prng import GENERATOR, step_key
from jsweep.data.arrays import count_examples
from jsweep.data.splits import train_like
from jsweep.engine.compiling import Part, compile_lowered, compile_side_by_side
from jsweep.engine.concurrency import Program
from jsweep.engine.lane_convolutions import with_products
from jsweep.engine.layout import loop_body, optimize_layout
from jsweep.engine.own_copies import with_own_copies
from jsweep.engine.placement import placement
from jsweep.planning import Group
from jsweep.task.task import Task

STEPS_PER_CALL = 256  # the most steps that one call of the training program takes; its argument says how many
PART = 16  # steps of a loop whose length is compiled in, on GPUs
ROW_BYTES = 32 << 20  # about the most of the row numbers that a call is given: those of many lanes are for fewer steps

Form = Literal["cpu", "gpu", "plain"]
"""The platform that a program is written for, in the form that is fastest there, or as the task is written."""

_OF_LANE = {"cpu": with_own_copies, "gpu": with_products, "plain": core.jaxpr_as_fun}


class Lanes(NamedTuple):
    """What the lanes of a tile differ in: the values of their configs, and the data of their noise keys."""

    values: Mapping[str, Array]
    noise: UInt32[ArrayLike, "lanes 2"]


class Tally(NamedTuple):
    """What is recorded of training: the sums of its metrics, and each lane's first step with a non-finite one (-1: none)."""

    sums: Mapping[str, Float[ArrayLike, " lanes"]]
    first_nonfinite_step: Int32[ArrayLike, " lanes"]


class Batches(NamedTuple):
    """The batches of one call: examples, and the rows of them that each step and lane takes."""

    examples: PyTree
    rows: Int32[ArrayLike, "steps lanes rows"]


class Steps(NamedTuple):
    """The steps of one call: the number of the first, and how many."""

    start: Int32[ArrayLike, ""]
    number: Int32[ArrayLike, ""]


@dataclass(frozen=True)
class TileProgram:
    """The three compiled programs of a tile, for one device.

    - ``init(keys, values) -> state, watched``: which leaves of each lane's state are finite
    - ``train(lanes, state, tally, batches, steps) -> state, sums, first_nonfinite_step``
    - ``evaluate(values, state, watched, split) -> {metric: (C,)}, sound``, where ``sound`` says whether what is watched is
      finite still; where there are folds ``evaluate(values, state, watched, rows, split)``, with the rows of ``split`` that
      validate each lane
    """

    init: Callable[..., PyTree]
    train: Callable[..., PyTree]
    evaluate: Callable[..., PyTree]
    width: int


def parts_of_tile(task: Task, group: Group, width: int, device: jax.Device, window: int | None = None) -> list[Part]:
    """The three programs of a tile, init, train and evaluate, to be lowered from the traces that the plan was made of.

    Args:
        task: the task.
        group: the compile group.
        width: lanes of the tile.
        device: the device to compile for.
        window: rows of a window of training examples where they are streamed; None where they are all on the device.
    """
    shapes, form = _Shapes(group, width, placement(task, device)), _form(task, device)
    if task.mesh is not None:
        shapes.shard_state(_shardings_over_mesh(task, group, shapes, device))
    traced, identity, shared = group.traced, group.identity, _shared_key(task, group, width, device)
    key = lambda *own: None if shared is None else (*shared, *own)
    return [
        Part(partial(_lower_init, task, group, shapes), device, key("init", identity.init.digest)),
        Part(
            partial(_lower_train, task, group, shapes, form, window),
            device,
            key("train", identity.step.digest, traced.train_metrics, group.rows, window),
        ),
        Part(
            partial(_lower_evaluate, task, group, shapes, form),
            device,
            key("evaluate", identity.evaluate.digest, traced.evaluation_metrics, group.validation_rows),
        ),
    ]


def _shared_key(task: Task, group: Group, width: int, device: jax.Device) -> tuple[object, ...] | None:
    """What the programs of two groups of a task have in common where they may be the same; None where that is not known.

    With the digest of what a program computes, it decides all that is lowered.
    """
    if task.mesh is not None or group.traced.calls_host:
        return None
    leaves, structure = jax.tree.flatten(group.traced.state)
    state = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    return (structure, state, tuple(sorted((name, repr(lane)) for name, lane in group.lanes.items())), width, device)


def assembled(width: int, parts: Sequence[Program]) -> tuple[TileProgram, str]:
    """A tile's programs, and their fingerprint: 16 hex digits that change when what one of them computes does."""
    init, train, evaluate = parts
    fingerprint = hashlib.sha256(" ".join(part.digest for part in parts).encode()).hexdigest()[:16]
    return TileProgram(init, train, evaluate, width), fingerprint


def compile_tile(
    task: Task, group: Group, width: int, device: jax.Device, window: int | None = None
) -> tuple[TileProgram, str]:
    """A tile's programs, compiled now, and their fingerprint; the arguments are those of `parts_of_tile`."""
    return assembled(width, compile_side_by_side(parts_of_tile(task, group, width, device, window)))


def _shardings_over_mesh(task: Task, group: Group, shapes: "_Shapes", device: jax.Device) -> PyTree:
    """How the state is sharded after a step, as XLA has it follow from the task's constraints.

    After ``init`` alone, what is made of zeros, as an optimizer's moments are, would be on every device.
    """
    shapes.shard_state(jax.tree.map(lambda _: None, shapes.state))
    shapes.shard_state(compile_lowered(_lower_init(task, group, shapes), device).output_shardings[0])

    def one(values: Mapping[str, Array], noise: Array, state: PyTree, batch: PyTree) -> PyTree:
        return group.traced.run_step(values, state, batch, step_key(noise, jnp.int32(0)))[0]

    batch = shapes.like(train_like(task.data), group.rows)
    step = jax.jit(over_lanes(one, shapes.width, shared=1)).lower(shapes.values, shapes.noise, shapes.state, batch)
    return compile_lowered(step, device).output_shardings


def _lower_init(task: Task, group: Group, shapes: "_Shapes") -> jax.stages.Lowered:
    where = (shapes.state_shardings, shapes.where)
    kept: dict[str, Any] = {} if task.mesh is None else {"out_shardings": where}
    return jax.jit(_init(group, shapes.width), **kept).lower(shapes.noise, shapes.values)


def lower_train(
    task: Task, group: Group, width: int, device: jax.Device, window: int | None = None, plain: bool = False
) -> jax.stages.Lowered:
    """The training program alone; the arguments are those of `parts_of_tile`, and ``plain`` leaves the task as it is written."""
    shapes = _Shapes(group, width, placement(task, device))
    return _lower_train(task, group, shapes, "plain" if plain else _form(task, device), window)


def _lower_train(task: Task, group: Group, shapes: "_Shapes", form: Form, window: int | None) -> jax.stages.Lowered:
    width = shapes.width
    sums = {name: shapes.array((width,), sums_dtype()) for name in group.traced.train_metrics}
    rows = shapes.array((steps_per_call(width, group.rows), width, group.rows), jnp.int32)
    scalar = shapes.array((), jnp.int32)
    kept: dict[str, Any] = (
        {} if task.mesh is None else {"out_shardings": (shapes.state_shardings, shapes.where, shapes.where)}
    )
    in_parts = shapes.platform == "gpu" and steps_per_call(width, group.rows) > PART
    return jax.jit(_train(group, width, form, in_parts), donate_argnums=1, **kept).lower(
        Lanes(shapes.values, shapes.noise),
        shapes.state,
        Tally(sums, shapes.array((width,), jnp.int32)),
        Batches(shapes.like(train_like(task.data), window), rows),
        Steps(scalar, scalar),
    )


def lower_plain_evaluate(task: Task, group: Group, width: int, device: jax.Device) -> jax.stages.Lowered:
    """The evaluation program alone, as the task is written."""
    return _lower_evaluate(task, group, _Shapes(group, width, placement(task, device)), "plain")


def _lower_evaluate(task: Task, group: Group, shapes: "_Shapes", form: Form) -> jax.stages.Lowered:
    rows = () if group.validation_rows is None else (shapes.array((shapes.width, group.validation_rows), jnp.int32),)
    function = _of_rows(group.traced.run_evaluate) if rows else group.traced.run_evaluate
    evaluate = jax.jit(_evaluate_and_check(function, shapes.width, form))
    watched = shapes.array((shapes.width, len(_inexact_leaves(shapes.state))), jnp.bool_)
    return evaluate.lower(shapes.values, shapes.state, watched, *rows, shapes.like(task.data.validation))


def lower_test(task: Task, group: Group, width: int, device: jax.Device, state: PyTree) -> jax.stages.Lowered:
    """The evaluation program of such a ``state`` for the test split, traced and lowered only when that is opened.

    Where folds transform their inputs it takes the rows of each lane's fold, as ``evaluate`` does.
    """
    shapes = _Shapes(group, width, placement(task, device))
    if task.mesh is not None:
        shapes.shard_state(jax.tree.map(lambda leaf: leaf.sharding, state))
    function, rows, folds = group.functions(task).evaluate, (), task.data.folds
    if folds is not None and folds.transformed:
        own = count_examples(task.data.test) // folds.copies
        function, rows = _of_rows(function), (shapes.array((width, own), jnp.int32),)
    evaluate = jax.jit(_evaluate(function, width, _form(task, device)))
    return evaluate.lower(shapes.values, shapes.state, *rows, shapes.like(task.data.test))


class _Shapes:
    """The arguments of a tile's programs as shapes, and where they are: on a device, or on every device of a mesh."""

    def __init__(self, group: Group, width: int, where: jax.sharding.Sharding):
        self.width, self.where, self.platform = width, where, next(iter(where.device_set)).platform
        self.values: dict[str, PyTree] = {name: lane.shape(width, sharding=where) for name, lane in group.lanes.items()}
        self.noise = self.array((width, 2), jnp.uint32)
        self.state = jax.tree.map(lambda leaf: self.array((width, *leaf.shape), leaf.dtype), group.traced.state)

    def array(self, dims: tuple[int, ...], dtype: Any) -> PyTree[jax.ShapeDtypeStruct]:
        """The shape of an array; JAX has no type for the dtypes of numbers and of typed keys alike."""
        return jax.ShapeDtypeStruct(dims, dtype, sharding=self.where)

    @property
    def state_shardings(self) -> PyTree[jax.sharding.Sharding]:
        return jax.tree.map(lambda leaf: leaf.sharding, self.state)

    def shard_state(self, shardings: PyTree[jax.sharding.Sharding]) -> None:
        """Take the state as it is sharded."""
        sharded = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        self.state = jax.tree.map(sharded, self.state, shardings, is_leaf=lambda leaf: leaf is None)

    def like(self, arrays: PyTree, rows: int | None = None) -> PyTree:
        dims = lambda a: (rows or a.shape[0], *a.shape[1:])
        return jax.tree.map(lambda a: self.array(dims(a), jax.dtypes.canonicalize_dtype(a.dtype)), arrays)


def over_lanes(function: Callable[..., PyTree], width: int, shared: int = 0) -> Callable[..., PyTree]:
    """``function`` over the lane axis of all arguments but the last ``shared`` ones.

    A single lane is not vmapped: a batch axis of size one slows convolutions down.
    """
    if width > 1:
        return lambda *args: jax.vmap(function, in_axes=(*[0] * (len(args) - shared), *[None] * shared))(*args)

    def alone(*args: PyTree) -> PyTree:
        with_lanes, rest = args[: len(args) - shared], args[len(args) - shared :]
        return jax.tree.map(lambda a: a[None], function(*jax.tree.map(lambda a: a[0], with_lanes), *rest))

    return alone


def in_turn(function: Callable[..., PyTree], width: int, shared: int = 0) -> Callable[..., PyTree]:
    """The same, lane after lane: each is computed by the same instructions.

    A product of what the lanes share and what they do not is one wide product for all of them under `jax.vmap`, and its
    last columns may be summed in another order than the others, so that a lane's bits would depend on its place.
    """
    if width == 1:
        return over_lanes(function, width, shared)

    def mapped(*args: PyTree) -> PyTree:
        with_lanes, rest = args[: len(args) - shared], args[len(args) - shared :]
        return jax.lax.map(lambda own: function(*own, *rest), with_lanes)

    return mapped


def _init(group: Group, width: int) -> Callable[..., PyTree]:
    def init(keys: Array, values: Mapping[str, Array]) -> PyTree:
        def one(key: Array, values: Mapping[str, Array]) -> PyTree:
            state = group.traced.run_init(values, jax.random.wrap_key_data(key, impl=GENERATOR))
            return state, _finite_leaves(state)

        return over_lanes(one, width)(keys, values)

    return init


def _train(group: Group, width: int, form: Form, in_parts: bool) -> Callable[..., PyTree]:
    as_function = _OF_LANE[form if width > 1 else "plain"]

    def one(
        state: PyTree,
        values: Mapping[str, Array],
        noise: Array,
        indices: Int32[Array, " rows"],
        examples: PyTree,
        step: Int32[Array, ""],
    ) -> PyTree:
        batch = jax.tree.map(lambda a: a.at[indices].get(mode="promise_in_bounds"), examples)
        return group.traced.run_step(values, state, batch, step_key(noise, step), as_function)

    all_lanes = over_lanes(one, width, shared=2)

    def train(lanes: Lanes, state: PyTree, tally: Tally, batches: Batches, steps: Steps) -> PyTree:
        start = jnp.asarray(steps.start)
        rows = jax.ShapeDtypeStruct(jnp.shape(batches.rows)[1:], jnp.int32)
        loop = loop_body(all_lanes, state, *lanes, rows, batches.examples, start) if form == "cpu" else None

        def body(i: Array, carry: PyTree) -> PyTree:
            state, sums, first_nonfinite_step = carry
            step = start + i
            indices = jax.lax.dynamic_index_in_dim(batches.rows, i, axis=0, keepdims=False)
            run = all_lanes if loop is None else loop.step
            state, metrics = run(state, *lanes, indices, batches.examples, step)
            sums = {name: sums[name] + metrics[name].astype(sums[name].dtype) for name in sums}
            for value in metrics.values():
                is_first = (first_nonfinite_step < 0) & ~jnp.isfinite(value)
                first_nonfinite_step = jnp.where(is_first, step, first_nonfinite_step)
            return state, sums, first_nonfinite_step

        begin = state if loop is None else loop.stored(state)
        repeat = _repeat_in_parts if in_parts else partial(jax.lax.fori_loop, 0)
        end, *recorded = repeat(steps.number, body, (begin, *tally))
        return (end if loop is None else loop.restored(end), *recorded)

    return train


def _repeat_in_parts(
    number: Int32[ArrayLike, ""], body: Callable[[Int32[Array, ""], PyTree], PyTree], carry: PyTree
) -> PyTree:
    """The same as ``jax.lax.fori_loop(0, number, body, carry)``, as far as possible in inner loops of `PART` iterations.

    XLA runs a GPU program's loops from the host, which waits for the device before each iteration of one whose length it does
    not know.
    """
    parts = jnp.asarray(number) // PART

    def one_part(part: Int32[Array, ""], carry: PyTree) -> PyTree:
        return jax.lax.fori_loop(0, PART, lambda i, carry: body(part * PART + i, carry), carry)

    carry = jax.lax.fori_loop(0, parts, one_part, carry)
    return jax.lax.fori_loop(parts * PART, number, body, carry)


def steps_per_call(width: int, rows: int) -> int:
    """The most steps that a call of the training program takes, in tiles of ``width`` lanes with batches of ``rows``."""
    return int(np.clip(ROW_BYTES // (4 * width * rows), 1, STEPS_PER_CALL))


def sums_dtype() -> np.dtype:
    """The type that metrics of training are added up in: float32, or float64 where JAX has 64 bits."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def _finite_leaves(state: PyTree) -> Bool[Array, " leaves"]:
    """Which floating-point leaves of a lane's state are finite."""
    found = [jnp.isfinite(leaf).all() for leaf in _inexact_leaves(state)]
    return jnp.stack(found) if found else jnp.zeros(0, jnp.bool_)


def _inexact_leaves(state: PyTree) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def _evaluate_and_check(
    function: Callable[..., Mapping[str, Array | np.ndarray]], width: int, form: Form
) -> Callable[..., PyTree]:
    """Evaluation, and whether the leaves of the state that were finite at first still are.

    A step that returns no loss, or one that was computed before its last update, shows no NaN, and an argmax hides it.
    """
    measure = _evaluate(function, width, form)

    def evaluate(values: PyTree, state: PyTree, watched: Bool[Array, "lanes leaves"], *rest: PyTree) -> PyTree:
        sound = over_lanes(lambda state, watched: (_finite_leaves(state) | ~watched).all(), width)
        return measure(values, state, *rest), sound(state, watched)

    return evaluate


def _evaluate(
    function: Callable[..., Mapping[str, Array | np.ndarray]], width: int, form: Form
) -> Callable[..., PyTree]:
    def evaluate(*args: PyTree) -> dict[str, Num[Array, " lanes"]]:
        def one(*args: PyTree) -> dict[str, Num[Array, ""]]:
            return {name: _recorded(jnp.asarray(value)) for name, value in function(*args).items()}

        if form == "cpu":
            return optimize_layout(in_turn(one, width, shared=1))(*args)
        return over_lanes(one, width, shared=1)(*args)

    return evaluate


def _recorded(value: Num[Array, ""]) -> Num[Array, ""]:
    """A metric in its own type, but for floats of less than 32 bits."""
    narrow = jnp.issubdtype(value.dtype, jnp.inexact) and value.dtype.itemsize < 4
    return value.astype(jnp.float32) if narrow or value.dtype == jnp.bool_ else value


def _of_rows(
    function: Callable[..., Mapping[str, Array | np.ndarray]],
) -> Callable[..., Mapping[str, Array | np.ndarray]]:
    """A lane's evaluation on some rows of a split."""

    def evaluate(
        values: PyTree, state: PyTree, rows: Int32[Array, " rows"], split: PyTree
    ) -> Mapping[str, Array | np.ndarray]:
        taken = jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), split)
        return function(values, state, taken)

    return evaluate


def _form(task: Task, device: jax.Device) -> Form:
    if task.mesh is None and device.platform == "cpu":
        return "cpu"
    return "gpu" if task.mesh is None and device.platform == "gpu" else "plain"
