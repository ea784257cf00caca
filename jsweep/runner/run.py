"""Running a sweep: train what its store lacks, claim by claim, and record each segment as it comes."""

import contextlib
import math
import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax

from jsweep._runtime.backend import configure
from jsweep._runtime.environment import describe_environment
from jsweep._runtime.interrupts import interrupts_set
from jsweep._runtime.types import Value
from jsweep.engine.events import Callback, Copied, Event, Failed, Halved, Stopped, Trained, dispatched
from jsweep.engine.executors.programs import KeptPrograms
from jsweep.engine.executors.remote import Executor
from jsweep.engine.executors.remote import run as run_on
from jsweep.engine.executors.threads import More, Work
from jsweep.engine.executors.threads import run as run_tiles
from jsweep.engine.parking import Parking
from jsweep.engine.persistence import NoCheckpointing
from jsweep.engine.placement import check_mesh, workers_of
from jsweep.errors import ConfigError, StoreError
from jsweep.planning.grouping import Traces
from jsweep.results.ranking import ConfigScore
from jsweep.runner.audience import Audience
from jsweep.runner.checkpointing import Checkpointing, tidy, tidy_ended
from jsweep.runner.claims import Claims, View
from jsweep.runner.compatibility import (
    check_environment,
    check_lengths,
    check_same,
    enter_sweep,
    reads_length,
    warn_of_unchecked,
)
from jsweep.runner.halting import Best, Grown, Halted, Limits, Watch, make_limits, requests
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.progress import Progress, ProgressMode
from jsweep.runner.remaining import Remaining, divide
from jsweep.runner.remote import Remote, remote_of
from jsweep.runner.ruling import make_ruling
from jsweep.runner.searching import parts, proposed
from jsweep.runner.session import Session
from jsweep.runner.sharding import Shard, shard_of, share
from jsweep.runner.sweep import Sweep
from jsweep.search.model_based import Search
from jsweep.storage import Status, Store, SweepRecord, Trial, open_store
from jsweep.storage.locks import is_alive, owner
from jsweep.storage.paths import resolve
from jsweep.storage.standing import Wanted, ended_at
from jsweep.task.task import Task

POLL_SECONDS = 0.3  # between two looks at trials that another process trains


def sweep(task: Task, configs: Sequence[Mapping[str, Value]] | Search, **options: Any) -> Session:
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
    workers: Sequence[jax.Device] | int | None = None,
    executor: Executor | None = None,
    any_environment: bool = False,
    wall_time: float | str | None = None,
    target: float | None = None,
    no_improvement: int | None = None,
    shard: str | tuple[int, int] | None = None,
) -> Session:
    """Train a sweep's trials that are not yet in its store, and return the session.

    If the sweep is already in the store, it is resumed: finished trials stay, running ones continue from their last
    checkpoint, failed ones are tried again, and trials given more steps train the rest. Several processes may run one sweep
    at once; each trial is trained by one of them, and each process returns when all are done. Ctrl-C ends the sweep after
    the current segments with everything recorded; a second one ends it at once. ``wall_time``, ``target``,
    ``no_improvement`` and `jsweep.stop` end it as the first Ctrl-C does, but the session is returned, and a warning says what
    has ended it.

    Args:
        sweep: the sweep.
        progress: "live", "plain" (a line every few seconds) or "off"; None is live on a terminal or in a notebook, else off.
        callbacks: receive each event once it is recorded; see `Callback`.
        workers: the device of each worker (default: every device; on CPU, one worker a core). It changes speed, not results.
            With an executor: how many tiles it is given at once (default: as many as it says that it has workers).
        executor: train in its worker processes: `jsweep.ray`, or a `concurrent.futures.Executor`; see `Executor`. This
            process records and decides, so the record is the same.
        any_environment: resume a sweep that was begun under other versions or on another machine.
        wall_time: how long the sweep may be trained for, compiling included and in all its runs together: seconds, or text
            such as "90s", "10min" or "1h 30min".
        target: the value of the objective that is good enough: training ends once a config has reached it at its end, as
            the mean over its seeds.
        no_improvement: training ends once so many configs have come to their end in this run since the best one did.
        shard: train a fixed share of the trials alone, such as "3/64" or ``(3, 64)`` for the third of 64; see `merge`.

    Returns:
        The sweep's `Session`.

    Raises:
        ConfigError: where something about the sweep cannot be used.
        IncompatibleSweepError: where the store has another sweep of that name, or this one from another environment.
        JsweepError: where an executor's workers died, or cannot train the sweep.
        MissingExtraError: where an executor is passed and cloudpickle is not installed.
        StoreError: where the store cannot be read or written.
    """
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"sweep is a {type(sweep).__name__}: pass a jsweep.Sweep.")
    name, audience = sweep.record_name, Audience(sweep, progress, callbacks)
    limits, mine = make_limits(wall_time, target, no_improvement), shard_of(shard)
    check_mesh(sweep.task, sweep.tile, workers, executor)
    remote = remote_of(executor, sweep.task, workers, any_environment)
    configure()  # before the workers are counted, which starts JAX's backend
    with contextlib.ExitStack() as on_error:
        store = on_error.enter_context(open_store(sweep.store))
        learns = isinstance(sweep.configs, Search)
        record = store.sweep(name)
        kept: KeptPrograms | None = {} if learns else None
        given = _devices(sweep.task, workers, remote)
        run = _Run(store, given, remote, audience, any_environment, limits, requests(record), mine, kept)
        if record is None and learns:
            record, _ = run.enter(sweep)  # roles are decided for all that it may propose, not for one batch
        sessions, halted = [], None
        with audience:
            try:
                sessions += [run.train(part) for part in parts(store, sweep, record)]
            except Halted as reason:
                halted = reason
        if len(sessions) == 1 and halted is None:
            session = sessions[0]
        else:
            row = store.sweep(name)
            session = Session(store, name, share(prepare(proposed(store, sweep, row), row, traces=run.traces), mine))
        warn_of_unchecked(store, session.row, session.prepared)
        on_error.pop_all()
    _warn_of_failures(store, session)
    if halted is not None:
        ended = len(ended_at(store.states(session.row.key), session.prepared.trials))
        warnings.warn(
            f"the run of {name!r} ended early, as {halted}: {ended} of {len(session.prepared.trials)} trials have ended. Run it "
            "again to train the rest.",
            stacklevel=2,
        )
    return session


