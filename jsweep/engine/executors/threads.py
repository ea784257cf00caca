"""The queue: compile groups in order, tiles within them, and workers that take the next tile when they are free.

A tile is the same single-device program whichever worker runs it, so neither the number of workers nor their order can
change a result. On CPU there is one device and a worker for each core: XLA runs one executable in several threads at
once, which is as fast as a device for each core and needs one compilation.
"""

import atexit
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import jax

from jsweep._runtime.interrupts import EXIT_CODE
from jsweep._runtime.limits import cores
from jsweep.engine.compilation_cache import monitor_cache
from jsweep.engine.compiling import TileCompiler
from jsweep.engine.concurrency import COMPILER
from jsweep.engine.events import Event, Failed, Halved, Trained
from jsweep.engine.executors.programs import KeptPrograms, Programs
from jsweep.engine.executors.programs import Work as Work
from jsweep.engine.executors.tiles import TileQueue
from jsweep.engine.executors.watchdog import Watchdog
from jsweep.engine.persistence import Checkpointing, Claims, NoCheckpointing, NoClaims
from jsweep.engine.placement import placement
from jsweep.engine.program import TileProgram
from jsweep.engine.tile import OnDevice, Segment, Setting, TileContext, train_tile
from jsweep.planning import Tile
from jsweep.storage.records import Trial, ended_among

WORKER = "jsweep-tile"  # the name of a worker's thread
POLL_SECONDS = 5.0  # between two looks at whether a worker hangs


More = tuple[Sequence[Event], Sequence[tuple[int, Tile]]]
"""Events, and then tiles to train, each with the number of its compile group."""


def on_device(setting: Setting, device: jax.Device, streamed: bool) -> OnDevice:
    """The splits a tile needs, put on ``device``; without the training split where that is streamed."""
    data, where = setting.task.data, placement(setting.task, device)
    train = None if streamed else jax.device_put(data.train, where)
    if data.folds is not None and not streamed:
        return OnDevice(train, train)
    return OnDevice(train, jax.device_put(data.validation, where))


def run(
    setting: Setting,
    work: Sequence[Work],
    workers: Sequence[jax.Device],
    stop: threading.Event,
    claims: Claims | None = None,
    checkpointing: Checkpointing | None = None,
    more: Callable[[], More] | None = None,
    kept: KeptPrograms | None = None,
) -> Generator[Event, None, None]:
    """Train all tiles, yielding events as they come.

    Args:
        setting: what all tiles share.
        work: each compile group's tiles.
        workers: the device of each worker.
        stop: once it is set, tiles end after their current segment.
        claims: which trials are this process's to train; None for all.
        checkpointing: where tiles are saved and resumed from; None for nowhere.
        more: asked whenever all tiles are done, once their events have been consumed; the run ends when there is no more.
        kept: the compiled programs of earlier runs of this task, to which this run adds its own.
    """
    devices = list(dict.fromkeys(workers))
    inbox, compiler = _Inbox(stop), TileCompiler(cores())
    tiles = TileQueue(lambda: inbox.events.put(_IDLE))
    for number, share in enumerate(work):
        for tile in share.tiles:
            tiles.put(number, tile)
    with monitor_cache() as monitor:
        programs = Programs(setting, work, devices, compiler, inbox.events.put, monitor, kept)
        shared = _Shared(
            setting, work, tiles, programs, inbox, claims or NoClaims(), checkpointing or NoCheckpointing()
        )
        streamed = any(share.window is not None for share in work)
        data = {device: on_device(setting, device, streamed) for device in devices}
        threads = [
            threading.Thread(target=_Worker(shared, device, data[device]).run, daemon=True, name=WORKER)
            for device in workers
        ]
        for thread in threads:
            thread.start()
        ended = False
        try:
            if not any(share.tiles for share in work):
                tiles.on_idle()
            yield from inbox.receive(len(threads), shared, more or (lambda: ((), ())))
            ended = True
        finally:
            inbox.abandoned.set()
            tiles.close()
            programs.cancel()
            # A second Ctrl-C ends the run at once; after an error the workers have time to end their segments.
            for thread in () if stop.is_set() and not ended else threads:
                thread.join()
            compiler.close(wait=not stop.is_set())


class _Idle:
    """All tiles are done."""


_IDLE = _Idle()


@dataclass(frozen=True)
class _Inbox:
    """The events of all workers, on their way to the thread that called `run`."""

    stop: threading.Event
    abandoned: threading.Event = field(default_factory=threading.Event)  # the caller has gone
    events: "queue.Queue[Event | BaseException | _Idle | None]" = field(
        default_factory=queue.Queue
    )  # None: a worker ended
    watchdog: Watchdog = field(default_factory=Watchdog)

    def should_stop(self) -> bool:
        return self.stop.is_set() or self.abandoned.is_set()

    def receive(self, workers: int, shared: "_Shared", more: Callable[[], More]) -> Generator[Event, None, None]:
        """Yield events until as many workers have ended; raise what one of them raised."""
        while workers:
            for message in self.watchdog.report():
                warnings.warn(message, stacklevel=4)
            try:
                event = self.events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if event is None:
                workers -= 1
            elif isinstance(event, _Idle):
                yield from self._refill(shared, more)
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event

    def _refill(self, shared: "_Shared", more: Callable[[], More]) -> Generator[Event, None, None]:
        """Put more tiles in the queue, or close it."""
        if self.should_stop():
            return shared.tiles.close()
        events, following = more()
        yield from events
        for number, tile in following:
            shared.put(number, tile)
        if not following:
            shared.tiles.close()
        return None


