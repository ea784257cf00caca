"""The width of a tile: how many lanes one device trains together.

On CPU a tile pays while its parameters, optimizer state and gradients stay in a core's cache, and vmapped convolutions
are slower than single ones, so the best width depends on the program and the machine. Where trials are too few to fill
tiles on several cores it is smaller. The record keeps it, so that a sweep that grows leaves its old trials bit-equal.
"""

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jsweep._runtime.backend import cache_folder
from jsweep._runtime.jax_internals import generator_name
from jsweep._runtime.limits import cores
from jsweep.data.arrays import count_examples
from jsweep.data.splits import train_like
from jsweep.engine.compiling import compile_lowered, compile_program
from jsweep.engine.concurrency import Program
from jsweep.engine.program import (
    Batches,
    Lanes,
    Steps,
    Tally,
    lower_plain_evaluate,
    lower_train,
    steps_per_call,
    sums_dtype,
)
from jsweep.planning import Group
from jsweep.task.task import Task

L2_BYTES = 1 << 20  # of a core's cache, usually 1 to 2 MiB
WIDTHS = tuple(2**power for power in range(13))  # to 4,096
WORTH_MEASURING = 3e12  # floating-point operations of a group for which some seconds of measuring pay
ROUNDS, ROUND_SECONDS, MOST_CALLS, FINALISTS = 5, 0.06, 1000, 3
LONGEST_STEP = 0.25  # seconds of a tile: what wider tiles save, microseconds of each operation, is nothing beside it
WIDE_ENOUGH = 16  # some small programs are slower with 2 to 8 lanes than with one, and far faster with more
MEMORY_SHARE = 0.8  # of an accelerator's memory that a tile may take
LEAST_TILES = 4  # a fixed number rather than the machine's cores, on which results must not depend


class _Measured(TypedDict):
    """What is kept of one measurement: the seconds of a lane's step at every width timed, on all workers at once."""

    seconds_per_lane_step: dict[str, float]


def choose_width(
    task: Task, group: Group, recorded: int | None, wanted: int | str, workers: Sequence[jax.Device]
) -> int:
    """The lanes of a tile of ``group``.

    A program that calls functions on the host is never measured: they would be handed data that there is not. For others,
    "auto" takes the first of these that there is: the width recorded with the sweep, the width measured on this machine
    before, a measurement now if the group is so large that it pays, or a guess from the state's size. A guess is reduced where it
    would leave fewer than `LEAST_TILES` tiles; a measured width is the one in which these trials end first on these workers.

    Args:
        task: the task.
        group: the compile group.
        recorded: the width recorded with the sweep for this group; None if there is none.
        wanted: a width, "measure" or "auto".
        workers: the device of each worker.
    """
    if task.mesh is not None:
        return 1
    if isinstance(wanted, int):
        return wanted
    if recorded is not None and wanted == "auto":
        return recorded
    if workers[0].platform != "cpu":
        return _width_on_accelerator(task, group, workers)
    known = measured_width(task, group, workers)
    if group.traced.calls_host:
        return for_few(guess_width(group), group)
    if known is not None and wanted == "auto":
        return known[0]
    if wanted == "measure" or _work(group) > WORTH_MEASURING:
        return measure_width(task, group, workers)
    return for_few(guess_width(group), group)


def why_width(task: Task, group: Group, wanted: int | str, width: int) -> str:
    """Why tiles of ``group`` have ``width`` lanes on CPU, in words."""
    if task.mesh is not None:
        return "one lane at a time goes over the mesh"
    if isinstance(wanted, int):
        return "as tile says"
    seconds = _known_seconds(task, group)
    if seconds:
        times = ", ".join(f"{lanes}: {1e6 * taken:.3g}" for lanes, taken in seconds.items())
        why, found = f"measured here (us of a lane's step by width: {times})", min(seconds, key=seconds.__getitem__)
        few = f"; {found} would be faster if there were more than {len(group.trials)} trials" if width != found else ""
        return why + few
    rule = (
        "a model that convolves has one lane" if group.traced.convolves else "the state of a tile is to fit the cache"
    )
    why, found = f"guessed from the model, as {rule}; tile='measure' times it", guess_width(group)
    few = f"; fewer than {found}, so that {len(group.trials)} trials make {LEAST_TILES} tiles" if width < found else ""
    return why + few


