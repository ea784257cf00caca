"""The queue: compile groups in order, tiles within them, and workers that take the next tile when they are free.

A tile is the same single-device program whoever runs it, so neither the number of workers nor their order can change
a result. On CPU there is one device and a worker a core: XLA runs one executable for several threads at once, which
is as fast as a device a core and needs compiling once.
"""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax

from jsweep._runtime.backend import cores
from jsweep.engine.compilation_cache import Watched, watching
from jsweep.engine.events import Compiled, Event, Failed, Halved, Trained
from jsweep.engine.program import TileProgram, compiler_options, lower_tile
from jsweep.engine.tile import Carry, OnDevice, Segment, Setting, train_tile
from jsweep.planning import Group, Tile
from jsweep.storage.records import Trial

WORKER = "jsweep-tile"  # the name of a worker's thread


class Keeper:
    """What workers ask of the record; this one keeps nothing. Its own errors end the sweep, unlike a tile's."""

    def claim(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """Those of ``trials`` that are this process's to train."""
        return trials

    def resume(self, group: Group, tile: Tile) -> Carry | None:
        """What was saved of a tile's trials, to go on from."""
        return None

    def save(self, tile: Tile, segment: Segment) -> Any:
        """Save a segment's end."""
        return None


@dataclass(frozen=True)
class Work:
    """One group's share of a sweep: the tiles still to train.

    ``window`` is the rows of a streamed window; None where the training split stays on the device.
    """

    group: Group
    tiles: tuple[Tile, ...]
    window: int | None = None


def default_workers() -> list[jax.Device]:
    """A worker for every device; on CPU with its usual single device, one for every core."""
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return devices * cores()
    return devices


def run(
    setting: Setting,
    work: Sequence[Work],
    workers: Sequence[jax.Device],
    stop: threading.Event,
    keeper: Keeper | None = None,
) -> Generator[Event, None, None]:
    """Train all tiles, yielding events as they come; once ``stop`` is set, tiles end after their present segment."""
    events: queue.Queue[Event | BaseException | None] = queue.Queue()
    tiles: queue.SimpleQueue[tuple[int, Tile]] = queue.SimpleQueue()
    for number, share in enumerate(work):
        for tile in share.tiles:
            tiles.put((number, tile))
    distinct = list(dict.fromkeys(workers))
    abandoned = threading.Event()  # the caller has gone: an error, or a second Ctrl-C
    should_stop = lambda: stop.is_set() or abandoned.is_set()
    with watching() as watched, ThreadPoolExecutor(min(2, cores()), thread_name_prefix="compile") as compiler:
        programs = _Programs(setting, work, distinct, compiler, events.put, watched)
        streamed = any(share.window is not None for share in work)
        data = {device: on_device(setting, device, streamed) for device in distinct}

        def worker(device: jax.Device) -> None:
            taking = _Worker(
                setting, work, tiles, programs, data[device], device, events.put, should_stop, keeper or Keeper()
            )
            try:
                taking.run()
            except BaseException as error:
                events.put(error)
            finally:
                events.put(None)

        threads = [threading.Thread(target=worker, args=(device,), daemon=True, name=WORKER) for device in workers]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                event = events.get()
                if event is None:
                    running -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            at_once = running and stop.is_set()  # a second Ctrl-C; after an error there is time for a segment's end
            abandoned.set()
            programs.cancel()
            for thread in () if at_once else threads:
                thread.join()


@dataclass(frozen=True)
class _Worker:
    """One thread's work: take a tile, claim its trials, train it; a tile that fails is halved until the guilty is alone."""

    setting: Setting
    work: Sequence[Work]
    tiles: queue.SimpleQueue
    programs: "_Programs"
    data: OnDevice
    device: jax.Device
    emit: Callable[[Event], None]
    should_stop: Callable[[], bool]
    keeper: Keeper

    def run(self) -> None:
        while not self.should_stop():
            try:
                number, tile = self.tiles.get_nowait()
            except queue.Empty:
                return
            claimed = self.keeper.claim(tile.trials)
            if claimed:
                self._train(number, Tile(claimed, tile.width))

    def _train(self, number: int, tile: Tile) -> None:
        share, finished = self.work[number], set()
        try:
            program, fingerprint = self.programs.get(number, tile.width, self.device)
        except Exception as error:
            self._failed(number, tile, error, () if not _out_of_memory(error) else tile.trials)
            return
        begin = self.keeper.resume(share.group, tile)
        segments = train_tile(
            self.setting, share.group, tile, program, self.data, self.device, share.window, self.should_stop, begin
        )
        while True:
            try:
                segment = next(segments, None)
            except Exception as error:
                self._failed(number, tile, error, tuple(t for t in tile.trials if t.id not in finished))
                return
            if segment is None:
                return
            finished |= {score.trial for score in segment.scores if score.finished}
            self.emit(Trained(number, tile, segment, fingerprint, self.keeper.save(tile, segment)))

    def _failed(self, number: int, tile: Tile, error: Exception, left: tuple[Trial, ...]) -> None:
        """Put the trials that are ``left`` back in two halves, or give them up."""
        half = -(-len(left) // 2)
        if left and _out_of_memory(error) and tile.width > 1:
            width = -(-tile.width // 2)
            self.emit(Halved(number, width))
            for start in range(0, len(left), width):
                self.tiles.put((number, Tile(left[start : start + width], width)))
        elif len(left) > 1:
            self.tiles.put((number, Tile(left[:half], tile.width)))
            self.tiles.put((number, Tile(left[half:], tile.width)))
        else:
            self.emit(Failed(number, left or tile.trials, error))


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


class _Programs:
    """Each group's program at each width, compiled ahead of the workers by a small pool, once for each device."""

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        pool: ThreadPoolExecutor,
        emit: Callable[[Event], None],
        watched: Watched,
    ):
        self._setting, self._work, self._emit, self._pool, self._watched = setting, work, emit, pool, watched
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int, jax.Device], Future[tuple[TileProgram, str]]] = {}
        for number, share in enumerate(work):
            for width in dict.fromkeys(tile.width for tile in share.tiles):
                for device in devices:
                    self._ask(number, width, device)

    def get(self, number: int, width: int, device: jax.Device) -> tuple[TileProgram, str]:
        """The program and its fingerprint, waiting for its compilation; raises what compiling it raised."""
        return self._ask(number, width, device).result()

    def cancel(self) -> None:
        """Give up what is not being compiled yet."""
        for future in self._futures.values():
            future.cancel()

    def _ask(self, number: int, width: int, device: jax.Device) -> Future[tuple[TileProgram, str]]:
        with self._lock:
            if (number, width, device) not in self._futures:
                self._futures[number, width, device] = self._pool.submit(self._compile, number, width, device)
            return self._futures[number, width, device]

    def _compile(self, number: int, width: int, device: jax.Device) -> tuple[TileProgram, str]:
        share = self._work[number]
        lowered = lower_tile(self._setting.task, share.group, width, device, share.window)
        program = lowered.compile()
        self._watched.compiled(lowered.fingerprint, compiler_options())
        self._emit(Compiled(number, width, lowered.fingerprint))
        return program, lowered.fingerprint


def on_device(setting: Setting, device: jax.Device, streamed: bool) -> OnDevice:
    """The splits a tile needs, put on ``device``; of streamed training data nothing."""
    data = setting.task.data
    train = None if streamed else jax.device_put(data.train, device)
    return OnDevice(train, jax.device_put(data.validation, device))