@dataclass(frozen=True)
class _Shared:
    """What all workers of a run share."""

    setting: Setting
    work: Sequence[Work]
    tiles: TileQueue
    programs: Programs
    inbox: _Inbox
    claims: Claims
    checkpointing: Checkpointing

    def put(self, number: int, tile: Tile) -> None:
        """Add a tile to those that are to be trained."""
        self.programs.add(number, tile.width)
        self.tiles.put(number, tile)


@dataclass(frozen=True)
class _Worker:
    """One thread: it takes a tile, claims its trials and trains it.

    A tile that fails is cut into halves until the trial at fault is alone.
    """

    shared: _Shared
    device: jax.Device
    data: OnDevice

    def run(self) -> None:
        events = self.shared.inbox.events
        try:
            self._take_tiles()
        except BaseException as error:
            events.put(error)
        finally:
            events.put(None)

    def _take_tiles(self) -> None:
        tiles = self.shared.tiles
        while taken := tiles.take(self.shared.inbox.should_stop):
            number, tile = taken
            claimed = self.shared.claims.claim(tile.trials)
            if claimed:
                self._train(number, replace(tile, trials=claimed))
            self.shared.programs.done(number, tile.width)
            tiles.done()

    def _train(self, number: int, tile: Tile) -> None:
        try:
            compiled = self.shared.programs.get(number, tile.width, self.device, self.shared.inbox.should_stop)
        except Exception as error:
            self._failed(number, tile, error, () if not out_of_memory(error) else tile.trials)
            return
        if compiled is None:
            return
        program, fingerprint = compiled
        begin = self.shared.checkpointing.resume(self.shared.work[number].group, tile)
        context = self._context(number, program)
        segments = train_tile(context, tile, begin)
        finished: set[str] = set()
        while True:
            try:
                segment = self._next(segments, context.group.label)
            except Exception as error:
                self._failed(number, tile, error, tuple(t for t in tile.trials if t.id not in finished))
                return
            if segment is None or self.shared.claims.lost(tile.trials):
                return
            finished.update(ended_among(segment.scores))
            stopping = self.shared.inbox.should_stop()
            saved = self.shared.checkpointing.save(tile, segment, stopping)
            self.shared.inbox.events.put(Trained(number, tile, segment, fingerprint, saved))
            if stopping:
                return

    def _context(self, number: int, program: TileProgram) -> TileContext:
        share, watchdog = self.shared.work[number], self.shared.inbox.watchdog
        return TileContext(
            setting=self.shared.setting,
            group=share.group,
            program=program,
            data=self.data,
            device=self.device,
            window=share.window,
            on_call=watchdog.finished_call,
        )

    def _next(self, segments: Iterator[Segment], label: str) -> Segment | None:
        with self.shared.inbox.watchdog.watch(label):
            return next(segments, None)

    def _failed(self, number: int, tile: Tile, error: Exception, left: tuple[Trial, ...]) -> None:
        """Put the trials that are ``left`` back in two halves, or give them up."""
        emit = self.shared.inbox.events.put
        again = halves(tile, left, out_of_memory(error))
        if again and again[0].width < tile.width:
            emit(Halved(number, again[0].width))
        for each in again:
            self.shared.put(number, each)
        if not again:
            emit(Failed(number, left or tile.trials, error))


def halves(tile: Tile, left: tuple[Trial, ...], no_memory: bool) -> list[Tile]:
    """The tiles in which what is ``left`` of a tile that failed is tried again, the trial at fault alone in the end."""
    if left and no_memory and tile.width > 1:
        width = -(-tile.width // 2)
        cuts = range(0, len(left), width)
        return [replace(tile, trials=left[start : start + width], width=width) for start in cuts]
    half = -(-len(left) // 2)
    return [replace(tile, trials=trials) for trials in (left[:half], left[half:])] if len(left) > 1 else []


def threads_are_busy() -> bool:
    """Whether threads that a run left behind still train or compile."""
    return any(thread.name in (WORKER, COMPILER) for thread in threading.enumerate())


@atexit.register
def _leave_threads_behind() -> None:
    """XLA aborts when the interpreter ends while threads run in it, so after a second Ctrl-C the process ends as it is."""
    if threads_are_busy():
        error = getattr(sys, "last_value", None)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(EXIT_CODE if isinstance(error, KeyboardInterrupt) else int(error is not None))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
