"""What a worker process of an executor does: some segments of a tile, in the program that it traces and compiles itself.

A job depends on nothing but its arguments: it may be tried again, by whichever worker. What all jobs of a sweep share (the
task with its data, and what was decided about the configs) is loaded once a process.
"""

import io
import os
import pickle
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import numpy as np

from jsweep._runtime.backend import configure
from jsweep.engine.carry import Carry, from_arrays, to_arrays
from jsweep.engine.executors.programs import KeptPrograms, Work, compiled_for
from jsweep.engine.executors.threads import on_device, out_of_memory
from jsweep.engine.tile import OnDevice, Segment, Setting, TileContext, train_tile
from jsweep.errors import JsweepError
from jsweep.planning import Group, Tile
from jsweep.planning.grouping import Traces
from jsweep.storage.records import Position, Score, ended_among
from jsweep.task.task import Task

KEPT = 2  # tasks, and parts of sweeps, that a process keeps
PROGRAMS = 8  # compiled programs that it keeps

T = TypeVar("T")


@dataclass(frozen=True)
class Parcel:
    """A pickled value: ``data``, and the arrays beside it, which an executor with shared memory does not copy."""

    id: str
    data: bytes = field(repr=False)
    buffers: tuple[np.ndarray, ...] = field(repr=False, default=())


Source = Parcel | Callable[[], Parcel] | None
"""A parcel, what fetches it, or None where the worker may have it already."""

Analyse = Callable[[Traces], tuple[Setting, Sequence[Group]]]
"""What a parcel of a part of a sweep holds: what all its tiles share, and its compile groups."""


@dataclass(frozen=True)
class Saved:
    """A carry as arrays by name, as a checkpoint has it."""

    position: Position
    arrays: Mapping[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True)
class Job:
    """Some segments of a tile.

    Attributes:
        group: the name of the tile's compile group; see `group_name`.
        tile: the tile.
        window: rows of a streamed window; None where the training split stays on the device.
        begin: what it goes on from; None for the seeds.
        continues: whether it was evaluated at ``begin`` already.
        keeps_ended: whether the states of trials that end are wanted.
        seconds: how long to train before the next segment is left to another job.
    """

    group: str
    tile: Tile
    window: int | None
    begin: Saved | None
    continues: bool
    keeps_ended: bool
    seconds: float


@dataclass(frozen=True)
class Piece:
    """One trained segment; ``saved`` is there where somebody may go on from it."""

    scores: Sequence[Score]
    step: int
    since: int
    last: bool
    steps_done: int
    saved: Saved | None


@dataclass(frozen=True)
class Problem:
    """An exception in words."""

    kind: str
    text: str
    traceback: str
    out_of_memory: bool


@dataclass(frozen=True)
class Done:
    """What a job gave: segments, the program's fingerprint, and what went wrong after them, if anything did."""

    pieces: tuple[Piece, ...]
    fingerprint: str | None
    problem: Problem | None = None


@dataclass(frozen=True)
class Missing:
    """The worker has not been sent these parcels yet: "task" or "part"."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """The worker cannot train the sweep: why, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Setup:
    """What a worker process is told before it starts JAX: environment variables, and options of JAX by name."""

    variables: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass
class _Known:
    """What was loaded and compiled of one task."""

    task: Task
    traces: Traces = field(default_factory=dict)
    programs: KeptPrograms = field(default_factory=OrderedDict)
    data: dict[tuple[jax.Device, bool], OnDevice] = field(default_factory=dict)


_tasks: OrderedDict[str, _Known] = OrderedDict()
_parts: OrderedDict[tuple[str, str], tuple[Setting, Mapping[str, Group]]] = OrderedDict()
_lock = threading.RLock()  # an executor of threads has its workers in one process


def group_name(group: Group) -> str:
    """Equal in two processes for compile groups that compute the same from the same lanes."""
    lanes = sorted((name, str(lane)) for name, lane in group.lanes.items())
    return repr((group.key, group.identity.digest, lanes, group.rows, group.validation_rows))


def train_job(setup: Setup, names: tuple[str, str], task: Source, part: Source, job: bytes) -> Done | Missing | Refused:
    """Train a job in this process; the sources may be None where this process was sent them before.

    Args:
        setup: what this process is told before it starts JAX.
        names: the ids of the parcels of the task and of the part of the sweep.
        task: the task with its data.
        part: an `Analyse`.
        job: the pickled `Job`.
    """
    try:
        _prepare_process(setup)
        with _lock:
            found = _load((f"{names[0]} {setup.options}", names[1]), task, part)  # traces depend on options
            if isinstance(found, Missing):
                return found
            known, setting, groups = found
            todo: Job = pickle.loads(job)
            if todo.group not in groups:
                raise JsweepError(
                    "tracing the task on a worker gives another computation than in the driver: install the same code and "
                    "versions in both, and make the task depend on its config alone."
                )
    except ModuleNotFoundError as error:
        return Refused(f"{error}: install it on the workers, or add it to their PYTHONPATH (for Ray: runtime_env=).")
    except Exception as error:
        return Refused(" ".join(f"{type(error).__name__}: {error}".split())[:600])
    return _train(known, setting, groups[todo.group], todo)


