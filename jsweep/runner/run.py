"""Running a sweep: train what its store lacks, claim by claim, and record each segment as it comes."""

import contextlib
import os
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jsweep._runtime.environment import describe_environment
from jsweep._runtime.interrupts import interrupts_set
from jsweep._runtime.types import Value
from jsweep.engine.events import Callback, Failed, Halved, Trained, dispatched
from jsweep.engine.executors.threads import default_workers
from jsweep.engine.executors.threads import run as run_tiles
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.runner.checkpointing import Checkpointing
from jsweep.runner.claims import Claims
from jsweep.runner.compatibility import check_environment, extensions, keep_settings, open_sweep, warn_of_unchecked
from jsweep.runner.plan import plan_of
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.progress import Progress, ProgressMode, check_progress, progress_callback
from jsweep.runner.remaining import Remaining, divide
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.storage import Status, Store, SweepRecord, Trial, open_store
from jsweep.storage.locks import owner
from jsweep.storage.paths import resolve
from jsweep.task.task import Task

POLL_SECONDS = 0.3  # between two looks at trials that another process trains


def sweep(task: Task, configs: Sequence[Mapping[str, Value]], **options: Any) -> Session:
    """Train every config under every seed, in one call.

    Args:
        task: the task.
        configs: as `Sweep` takes them.
        options: the other arguments of `Sweep`.

    Returns:
        The session, as of `run`.
    """
    return run(Sweep(task, configs, **options))


def run(
    sweep: Sweep,
    *,
    progress: ProgressMode | None = None,
    callbacks: Sequence[Callback] = (),
    workers: Sequence[jax.Device] | None = None,
    any_environment: bool = False,
) -> Session:
    """Train a sweep's trials that are not yet in its store, and return the session.

    If the sweep is already in the store, it is resumed: finished trials stay, running ones continue from their last
    checkpoint, failed ones are tried again, and trials given more steps train the rest. Several processes may run one sweep
    at once; each trial is trained by one of them, and each process returns when all are done. Ctrl-C ends the sweep after
    the current segments with everything recorded; a second one ends it at once.

    Args:
        sweep: the sweep.
        progress: "live", "plain" (a line every few seconds) or "off"; None is live on a terminal or in a notebook, else off.
        callbacks: receive each event once it is recorded; see `Callback`.
        workers: the device of each worker (default: every device; on CPU, one worker a core). It changes speed, not results.
        any_environment: resume a sweep that was begun under other versions or on another machine.

    Returns:
        The sweep's `Session`.

    Raises:
        ConfigError: where something about the sweep cannot be used.
        IncompatibleSweepError: where the store has another sweep of that name, or this one from another environment.
        StoreError: where the store cannot be read or written.
    """
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"sweep is a {type(sweep).__name__}: pass a jsweep.Sweep.")
    check_progress(progress)
    name = sweep.record_name
    with contextlib.ExitStack() as on_error:
        store = on_error.enter_context(open_store(sweep.store))
        prepared = prepare(sweep, store.sweep(name))
        record = open_sweep(store, prepared)
        longer = extensions(store, record, prepared)
        keep_settings(store, record, prepared)
        session = Session(store, name, prepared)
        if longer or not _all_finished(session):
            if not any_environment:
                check_environment(store, record)
            _enter(store, record, prepared, longer)
            display = progress_callback(progress, session)
            _Run(store, record, session, workers or default_workers(), callbacks, display).train()
            session = Session(store, name, prepared)  # with the sweep's row as it is now
        warn_of_unchecked(store, record, prepared)
        on_error.pop_all()
    _warn_of_failures(session)
    return session


def attach(sweep: Sweep) -> Session:
    """The session of a sweep that is in its store already; nothing is trained.

    Raises:
        ConfigError: where the store has no sweep of its name.
        IncompatibleSweepError: where it has another sweep of that name.
    """
    with contextlib.ExitStack() as on_error:
        store = on_error.enter_context(open_store(sweep.store, write=_can_write(sweep)))
        record = store.sweep(sweep.record_name)
        if record is None:
            memory = "" if store.file else "; a record in memory is that of its own session alone"
            raise ConfigError(f"{store.path} has no sweep {sweep.record_name!r}: run it first{memory}.")
        lengths = {trial.id: trial.steps for trial in store.trials(record.key)}  # whatever is asked for now
        prepared = prepare(sweep, record, lengths)
        warn_of_unchecked(store, open_sweep(store, prepared), prepared)
        on_error.pop_all()
    return Session(store, record.name, prepared)


