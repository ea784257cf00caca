"""The training of a run: what is free is claimed tile by tile, and each segment is recorded as it comes."""

import contextlib
import functools
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from jsweep._runtime.environment import describe_environment
from jsweep._runtime.interrupts import interrupts_set
from jsweep.engine.events import Copied, Event, Failed, Halved, Stopped, Trained, dispatched
from jsweep.engine.executors.programs import KeptPrograms
from jsweep.engine.executors.remote import run as run_on
from jsweep.engine.executors.threads import More, Work
from jsweep.engine.executors.threads import run as run_tiles
from jsweep.engine.parking import Parking
from jsweep.engine.persistence import NoCheckpointing
from jsweep.errors import ConfigError, IncompatibleSweepError, StoreError
from jsweep.planning.grouping import Traces
from jsweep.runner.audience import Audience
from jsweep.runner.checkpointing import Checkpointing, tidy, tidy_ended
from jsweep.runner.claims import Claims, View
from jsweep.runner.compatibility import (
    check_environment,
    check_lengths,
    check_same,
    enter_sweep,
    reads_length,
)
from jsweep.runner.halting import Best, Grown, Limits, Watch
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.progress import Progress
from jsweep.runner.remaining import Remaining, divide
from jsweep.runner.remote import Remote
from jsweep.runner.ruling import make_ruling
from jsweep.runner.session import Session
from jsweep.runner.sharding import Shard, share
from jsweep.runner.sweep import Sweep
from jsweep.storage import Store, SweepRecord, Trial
from jsweep.storage.locks import is_alive, owner
from jsweep.storage.standing import Wanted, ended_at

POLL_SECONDS = 0.3  # between two looks at trials that another process trains


@dataclass(frozen=True)
class Run:
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
                if not self.any_environment:
                    try:
                        check_environment(store, known)
                    except IncompatibleSweepError:
                        if not _ended(store, known, prepared):
                            raise
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

    run: Run
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
        want = functools.cache(Wanted)  # equal ones are one
        wanted = {trial.id: want(trial.steps, trial.id in fixed) for trial in prepared.trials}
        if self.store.file is None:
            return Claims(self.store, sweep, "this", lambda _: True, describe_environment(), wanted), None
        name = stack.enter_context(owner(folder))
        alive = functools.partial(is_alive, folder)
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
            if not view.free and not view.held:
                self.watch.check_grown()  # also with the last segments
                self._check_end(view)
                continue
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
                begun = [trial for trial, state in view.states.items() if state.recorded and trial in left]
                checkpoints = self.store.checkpoints_of(self.record.key, begun) if checkpointing else ()
                remaining = Remaining(prepared, left, view.states, checkpoints, frozenset(view.held))
                self._train(remaining, claims, checkpointing)

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


def _ended(store: Store, record: SweepRecord, prepared: Prepared) -> bool:
    """Whether every trial has ended at the length that is asked for."""
    if store.count_ended(record.key) < len(prepared.trials):
        return False
    return len(ended_at(store.states(record.key), prepared.trials)) == len(prepared.trials)
