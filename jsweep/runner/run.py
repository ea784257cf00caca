"""Running a sweep: train what the record lacks, claim by claim, and record each segment as it comes."""

import contextlib
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jsweep._runtime.environment import describe_environment
from jsweep.engine.events import Compiled, Failed, Halved, Trained
from jsweep.engine.executors.threads import Keeper, Work, default_workers
from jsweep.engine.executors.threads import run as run_tiles
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.tile import Carry, Segment
from jsweep.engine.tile_size import choose_width
from jsweep.errors import ConfigError
from jsweep.planning import Group, Tile
from jsweep.results.result import Result
from jsweep.runner.checkpointing import Checkpointing
from jsweep.runner.claims import Claims
from jsweep.runner.compatibility import check_environment, extensions, keep_settings, open_sweep
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.progress import Progress, ProgressMode, check_progress, progress_callback
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.storage import Checkpoint, Store, SweepRecord, Trial, open_store
from jsweep.storage.locks import owner
from jsweep.task.task import Task

POLL_SECONDS = 0.3  # between two looks at trials that another process trains


def sweep(
    task: Task,
    configs: Sequence[Mapping[str, Any]],
    **options: Any,
) -> Session:
    """Train every config under every seed and return the result; the options are those of `Sweep`."""
    return run(Sweep(task, configs, **options))


def run(
    sweep: Sweep | Prepared,
    *,
    progress: ProgressMode | None = None,
    workers: Sequence[jax.Device] | None = None,
    any_environment: bool = False,
) -> Session:
    """Train a sweep's trials that are not yet in its record, and return the result.

    A record that has the sweep already is gone on with: finished trials stay, running ones go on from their last
    checkpoint, failed ones are tried again, and trials given more steps train the rest. Several processes may run one
    sweep at once; each trial is trained by one of them, and each returns when all are done.

    ``progress`` is "live", "plain" (a line every few seconds), "off", or None: live where standard error is a terminal
    or a notebook, else off. ``workers`` is the device of each
    worker (default: every device, on CPU one a core); it changes speed, never results. ``any_environment`` goes on with
    a sweep that was begun under other versions or on another machine. Ctrl-C ends the sweep after the present segments
    with everything recorded; a second one at once.

    Raises ConfigError where the record has another sweep of that name.
    """
    check_progress(progress)
    prepared = sweep if isinstance(sweep, Prepared) else prepare(sweep)
    store = open_store(prepared.sweep.store)
    row, prepared = open_sweep(store, prepared)
    longer = extensions(store, row, prepared)
    result = Session(store, row.name, prepared)
    if longer or len(_finished(result)) < len(prepared.trials):
        if not any_environment:
            check_environment(store, row)
        keep_settings(store, row, prepared)
        store.add_trials(row.key, prepared.trials)
        store.extend_trials(row.key, longer)
        for trial, error in prepared.broken.items():
            store.record_failure(row.key, [trial], _one_line(error), _traceback(error))
        with contextlib.ExitStack() as stack:
            keeper = _keeper(store, row, prepared, stack)
            _train_all(store, row, prepared, result, workers or default_workers(), keeper, progress)
    rows = result.trials()
    failed = [trial for trial in rows if trial.status == "failed"]
    if failed:
        warnings.warn(f"{len(failed)} trials failed, the first ({failed[0].id}) with {failed[0].reason}", stacklevel=3)
    wrong = [trial for trial in rows if trial.nonfinite is not None]
    if wrong and len(wrong) == len(prepared.trials):
        first = min(trial.nonfinite or 0 for trial in wrong)
        warnings.warn(
            f"every trial became infinite or NaN, the first at step {first}: look for labels that are no class, inputs that are "
            "not scaled, or learning rates that are too large.",
            stacklevel=3,
        )
    return result


def attach(sweep: Sweep) -> Session:
    """The result of a sweep that is in its record already; nothing is trained. ConfigError where it is not there."""
    prepared = prepare(sweep)
    store = open_store(sweep.store, write=sweep.store is None or Path(sweep.store).exists())
    name = sweep.name or sweep.task.name or "sweep"
    if store.sweep(name) is None:
        raise ConfigError(f"{store.path} has no sweep {name!r}: run it first.")
    row, prepared = open_sweep(store, prepared)
    return Session(store, row.name, prepared)


def _finished(result: Result) -> set[str]:
    return {trial.id for trial in result.trials() if trial.status == "finished"}


@dataclass(frozen=True)
class _Keeper(Keeper):
    """What the engine asks of claims and checkpoints."""

    claims: Claims
    checkpoints: Checkpointing

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        return self.claims.claim(trials)

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        return self.checkpoints.resume(group, tile)

    def save(self, tile: Tile, segment: Segment) -> list[Checkpoint]:
        return self.checkpoints.save(tile, segment)


def _keeper(store: Store, row: SweepRecord, prepared: Prepared, stack: contextlib.ExitStack) -> _Keeper | None:
    """Claims and checkpoints while ``stack`` is open; None for a store in memory, which no other process sees."""
    if store.file is None:
        return None
    name = stack.enter_context(owner(store.folder))
    claims = Claims(store, row.key, name, store.folder, describe_environment())
    checkpoints = Checkpointing(store, row.key, prepared.sweep.checkpoints)
    checkpoints.tidy(claims.alone)
    stack.callback(checkpoints.tidy, claims.alone)
    stack.callback(claims.release)
    return _Keeper(claims, checkpoints)