def _can_write(sweep: Sweep) -> bool:
    """Whether the sweep's store is there and can be written; one that cannot is attached to all the same, to be read."""
    file = resolve(sweep.store)
    return file is None or (file.exists() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _all_finished(session: Session) -> bool:
    finished = sum(trial.status == Status.FINISHED for trial in session.trials())
    return finished == len(session.prepared.trials)


def _enter(store: Store, record: SweepRecord, prepared: Prepared, longer: Mapping[str, int]) -> None:
    """Record what is about to be trained, and what cannot be."""
    store.add_trials(record.key, prepared.trials)
    store.extend_trials(record.key, longer)
    finished = {trial.id for trial in store.trials(record.key) if trial.status == Status.FINISHED}
    for trial, error in prepared.untraceable.items():
        if trial not in finished:
            store.record_failure(record.key, [trial], one_line(error), _traceback(error))


def _warn_of_failures(session: Session) -> None:
    rows = session.trials()
    failed = [trial for trial in rows if trial.status == Status.FAILED]
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(rows)} trials failed, the first ({failed[0].id}) with {failed[0].reason}; see "
            "Result.trial(id).traceback.",
            stacklevel=3,
        )
    diverged = [trial for trial in rows if trial.nonfinite is not None]
    if diverged and len(diverged) == len(rows) and not any(score.complete for score in _ranking(session)):
        first = min(trial.nonfinite or 0 for trial in diverged)
        warnings.warn(
            f"every trial became infinite or NaN, the first at step {first}: look for labels out of range, inputs that are "
            "not scaled, or learning rates that are too large.",
            stacklevel=3,
        )


def _ranking(session: Session) -> Sequence[ConfigScore]:
    return () if session.prepared.objective is None else session.ranking()


@dataclass(frozen=True)
class _Run:
    """One call of `run`: trains what may be claimed, and waits for what other processes train."""

    store: Store
    record: SweepRecord
    session: Session
    workers: Sequence[jax.Device]
    callbacks: Sequence[Callback]
    display: Progress

    def train(self) -> None:
        """Train until every trial has finished or failed; callbacks hear of the start and of the end."""
        error: BaseException | None = None
        begun = time.perf_counter()
        with contextlib.ExitStack() as stack:
            claims, checkpointing = self._shared(stack)
            self.display.on_start(None)
            try:
                if self.callbacks:
                    plan = plan_of(self.session.prepared, self.workers, _finished(self.session))
                    for callback in self.callbacks:
                        callback.on_start(plan)
                self._train_all(claims, checkpointing)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self.store.add_seconds(self.record.key, time.perf_counter() - begun)
                for callback in (self.display, *self.callbacks):  # the display ends though a callback raises
                    callback.on_end(error)

    def _shared(self, stack: contextlib.ExitStack) -> tuple[Claims | None, Checkpointing | None]:
        """Claims and checkpoints while ``stack`` is open; None for a store in memory, which no other process sees."""
        if self.store.file is None:
            return None, None
        name = stack.enter_context(owner(self.store.folder))
        claims = Claims(self.store, self.record.key, name, self.store.folder, describe_environment())
        checkpointing = Checkpointing(self.store, self.record.key, self.session.prepared.sweep.checkpoints)
        checkpointing.tidy(claims.alone)
        stack.callback(checkpointing.tidy, claims.alone)
        stack.callback(claims.release)
        return claims, checkpointing

    def _train_all(self, claims: Claims | None, checkpointing: Checkpointing | None) -> None:
        prepared = self.session.prepared
        untraceable = prepared.untraceable.keys()
        failed = {t.id for t in self.session.trials() if t.status == Status.FAILED} - untraceable
        if claims is not None:
            claims.retry(failed)
        while True:
            rows = self.session.trials()
            self.display.on_record(self.session, rows)
            ended = {t.id for t in rows if t.status == Status.FINISHED} | untraceable
            ended |= {t.id for t in rows if t.status == Status.FAILED and t.id not in failed}
            left = [t for t in rows if t.id not in ended]
            if not left:
                return
            if claims is None or any(claims.may_take(t.owner, t.status, t.id) for t in left):
                checkpoints = self.store.checkpoints(self.record.key)
                self._train(Remaining(prepared, ended, rows, checkpoints), claims, checkpointing)
                failed = set()
                if claims is None:
                    return
            else:
                time.sleep(POLL_SECONDS)

    def _train(self, remaining: Remaining, claims: Claims | None, checkpointing: Checkpointing | None) -> None:
        work = divide(remaining, self.workers)
        stop = threading.Event()
        setting = remaining.prepared.setting
        with (
            interrupts_set(stop),
            contextlib.closing(run_tiles(setting, work, self.workers, stop, claims, checkpointing)) as events,
        ):
            for event in dispatched(events, (*self.callbacks, self.display), stop):
                match event:
                    case Trained(group, tile, segment, _, saved):
                        outdated = checkpointing.outdated(tile, segment, saved) if checkpointing else []
                        program = work[group].group.identity.digest
                        self.store.record_segment(
                            self.record.key, program, tile.width, segment.scores, list(saved), outdated
                        )
                        if checkpointing:
                            checkpointing.remove(outdated)
                    case Failed(_, trials, error):
                        self._record_failure(trials, error)
                    case Halved(group, width):
                        warnings.warn(
                            f"[{work[group].group.label}] did not fit the memory: its trials train {width} at a time.",
                            stacklevel=2,
                        )
        if stop.is_set():
            raise KeyboardInterrupt

    def _record_failure(self, trials: Sequence[Trial], error: Exception) -> None:
        ids = [trial.id for trial in trials]
        self.store.record_failure(self.record.key, ids, one_line(error), _traceback(error))


def _finished(session: Session) -> frozenset[str]:
    return frozenset(trial.id for trial in session.trials() if trial.status == Status.FINISHED)


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    text = str(error)
    if "Traceback (most recent call last)" in text:  # a callback's: the reason is the last line
        text = next(line for line in reversed(text.splitlines()) if line.strip())
        return text.strip()[:500]
    text = " ".join(text.split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
