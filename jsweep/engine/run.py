"""The queue: compile groups in order, tiles within them, and workers that take the next tile when they are free.

A tile is the same single-device program whoever runs it, so neither the number of workers nor their order can change
a result. On CPU there is one device and a worker a core: XLA runs one executable for several threads at once, which
is as fast as a device a core and needs compiling once.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax

from jsweep.backend import cores
from jsweep.engine.program import TileProgram, lower_tile
from jsweep.engine.tile import OnDevice, Segment, Setting, train_tile
from jsweep.planning import Group, Trial


@dataclass(frozen=True)
class Compiled:
    """A group's tile program was compiled: its number among the groups, and the fingerprint of its text."""

    group: int
    width: int
    fingerprint: str


@dataclass(frozen=True)
class Trained:
    """A tile reached a segment's end."""

    group: int
    trials: tuple[Trial, ...]
    segment: Segment


@dataclass(frozen=True)
class Failed:
    """A tile could not be trained; its trials fail with the reason."""

    group: int
    trials: tuple[Trial, ...]
    error: Exception


Event = Compiled | Trained | Failed


@dataclass(frozen=True)
class Work:
    """One group's share of a sweep: the width of its tiles and the tiles still to train.

    ``window`` is the rows of a streamed window; None where the training split stays on the device.
    """

    group: Group
    width: int
    tiles: tuple[tuple[Trial, ...], ...]
    window: int | None = None


def default_workers() -> list[jax.Device]:
    """A worker for every device; on CPU with its usual single device, one for every core."""
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return devices * cores()
    return devices


def run(
    setting: Setting, work: Sequence[Work], workers: Sequence[jax.Device], stop: threading.Event
) -> Iterator[Event]:
    """Train all tiles, yielding events as they come; once ``stop`` is set, tiles end after their present segment."""
    events: queue.Queue[Event | BaseException | None] = queue.Queue()
    tiles: queue.SimpleQueue[tuple[int, tuple[Trial, ...]]] = queue.SimpleQueue()
    for number, share in enumerate(work):
        for tile in share.tiles:
            tiles.put((number, tile))
    distinct = list(dict.fromkeys(workers))
    abandoned = threading.Event()  # the caller has gone: an error, or a second Ctrl-C
    should_stop = lambda: stop.is_set() or abandoned.is_set()
    with ThreadPoolExecutor(max_workers=min(2, cores()), thread_name_prefix="compile") as compiler:
        programs = _Programs(setting, work, distinct, compiler, events.put)
        streamed = any(share.window is not None for share in work)
        data = {device: on_device(setting, device, streamed) for device in distinct}

        def worker(device: jax.Device) -> None:
            try:
                _take_tiles(setting, work, tiles, programs, data[device], device, events.put, should_stop)
            except BaseException as error:
                events.put(error)
            finally:
                events.put(None)

        threads = [threading.Thread(target=worker, args=(device,), daemon=True) for device in workers]
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
            abandoned.set()
            programs.cancel()


def _take_tiles(
    setting: Setting,
    work: Sequence[Work],
    tiles: queue.SimpleQueue,
    programs: "_Programs",
    data: OnDevice,
    device: jax.Device,
    emit: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> None:
    while not should_stop():
        try:
            number, tile = tiles.get_nowait()
        except queue.Empty:
            return
        try:
            program = programs.get(number, device)
            share = work[number]
            for segment in train_tile(setting, share.group, tile, program, data, device, share.window, should_stop):
                emit(Trained(number, tile, segment))
        except Exception as error:
            emit(Failed(number, tile, error))


class _Programs:
    """Each group's program, compiled ahead of the workers by a small pool, once for each device."""

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        pool: ThreadPoolExecutor,
        emit: Callable[[Event], None],
    ):
        self._setting, self._work, self._emit = setting, work, emit
        self._futures: dict[tuple[int, jax.Device], Future[TileProgram]] = {
            (number, device): pool.submit(self._compile, number, device)
            for number, share in enumerate(work)
            if share.tiles
            for device in devices
        }

    def get(self, number: int, device: jax.Device) -> TileProgram:
        """The program, waiting for its compilation; raises what compiling it raised."""
        return self._futures[number, device].result()

    def cancel(self) -> None:
        """Give up what is not being compiled yet."""
        for future in self._futures.values():
            future.cancel()

    def _compile(self, number: int, device: jax.Device) -> TileProgram:
        share = self._work[number]
        lowered = lower_tile(self._setting.task, share.group, share.width, device, share.window)
        program = lowered.compile()
        self._emit(Compiled(number, share.width, lowered.fingerprint))
        return program


def on_device(setting: Setting, device: jax.Device, streamed: bool) -> OnDevice:
    """The splits a tile needs, put on ``device``; of streamed training data nothing."""
    data = setting.task.data
    train = None if streamed else jax.device_put(data.train, device)
    return OnDevice(train, jax.device_put(data.validation, device))
