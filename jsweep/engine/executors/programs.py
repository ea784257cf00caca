"""The programs of a sweep, compiled ahead of the workers that wait for them."""

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as StillCompiling
from dataclasses import dataclass

import jax

from jsweep.engine.compilation_cache import CacheMonitor
from jsweep.engine.concurrency import BackgroundPool
from jsweep.engine.events import Compiled, Event
from jsweep.engine.program import TileProgram, compiler_options, lower_tile
from jsweep.engine.tile import Setting
from jsweep.planning import Group, Tile

POLL_SECONDS = 0.2  # between two looks at whether the run is to stop, while a program is compiled


@dataclass(frozen=True)
class Work:
    """One group's share of a sweep: the tiles still to train.

    ``window`` is the rows of a streamed window; None where the training split stays on the device.
    """

    group: Group
    tiles: tuple[Tile, ...]
    window: int | None = None


class Programs:
    """Each group's program at each width, compiled by a small pool, once for each device."""

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        pool: BackgroundPool,
        emit: Callable[[Event], None],
        monitor: CacheMonitor,
    ):
        self._setting, self._work, self._pool, self._emit, self._monitor = setting, work, pool, emit, monitor
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int, jax.Device], Future[tuple[TileProgram, str]]] = {}
        for number, share in enumerate(work):
            for width in dict.fromkeys(tile.width for tile in share.tiles):
                for device in devices:
                    self._request(number, width, device)

    def get(
        self, number: int, width: int, device: jax.Device, should_stop: Callable[[], bool]
    ) -> tuple[TileProgram, str] | None:
        """A group's program and its fingerprint, once it is compiled; None where that is not waited for any more.

        Raises what compiling it raised.
        """
        future = self._request(number, width, device)
        while True:
            try:
                return future.result(timeout=POLL_SECONDS)
            except StillCompiling:
                if should_stop():
                    return None
            except CancelledError:
                return None

    def cancel(self) -> None:
        """Give up the programs that are not being compiled yet."""
        for future in self._futures.values():
            future.cancel()

    def _request(self, number: int, width: int, device: jax.Device) -> Future[tuple[TileProgram, str]]:
        with self._lock:
            if (number, width, device) not in self._futures:
                compiling = functools.partial(self._compile, number, width, device)
                self._futures[number, width, device] = self._pool.submit(compiling)
            return self._futures[number, width, device]

    def _compile(self, number: int, width: int, device: jax.Device) -> tuple[TileProgram, str]:
        share = self._work[number]
        lowered = lower_tile(self._setting.task, share.group, width, device, share.window)
        program = lowered.compile()
        self._monitor.compiled(lowered.fingerprint, compiler_options(device))
        self._emit(Compiled(number, width, lowered.fingerprint))
        return program, lowered.fingerprint