def for_few(width: int, group: Group) -> int:
    """``width``, or the largest smaller power of two that makes `LEAST_TILES` tiles of the group's trials."""
    while width > 1 and width * (LEAST_TILES - 1) >= len(group.trials):
        width = 1 << ((width - 1).bit_length() - 1)
    return width


def guess_width(group: Group) -> int:
    """A width from the state's size and the kind of model alone."""
    if group.traced.convolves:
        return 1
    width = 1
    while width < 16 and 2 * width * group.lane_bytes <= L2_BYTES:
        width *= 2
    return width


def measure_width(task: Task, group: Group, workers: Sequence[jax.Device]) -> int:
    """Time a few steps of each candidate width on all workers at once; the fastest for a lane is remembered on disk."""
    device = workers[0]
    like = train_like(task.data)
    examples = min(count_examples(like), 4096)  # only their shapes matter
    train = jax.tree.map(lambda a: jnp.zeros((examples, *a.shape[1:]), a.dtype), like)
    seconds: dict[int, float] = {}
    timed: dict[int, Callable[[], float]] = {}
    for width in WIDTHS:
        if width > 1 and width * group.lane_bytes > 64 * L2_BYTES:
            break
        program = compile_program(lower_train(task, group, width, device, examples), device)
        timed[width] = timing(program, group, width, train, workers)
        seconds[width] = min(timed[width]() for _ in range(ROUNDS))
        if width >= WIDE_ENOUGH and min(list(seconds.values())[-2:]) > 1.25 * min(seconds.values()):
            break  # two widths past the best: wider tiles do not fit the cache, and one may be slow by chance
        if seconds[width] * width * len(workers) > LONGEST_STEP:
            break
    for _ in range(ROUNDS):  # again in turn, so that other work of the machine at one moment does not decide
        for width in sorted(seconds, key=seconds.__getitem__)[:FINALISTS]:
            seconds[width] = min(seconds[width], timed[width]())
    _write_cache(_key(task, group), {"seconds_per_lane_step": {str(width): taken for width, taken in seconds.items()}})
    return _fastest(seconds, len(group.trials), len(workers))


def measured_width(task: Task, group: Group, workers: Sequence[jax.Device]) -> tuple[int, float] | None:
    """The width that is best for the group by what was measured on this machine, and the seconds of a lane's step in it.

    The seconds are those of all workers together: one takes as many times as long as there are. None if nothing was measured.
    """
    seconds = _known_seconds(task, group)
    if not seconds:
        return None
    width = _fastest(seconds, len(group.trials), len(workers))
    return width, seconds[width]


def _known_seconds(task: Task, group: Group) -> dict[int, float]:
    entry = _read_cache().get(_key(task, group))
    return {} if entry is None else {int(width): taken for width, taken in entry["seconds_per_lane_step"].items()}


def _fastest(seconds: Mapping[int, float], trials: int, workers: int) -> int:
    """The width in which so many trials end first: wider tiles may be faster, and leave workers without any."""

    def until_the_end(width: int) -> float:
        waves = -(-trials // (width * workers))
        return waves * width * seconds[width]

    return min(sorted(seconds), key=until_the_end)


def timing(
    program: Program,
    group: Group,
    width: int,
    train: PyTree,
    workers: Sequence[jax.Device],
    steps_a_call: int | None = None,
) -> Callable[[], float]:
    """A function that times one round on all workers at once, as they contend for the cache and the memory.

    It returns seconds for a lane's step; a round is as many calls as last `ROUND_SECONDS`, by default of as many steps as do,
    or as a call can have.
    """
    values = {name: jnp.ones(width, lane.dtype) for name, lane in group.lanes.items()}
    lanes = Lanes(values, jnp.zeros((width, 2), jnp.uint32))
    sums = {name: jnp.zeros(width, sums_dtype()) for name in group.traced.train_metrics}
    tally = Tally(sums, jnp.full(width, -1, jnp.int32))
    rows = jnp.zeros((steps_per_call(width, group.rows), width, group.rows), jnp.int32)

    def call(state: PyTree, count: int, times: int = 1) -> None:
        steps = Steps(np.int32(0), np.int32(count))
        for _ in range(times):
            state, *_ = program(lanes, state, tally, Batches(train, rows), steps)
        jax.block_until_ready(state)

    def fitting(count: int, most: int) -> int:
        """How many calls of so many steps last `ROUND_SECONDS`, at most ``most``, by the faster of two."""
        taken = []
        for state in (_sample_state(group, width), _sample_state(group, width)):
            begun = time.perf_counter()
            call(state, count)
            taken.append(time.perf_counter() - begun)
        return int(np.clip(ROUND_SECONDS / max(min(taken), 1e-6), 1, most))

    call(_sample_state(group, width), 1)
    count = steps_a_call or fitting(1, len(rows))
    times = fitting(count, MOST_CALLS)

    def one_round() -> float:
        states = [_sample_state(group, width) for _ in workers]  # a call takes over the memory of its state
        threads = [threading.Thread(target=call, args=(state, count, times)) for state in states]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - begun) / (times * count * width * len(workers))

    return one_round