def _devices(task: Task, workers: Sequence[jax.Device] | int | None, remote: Remote | None) -> Sequence[jax.Device]:
    """The workers' devices; those of an executor are taken to be like this process's first.

    The width of a tile on CPU depends on the core alone, on accelerators also on how many there are.
    """
    if isinstance(workers, int) and remote is None:
        raise ConfigError(f"workers={workers!r} is a number, which only an executor takes: pass devices.")
    given = workers_of(task) if isinstance(workers, int) or not workers else workers
    return given if remote is None or given[0].platform == "cpu" else [given[0]] * remote.at_once


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
        # Whatever lengths are asked for now.
        lengths = {trial: state.own.steps for trial, state in store.states(record.key).items()}
        prepared = prepare(proposed(store, sweep, record), record, lengths)
        check_same(store, record, prepared, trains=False)
        warn_of_unchecked(store, record, prepared)
        missing = {trial.config_id for trial in prepared.trials if trial.id not in lengths}
        if missing:
            warnings.warn(
                f"{len(missing)} of the {len({t.config_id for t in prepared.trials})} configs of {record.name!r} are not in "
                f"{store.path}: the session has the others alone. Run the sweep to train them.",
                stacklevel=2,
            )
        on_error.pop_all()
    return Session(store, record.name, prepared)


def _can_write(sweep: Sweep) -> bool:
    """Whether the sweep's store is there and can be written; one that cannot is attached to all the same, to be read."""
    file = resolve(sweep.store)
    return file is None or (file.exists() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _ended(store: Store, record: SweepRecord, prepared: Prepared) -> bool:
    """Whether every trial has ended at the length that is asked for."""
    return len(ended_at(store.states(record.key), prepared.trials)) == len(prepared.trials)


def _warn_of_failures(store: Store, session: Session) -> None:
    if not store.has_trouble(session.row.key):
        return
    rows = session.trials()
    failed = [trial for trial in rows if trial.status == Status.FAILED]
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(rows)} trials failed, the first ({failed[0].id}) with {failed[0].reason}; see "
            "Result.trial(id).traceback.",
            stacklevel=3,
        )
    stuck = [trial for trial in rows if trial.status == Status.FINISHED and trial.reason]
    if stuck:
        warnings.warn(
            f"{len(stuck)} of {len(rows)} trials could not be trained further and stay as they were, the first "
            f"({stuck[0].id}, at {stuck[0].steps} steps) with {stuck[0].reason}.",
            stacklevel=3,
        )
    diverged = [trial for trial in rows if trial.nonfinite is not None]
    if diverged and len(diverged) == len(rows) and not any(score.complete for score in _ranking(session)):
        first = min(trial.nonfinite or 0 for trial in diverged)
        warnings.warn(
            f"every trial became infinite or NaN, the first at step {first}{_where(session)}: look for labels out of range, "
            "inputs that are not scaled, or learning rates that are too large.",
            stacklevel=3,
        )


