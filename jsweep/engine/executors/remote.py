"""Tiles on an executor: any number of worker processes, here or elsewhere, to which this process sends jobs.

The driver alone claims, records, decides and saves; workers train some segments and forget them. So neither the number of
workers nor their order can change a result, and a worker that dies has lost nothing but time.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from jsweep.engine.carry import Carry, to_arrays
from jsweep.engine.events import Compiled, Event, Failed, Halved, Trained
from jsweep.engine.executors.jobs import (
    Done,
    Job,
    Missing,
    Parcel,
    Piece,
    Problem,
    Refused,
    Saved,
    Setup,
    Source,
    from_saved,
    group_name,
    train_job,
)
from jsweep.engine.executors.programs import Work
from jsweep.engine.executors.threads import More, halves
from jsweep.engine.persistence import Checkpointing, Claims, NoCheckpointing, NoClaims
from jsweep.engine.tile import Segment
from jsweep.errors import JsweepError
from jsweep.planning import Tile
from jsweep.storage.records import ended_among

POLL_SECONDS = 0.2  # between two looks at whether the run is to stop
JOB_SECONDS = 5.0  # of training in one job: short for a run that is to stop, long beside the way there and back
RETRIES = 3  # of a job whose worker died


@runtime_checkable
class Executor(Protocol):
    """Where jobs run: `concurrent.futures.Executor`, or anything with its ``submit``.

    With a method ``put(value)`` it is given what all jobs share once, and ``put`` returns a function without arguments that
    gives the value in a worker. Without, each worker is sent it when it says that it lacks it.
    """

    def submit(self, function: Callable[..., object], /, *args: object) -> Future:
        """Have a worker call ``function(*args)``; the future has what it returns."""
        ...


@dataclass(frozen=True)
class Pool:
    """An executor, and what its workers are told.

    Attributes:
        executor: the executor.
        at_once: how many jobs it has at once.
        setup: what a worker process is told before it starts JAX.
        names: the ids of the two parcels.
        sources: the task and the part of the sweep, as they are sent unasked; None where they are sent when a worker asks.
        parcels: the same, to be sent to workers that ask.
        dump: pickles a job.
    """

    executor: Executor
    at_once: int
    setup: Setup
    names: tuple[str, str]
    sources: tuple[Source, Source]
    parcels: tuple[Parcel, Parcel]
    dump: Callable[[Job], bytes]


class LostWorkers(JsweepError):
    """Workers died, or cannot be reached."""


def run(
    pool: Pool,
    work: Sequence[Work],
    stop: threading.Event,
    claims: Claims | None = None,
    checkpointing: Checkpointing | None = None,
    more: Callable[[], More] | None = None,
    keeps_ended: bool = False,
) -> Generator[Event, None, None]:
    """Train all tiles on an executor, yielding events as they come; the other arguments are those of `threads.run`.

    Args:
        pool: the executor.
        keeps_ended: whether ``checkpointing`` saves the states of trials that have ended.

    Raises:
        LostWorkers: where the executor is broken, or a job's workers died time and again.
        JsweepError: where a worker cannot train the sweep.
    """
    driver = _Driver(pool, work, stop, claims or NoClaims(), checkpointing or NoCheckpointing(), keeps_ended)
    driver.waiting.extend((number, tile) for number, share in enumerate(work) for tile in share.tiles)
    try:
        while True:
            yield from driver.train()
            if stop.is_set():
                return
            events, following = more() if more else ((), ())
            yield from events
            if not following:
                return
            driver.waiting.extend(following)
    finally:
        for future in driver.running:
            future.cancel()


@dataclass
class _Flight:
    """A tile on its way: its job, what of it has ended, and how often a worker died with it."""

    number: int
    tile: Tile
    job: Job
    finished: set[str] = field(default_factory=set)
    deaths: int = 0


@dataclass
class _Driver:
    """The tiles that wait and those that workers have."""

    pool: Pool
    work: Sequence[Work]
    stop: threading.Event
    claims: Claims
    checkpointing: Checkpointing
    keeps_ended: bool
    waiting: deque[tuple[int, Tile]] = field(default_factory=deque)
    running: dict[Future, _Flight] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # of compile groups
    fingerprints: dict[tuple[int, int], str] = field(default_factory=dict)
    ended: "queue.SimpleQueue[Future]" = field(default_factory=queue.SimpleQueue)

    def train(self) -> Iterator[Event]:
        """Train what waits, and what becomes of it, to the end or until the run is to stop."""
        while True:
            self._fill()
            if not self.running:
                return
            try:
                future = self.ended.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            flight = self.running.pop(future, None)
            if flight is not None:
                yield from self._take(future, flight)

    def _fill(self) -> None:
        """Send tiles as long as there is room."""
        while self.waiting and len(self.running) < self.pool.at_once and not self.stop.is_set():
            number, tile = self.waiting.popleft()
            claimed = self.claims.claim(tile.trials)
            if claimed:
                self._begin(number, replace(tile, trials=claimed))

    def _begin(self, number: int, tile: Tile) -> None:
        share = self.work[number]
        carry = self.checkpointing.resume(share.group, tile)
        begin = None if carry is None else Saved(carry.position, to_arrays(carry))
        if number not in self.names:
            self.names[number] = group_name(share.group)
        job = Job(
            self.names[number],
            tile,
            share.window,
            begin,
            continues=False,
            keeps_ended=self.keeps_ended,
            seconds=JOB_SECONDS,
        )
        self._send(_Flight(number, tile, job))

    def _send(self, flight: _Flight, missing: Sequence[str] = ()) -> None:
        pool = self.pool
        sent = zip(("task", "part"), pool.sources, pool.parcels, strict=True)
        task, part = (parcel if source is None and name in missing else source for name, source, parcel in sent)
        try:
            future = pool.executor.submit(train_job, pool.setup, pool.names, task, part, pool.dump(flight.job))
        except (BrokenExecutor, RuntimeError) as error:  # also "cannot schedule new futures after shutdown"
            raise LostWorkers(_broken(error)) from error
        self.running[future] = flight
        future.add_done_callback(self.ended.put)

    def _take(self, future: Future, flight: _Flight) -> Iterator[Event]:
        """Record what a job gave, and send the next of its tile."""
        try:
            given = future.result()
        except (BrokenExecutor, CancelledError) as error:
            raise LostWorkers(_broken(error)) from error
        except Exception as error:  # the executor's: what the training raises is in what a job gives
            flight.deaths += 1
            if flight.deaths > RETRIES:
                raise LostWorkers(
                    f"workers died {flight.deaths} times with the tile of trial {flight.tile.trials[0].id} "
                    f"({type(error).__name__}: {_line(error)}): run the sweep again to go on from what is recorded."
                ) from error
            self._send(flight)
            return
        if isinstance(given, Missing):
            self._send(flight, given.names)
        elif isinstance(given, Refused):
            raise JsweepError(f"a worker cannot train the sweep: {given.reason}")
        else:
            yield from self._record(flight, given)

    def _record(self, flight: _Flight, done: Done) -> Iterator[Event]:
        number, tile = flight.number, flight.tile
        if done.fingerprint is not None:
            yield from self._note_program(number, tile.width, done.fingerprint)
        for piece in done.pieces:
            if self.claims.lost(tile.trials):
                return
            segment = self._segment(number, tile.width, piece)
            flight.finished.update(ended_among(piece.scores))
            leaves = self.stop.is_set() and piece is done.pieces[-1]
            saved = () if piece.saved is None else self.checkpointing.save(tile, segment, leaves)
            yield Trained(number, tile, segment, done.fingerprint or "", saved)
        if done.problem is not None:
            yield from self._failed(flight, done.problem, compiled=done.fingerprint is not None)
            return
        last = done.pieces[-1] if done.pieces else None
        if last is None or last.last or last.step == tile.until or self.stop.is_set():
            return
        if not self.claims.lost(tile.trials):
            flight.job, flight.deaths = replace(flight.job, begin=last.saved, continues=True), 0
            self._send(flight)

    def _note_program(self, number: int, width: int, fingerprint: str) -> Iterator[Event]:
        known = self.fingerprints.get((number, width))
        if known is None:
            self.fingerprints[number, width] = fingerprint
            yield Compiled(number, width, fingerprint)
        elif known != fingerprint:
            raise JsweepError(
                f"workers compiled different programs for the group [{self.work[number].group.label}]: install the same "
                "versions on all machines, and make the task depend on its config alone."
            )

    def _segment(self, number: int, width: int, piece: Piece) -> Segment:
        carry = None if piece.saved is None else from_saved(piece.saved, self.work[number].group)
        if carry is None:
            carry = Carry(piece.step, piece.since, width, None, {}, np.zeros(0, np.int32))
        return Segment(piece.scores, carry, piece.last, piece.steps_done)

    def _failed(self, flight: _Flight, problem: Problem, compiled: bool) -> Iterator[Event]:
        """Put the trials that are left back in two halves, or give them up; without a program all fail together."""
        number, tile = flight.number, flight.tile
        left = tuple(trial for trial in tile.trials if trial.id not in flight.finished)
        left = left if compiled or problem.out_of_memory else ()
        again = halves(tile, left, problem.out_of_memory)
        if again and again[0].width < tile.width:
            yield Halved(number, again[0].width)
        self.waiting.extendleft((number, each) for each in reversed(again))
        if not again:
            yield Failed(number, left or tile.trials, _raised(problem))


def _raised(problem: Problem) -> Exception:
    """The exception of another process, under its name, with its traceback."""
    error = type(problem.kind, (JsweepError,), {})(problem.text)
    error.__cause__ = JsweepError(f"in a worker:\n{problem.traceback}")
    return error


def _broken(error: BaseException) -> str:
    return (
        f"the executor takes no more jobs ({type(error).__name__}: {_line(error)}): make a new one and run the sweep again, "
        "which goes on from what is recorded."
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no message"
