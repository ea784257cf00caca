"""The programs of a sweep, compiled ahead of the workers that wait for them."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax

from jsweep.engine.compilation_cache import CacheMonitor
from jsweep.engine.events import Compiled, Event
from jsweep.engine.program import TileProgram, compiler_options, lower_tile
from jsweep.engine.tile import Setting
from jsweep.planning import Group, Tile


@dataclass(frozen=True)
class Work:
    """One group's share of a sweep: the tiles still to train.

    ``window`` is the rows of a streamed window; None where the training split stays on the device. ``width`` is that of
    tiles that will come later; None where there are none.
    """

    group: Group
    tiles: tuple[Tile, ...]
    window: int | None = None
    width: int | None = None


class Programs:
    """Each group's program at each width, compiled by a small pool, once for each device."""

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        pool: ThreadPoolExecutor,
        emit: Callable[[Event], None],
        monitor: CacheMonitor,
    ):
        self._setting, self._work, self._pool, self._emit, self._monitor = setting, work, pool, emit, monitor
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int, jax.Device], Future[tuple[TileProgram, str]]] = {}
        for number, share in enumerate(work):
            later = [share.width] if share.width else []
            for width in dict.fromkeys([*later, *(tile.width for tile in share.tiles)]):
                for device in devices:
                    self._request(number, width, device)

    def get(self, number: int, width: int, device: jax.Device) -> tuple[TileProgram, str]:
        """A group's program and its fingerprint, once it is compiled; raises what compiling it raised."""
        return self._request(number, width, device).result()

    def cancel(self) -> None:
        """Give up the programs that are not being compiled yet."""
        for future in self._futures.values():
            future.cancel()

    def _request(self, number: int, width: int, device: jax.Device) -> Future[tuple[TileProgram, str]]:
        with self._lock:
            if (number, width, device) not in self._futures:
                self._futures[number, width, device] = self._pool.submit(self._compile, number, width, device)
            return self._futures[number, width, device]

    def _compile(self, number: int, width: int, device: jax.Device) -> tuple[TileProgram, str]:
        share = self._work[number]
        lowered = lower_tile(self._setting.task, share.group, width, device, share.window)
        program = lowered.compile()
        self._monitor.compiled(lowered.fingerprint, compiler_options(device))
        self._emit(Compiled(number, width, lowered.fingerprint))
        return program, lowered.fingerprint