def _where(session: Session) -> str:
    """Which metrics were not finite at the trials' last steps, where others were."""
    last = {name: [pairs[-1][1] for _, pairs in session.curves(name).items() if pairs] for name in session.metrics()}
    wrong = [name for name, values in last.items() if values and not all(map(math.isfinite, values))]
    return (
        f" (in {', '.join(wrong)}, not in {', '.join(sorted(last.keys() - set(wrong)))})"
        if len(wrong) < len(last)
        else ""
    )


def _ranking(session: Session) -> Sequence[ConfigScore]:
    return () if session.prepared.objective is None else session.ranking()


@dataclass(frozen=True)
class _Run:
    """One call of `run`: trains what may be claimed of each part, and waits for what other processes train.

    What is compiled and traced for one part is kept for the next.
    """

    store: Store
    workers: Sequence[jax.Device]
    remote: Remote | None
    audience: Audience
    any_environment: bool
    limits: Limits
    asked: int  # how often runs of the sweep had been asked to stop
    shard: Shard | None
    programs: KeptPrograms | None  # None: dropped when their tiles are done
    traces: Traces = field(default_factory=dict)
    best: Best = field(default_factory=Best)

    def enter(self, sweep: Sweep) -> tuple[SweepRecord, Prepared]:
        """Check a sweep against the store's, and record what it has settled."""
        store = self.store
        while True:
            known = store.sweep(sweep.record_name)
            prepared = prepare(sweep, known, traces=self.traces)
            if known is not None:
                check_same(store, known, prepared)
                check_lengths(store, known, prepared)
                if not self.any_environment and not _ended(store, known, prepared):
                    check_environment(store, known)
            record = enter_sweep(store, prepared, known)
            if record is not None:
                return record, prepared
            # another process has changed the record meanwhile

    def train(self, part: Sweep) -> Session:
        """Train what the store lacks of a sweep of fixed configs, and return its session."""
        while True:
            with contextlib.suppress(Grown):
                return self._train(part)

    def _train(self, part: Sweep) -> Session:
        begun = time.perf_counter()
        record, whole = self.enter(part)
        prepared = share(whole, self.shard)
        if self.limits.objective and prepared.objective is None:
            raise ConfigError(f"{self.limits.objective} needs an objective: pass Sweep(objective=...).")
        session = Session(self.store, record.name, prepared)
        if _ended(self.store, record, prepared):
            tidy_ended(self.store, record.key)
            return session
        self.store.add_trials(record.key, prepared.trials)
        _Part(self, record, session, Watch(self.limits, self.store, record, self.asked, begun, self.best)).train()
        return Session(self.store, record.name, prepared)  # with the sweep's row as it is now