def _prepare_process(setup: Setup) -> None:
    os.environ.update({name: value for name, value in setup.variables.items() if name not in os.environ})
    configure()
    for name, value in setup.options.items():
        if getattr(jax.config, name, value) != value:
            jax.config.update(name, value)


def _load(names: tuple[str, str], task: Source, part: Source) -> tuple[_Known, Setting, Mapping[str, Group]] | Missing:
    lacking = (("task", names[0] in _tasks, task), ("part", names in _parts, part))
    missing = tuple(name for name, there, source in lacking if not there and source is None)
    if missing:
        return Missing(missing)
    known = _kept(_tasks, names[0], lambda: _Known(_unpack(task)))

    def analysed() -> tuple[Setting, Mapping[str, Group]]:
        setting, groups = _unpack(part, known.task)(known.traces)
        return setting, {group_name(group): group for group in groups}

    return known, *_kept(_parts, names, analysed)


def _kept(cache: OrderedDict[Any, T], key: Hashable, make: Callable[[], T]) -> T:
    if key not in cache:
        made = make()
        while len(cache) >= KEPT:
            cache.popitem(last=False)
        cache[key] = made
    cache.move_to_end(key)
    return cache[key]


class _Unpickler(pickle.Unpickler):
    """Loads a parcel that refers to the task, which is not in it."""

    def __init__(self, parcel: Parcel, task: Task | None):
        super().__init__(io.BytesIO(parcel.data), buffers=parcel.buffers)
        self._task = task

    def persistent_load(self, pid: str) -> Task:
        if self._task is None or pid != "task":
            raise pickle.UnpicklingError(f"a parcel refers to {pid!r}")
        return self._task


def _unpack(source: Source, task: Task | None = None) -> Any:
    parcel = source if isinstance(source, Parcel) else source() if source is not None else None
    assert parcel is not None
    return _Unpickler(parcel, task).load()


def _train(known: _Known, setting: Setting, group: Group, job: Job) -> Done:
    pieces: list[Piece] = []
    fingerprint, until = None, time.monotonic() + job.seconds
    try:
        context, fingerprint = _context(known, setting, group, job)
        begin = None if job.begin is None else from_saved(job.begin, group)
        if job.begin is not None and begin is None:
            raise JsweepError("the state that a tile was to go on from does not fit its program.")
        for segment in train_tile(context, job.tile, begin):
            if job.continues and begin is not None and segment.carry.step == begin.step:
                continue
            out_of_time = time.monotonic() >= until
            pieces.append(_piece(segment, job, out_of_time))
            if out_of_time:
                break
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return Done(tuple(pieces), fingerprint, Problem(type(error).__name__, str(error), text, out_of_memory(error)))
    return Done(tuple(pieces), fingerprint)


def _context(known: _Known, setting: Setting, group: Group, job: Job) -> tuple[TileContext, str]:
    device, streamed = _device(), job.window is not None
    with _lock:
        share = Work(group, (), job.window)
        program, fingerprint = compiled_for(setting, share, job.tile.width, device, known.programs)
        while len(known.programs) > PROGRAMS:
            known.programs.pop(next(iter(known.programs)))
        if (device, streamed) not in known.data:
            known.data[device, streamed] = on_device(setting, device, streamed)
    return TileContext(setting, group, program, known.data[device, streamed], device, job.window), fingerprint


def _device() -> jax.Device:
    """The device that this thread's worker has."""
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices()[0]


def _piece(segment: Segment, job: Job, out_of_time: bool) -> Piece:
    carry = segment.carry
    goes_on = carry.step == job.tile.until or (out_of_time and not segment.last)
    wanted = goes_on or (job.keeps_ended and bool(ended_among(segment.scores)))
    saved = Saved(carry.position, to_arrays(carry)) if wanted else None
    return Piece(segment.scores, carry.step, carry.since, segment.last, segment.steps_done, saved)


def from_saved(saved: Saved, group: Group) -> Carry | None:
    """A carry as it was; None where it is not of the group's program."""
    return from_arrays(saved.arrays, saved.position, group.traced.state, group.traced.train_metrics)