def _train_all(
    store: Store,
    row: SweepRecord,
    prepared: Prepared,
    result: Session,
    workers: Sequence[jax.Device],
    keeper: RecordKeeper | None,
    progress: ProgressMode | None,
) -> None:
    """Train what may be taken, then wait for what other processes train, and take it over should they end."""
    failed = {trial.id for trial in result.trials() if trial.status == "failed"} - prepared.broken.keys()
    if keeper is not None:
        keeper.retried = set(failed)
    with _shown(progress_callback(progress, result)) as shown:
        while True:
            rows = result.trials()
            ended = {t.id for t in rows if t.status == "finished" or (t.status == "failed" and t.id not in failed)}
            ended |= prepared.broken.keys()
            if keeper is None or any(
                keeper.claims.may_take(t.owner, t.status, t.id) for t in rows if t.id not in ended
            ):
                work = divide(prepared, ended, rows, workers, store.checkpoints(row.key))
                _train(store, row, prepared, work, workers, shown, keeper)
                failed = set()
            elif ended.issuperset(t.id for t in rows):
                return
            else:
                time.sleep(POLL_SECONDS)
            if keeper is None:
                return


@contextlib.contextmanager
def _shown(progress: Progress) -> Iterator[Progress]:
    """Show the progress while the block runs."""
    progress.on_start(None)
    try:
        yield progress
    except BaseException as error:
        progress.on_end(error)
        raise
    progress.on_end(None)


def divide(
    prepared: Prepared,
    ended: Set[str],
    rows: Sequence[Trial],
    workers: Sequence[jax.Device],
    checkpoints: Sequence[Checkpoint] = (),
) -> list[Work]:
    """Each group's trials that have not ``ended``, in tiles: those of a checkpoint together, in the width they had."""
    shares = []
    data = prepared.setting.task.data
    streamed = streams(data, workers[0])
    widths = {trial.id: trial.width for trial in rows if trial.width}
    for group in prepared.groups:
        left = {trial.id: trial for trial in group.trials if trial.id not in ended}
        tiles = _interrupted(group, left, widths, checkpoints)
        if left:
            recorded = next((widths[trial.id] for trial in group.trials if trial.id in widths), None)
            width = choose_width(prepared.setting.task, group, recorded, prepared.sweep.tile, workers)
            tiles += replace(group, trials=tuple(left.values())).tiles(width)
        window = window_rows(group, tiles, data, prepared.sweep.pairing) if streamed and tiles else None
        shares.append(Work(group, tuple(tiles), window))
    return shares


def _interrupted(
    group: Group, left: dict[str, Trial], widths: Mapping[str, int], checkpoints: Sequence[Checkpoint]
) -> list[Tile]:
    """Take the trials that have a checkpoint out of ``left``, in tiles that go on from the same step."""
    ended_alike: dict[tuple[int, int], list[Trial]] = {}
    tiles = []
    for row in checkpoints:  # those of the most steps first
        members = [left.pop(trial) for trial in row.trials if trial in left and trial in widths]
        if members and row.finished:
            ended_alike.setdefault((row.step, widths[members[0].id]), []).extend(members)
        elif members:
            tiles.append(Tile(tuple(members), widths[members[0].id]))
    for (_, width), trials in ended_alike.items():
        tiles += replace(group, trials=tuple(trials)).tiles(width)
    return tiles


def _train(
    store: Store,
    row: SweepRecord,
    prepared: Prepared,
    work: Sequence[Work],
    workers: Sequence[jax.Device],
    shown: Progress,
    keeper: _Keeper | None,
) -> None:
    stop = threading.Event()
    with (
        _interrupt_sets(stop),
        contextlib.closing(run_tiles(prepared.setting, work, workers, stop, keeper, keeper)) as events,
    ):
        for event in events:
            match event:
                case Compiled():
                    shown.on_compiled(event)
                case Trained(_, tile, segment, fingerprint, saved):
                    outdated = keeper.outdated(tile, segment, saved) if keeper else []
                    store.record_segment(row.key, fingerprint, tile.width, segment.scores, list(saved), outdated)
                    if keeper:
                        keeper.remove(outdated)
                    shown.on_segment(event)
                case Failed(_, trials, error):
                    store.record_failure(row.key, [trial.id for trial in trials], _one_line(error))
                    shown.on_failed(event)
                case Halved(group, width):
                    label = work[group].group.label
                    warnings.warn(
                        f"[{label}] did not fit the memory: its trials go on {width} at a time.", stacklevel=2
                    )
    if stop.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupt_sets(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the sweep after its present segments; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _one_line(error: Exception) -> str:
    text = str(error)
    if "Traceback (most recent call last)" in text:  # a callback's: the reason is the last line
        text = next(line for line in reversed(text.splitlines()) if line.strip())
        return text.strip()[:500]
    text = " ".join(text.split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