@dataclass(frozen=True)
class _Part:
    """A sweep of fixed configs in a run."""

    run: _Run
    record: SweepRecord
    session: Session
    watch: Watch

    @property
    def store(self) -> Store:
        return self.run.store

    @property
    def display(self) -> Progress:
        return self.run.audience.display

    def train(self) -> None:
        """Train until every trial has finished or failed."""
        with contextlib.ExitStack() as stack:
            _at_end(stack, _add_seconds_since, self.watch.begun, self.store, self.record.key)
            claims, checkpointing = self._shared(stack)
            self.run.audience.begin(self.store, self.session, self.run.workers)
            self._train_all(claims, checkpointing)

    def _shared(self, stack: contextlib.ExitStack) -> tuple[Claims, Checkpointing | None]:
        """Claims, and checkpoints where the store is a file, while ``stack`` is open."""
        prepared, folder, sweep = self.session.prepared, self.store.folder, self.record.key
        fixed = reads_length(prepared)
        wanted = {trial.id: Wanted(trial.steps, trial.id in fixed) for trial in prepared.trials}
        if self.store.file is None:
            return Claims(self.store, sweep, "this", lambda _: True, describe_environment(), wanted), None
        name = stack.enter_context(owner(folder))
        alive = partial(is_alive, folder)
        claims = Claims(self.store, sweep, name, alive, describe_environment(), wanted)
        every = prepared.setting.evaluate_every
        checkpointing = Checkpointing(self.store, sweep, prepared.sweep.checkpoints, every, name)
        tidy(self.store, sweep, alive, name)
        _at_end(stack, tidy, self.store, sweep, alive, name)
        _at_end(stack, claims.release)
        return claims, checkpointing

    def _train_all(self, claims: Claims, checkpointing: Checkpointing | None) -> None:
        prepared = self.session.prepared
        if prepared.rule is None:  # a rule has judged those that failed
            claims.retry_failed()
        untraceable = tuple(trial for trial in prepared.trials if trial.id in prepared.untraceable)
        for view in claims.passes():
            self.watch.check()
            self.display.on_record(self.session, view.states)
            if not view.free:
                time.sleep(POLL_SECONDS)
                continue
            free = set(view.free)
            for trial in claims.claim(tuple(trial for trial in untraceable if trial.id in free)):
                self._record_failure(claims, [trial], prepared.untraceable[trial.id])
            left = free - prepared.untraceable.keys()
            if left:
                begun = [trial for trial in left if view.states[trial].recorded]
                checkpoints = self.store.checkpoints_of(self.record.key, begun) if checkpointing else ()
                remaining = Remaining(prepared, left, view.states, checkpoints, frozenset(view.held))
                self._train(remaining, claims, checkpointing)
        self.watch.check_grown()  # also with the last segments
        self._check_end(claims.look())

    def _check_end(self, view: View) -> None:
        """Say what was not trained although it was asked for, as others have changed the record meanwhile."""
        if self.store.sweep(self.record.name) is None:
            raise StoreError(
                f"the sweep {self.record.name!r} was dropped from {self.store.path} while it was run: run it again to train it "
                "from the start."
            )
        if view.fixed:
            check_lengths(self.store, self.record, self.session.prepared)
        if view.gone:
            warnings.warn(
                f"{len(view.gone)} trials, the first {view.gone[0]}, were dropped from {self.store.path} while the sweep was "
                "run, and were not trained: run it again to train them.",
                stacklevel=6,
            )

    def _train(self, remaining: Remaining, claims: Claims, checkpointing: Checkpointing | None) -> None:
        prepared, stop, workers = remaining.prepared, threading.Event(), self.run.workers
        if prepared.rule is None:
            saving, ruling, work = checkpointing, None, divide(remaining, workers)
            more = None
        else:
            saving = Parking(checkpointing or NoCheckpointing())
            ruling = make_ruling(prepared, self.store, self.record, saving, held=remaining.held, workers=workers)
            if ruling.waits():
                time.sleep(POLL_SECONDS)
                return
            work, more = ruling.work(workers), ruling.more
        events = self._events(work, stop, claims, saving, more)
        with self.watch.setting(stop) as halted, interrupts_set(stop), contextlib.closing(events):
            for event in dispatched(events, (*self.run.audience.callbacks, self.display), stop):
                match event:
                    case Trained(group, tile, segment, _, saved):
                        outdated = checkpointing.outdated(tile, segment, saved) if checkpointing else []
                        program = work[group].group.identity.digest
                        lost = claims.record(program, tile.width, segment.scores, saved, outdated)
                        if lost and ruling is not None:
                            ruling.leave(lost, self.store.trials(self.record.key))
                        if checkpointing:
                            checkpointing.remove(outdated)
                    case Failed(_, trials, error):
                        self._record_failure(claims, trials, error)
                    case Stopped(stops):
                        claims.stop(stops)
                        if checkpointing:
                            checkpointing.forget_superseded()
                    case Copied(copies):
                        claims.copy(copies)
                    case Halved(group, width):
                        warnings.warn(
                            f"[{work[group].group.label}] did not fit the memory: its trials train {width} at a time.",
                            stacklevel=2,
                        )
                if ruling is not None:
                    ruling.note(event)
        if halted:
            raise halted[0]
        if stop.is_set():
            raise KeyboardInterrupt

    def _events(
        self,
        work: Sequence[Work],
        stop: threading.Event,
        claims: Claims,
        saving: Checkpointing | Parking | None,
        more: Callable[[], More] | None,
    ) -> Generator[Event, None, None]:
        """Train tiles, on this machine or on the run's executor."""
        prepared, remote = self.session.prepared, self.run.remote
        if remote is None:
            return run_tiles(prepared.setting, work, self.run.workers, stop, claims, saving, more, self.run.programs)
        pool = remote.pool(prepared.sweep, self.record)
        return run_on(pool, work, stop, claims, saving, more, prepared.sweep.checkpoints == "all")

    def _record_failure(self, claims: Claims, trials: Sequence[Trial], error: Exception) -> None:
        claims.fail(trials, one_line(error), _traceback(error))


def _add_seconds_since(begun: float, store: Store, sweep: int) -> None:
    store.add_seconds(sweep, time.perf_counter() - begun)


def _at_end(stack: contextlib.ExitStack, function: Callable[..., None], *args: Any) -> None:
    """Call a function when ``stack`` closes; a store that is gone then does not hide the error that closes it."""

    def leave(kind: object, error: BaseException | None, traceback: object) -> None:
        with contextlib.suppress(StoreError) if error is not None else contextlib.nullcontext():
            function(*args)

    stack.push(leave)


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