def _sample_state(group: Group, width: int) -> PyTree:
    """A state of ordinary numbers; with zeros, steps could take another time."""
    draws = np.random.default_rng(0)

    def leaf_like(leaf: jax.ShapeDtypeStruct) -> Array:
        shape = (width, *leaf.shape)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(jax.random.key(0, impl=generator_name(leaf.dtype)), shape)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(np.abs(draws.normal(0.0, 0.05, shape)), leaf.dtype)  # second moments are not negative
        return jnp.zeros(shape, leaf.dtype)

    return jax.block_until_ready(jax.tree.map(leaf_like, group.traced.state))


def _width_on_accelerator(task: Task, group: Group, workers: Sequence[jax.Device]) -> int:
    """The width that trains all lanes of the group in as few equal waves as memory and the devices allow."""
    limit, most = (workers[0].memory_stats() or {}).get("bytes_limit"), len(group.trials)
    while True:
        width = width_of_waves(len(group.trials), len(workers), most)
        if limit is None or width == 1:
            return width
        programs = (lower_train(task, group, width, workers[0]), lower_plain_evaluate(task, group, width, workers[0]))
        needed = max(_bytes_of(compile_lowered(lowered, workers[0])) for lowered in programs)
        if needed <= MEMORY_SHARE * limit:
            return width
        most = min(width - 1, int(width * MEMORY_SHARE * limit / needed)) or 1


def width_of_waves(lanes: int, workers: int, most: int) -> int:
    """The lanes of a tile, at most ``most``, where all workers train equal ones in as few waves as possible."""
    waves = -(-lanes // (workers * most))
    return -(-lanes // (workers * waves))


def _bytes_of(program: jax.stages.Compiled) -> int:
    """The memory that a program takes on its device, as far as XLA tells."""
    needed = program.memory_analysis()
    if needed is None:
        return 0
    return needed.argument_size_in_bytes + needed.temp_size_in_bytes + needed.output_size_in_bytes


def _work(group: Group) -> float:
    """A rough count of floating-point operations: a forward and a backward pass of a dense model."""
    numbers = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(group.traced.state))
    return 2.0 * numbers * group.rows * sum(trial.steps for trial in group.trials)


def _key(task: Task, group: Group) -> str:
    """What a measured width depends on: the computation, its shapes, and the cores that share the machine."""
    shapes = jax.tree.map(lambda a: (a.shape, str(a.dtype)), (group.traced.state, train_like(task.data)))
    parts = [
        group.identity.digest,
        sorted(group.lanes),
        group.rows,
        str(shapes),
        cores(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _cache_file() -> Path:
    return cache_folder() / "widths.json"


def _read_cache() -> dict[str, _Measured]:
    try:
        return json.loads(_cache_file().read_text())
    except (OSError, ValueError):
        return {}  # nothing measured yet, or a damaged file, which the next measurement replaces


def _write_cache(key: str, entry: _Measured) -> None:
    file = _cache_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        entries = _read_cache() | {key: entry}
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as fresh:
            json.dump(entries, fresh)
        os.replace(fresh.name, file)
    except OSError:
        pass  # widths are then measured again in every process
