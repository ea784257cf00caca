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

    ``window`` is the rows of a streamed window; None where the training split stays on the device.
    """

    group: Group
    tiles: tuple[Tile, ...]
    window: int | None = None


KeptPrograms = dict[str, tuple[TileProgram, str]]
"""Compiled programs with their fingerprints, for later runs of groups that compute the same."""


class Programs:
    """Each group's program at each width, compiled by a small pool, once for each device.

    What is ``kept`` of earlier runs is not compiled again, and what is compiled here is kept there.
    """

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        pool: ThreadPoolExecutor,
        emit: Callable[[Event], None],
        monitor: CacheMonitor,
        kept: KeptPrograms,
    ):
        self._kept = kept
        self._setting, self._work, self._pool, self._emit, self._monitor = setting, work, pool, emit, monitor
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int, jax.Device], Future[tuple[TileProgram, str]]] = {}
        for number, share in enumerate(work):
            for width in dict.fromkeys(tile.width for tile in share.tiles):
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
        key = _identity(share, width, device)
        if key in self._kept:
            return self._kept[key]
        lowered = lower_tile(self._setting.task, share.group, width, device, share.window)
        program = lowered.compile()
        self._monitor.compiled(lowered.fingerprint, compiler_options(device))
        self._emit(Compiled(number, width, lowered.fingerprint))
        self._kept[key] = program, lowered.fingerprint
        return self._kept[key]


def _identity(share: Work, width: int, device: jax.Device) -> str:
    """Equal for programs that are the same, of one task."""
    group = share.group
    lanes = sorted((name, repr(lane)) for name, lane in group.lanes.items())
    return repr((group.key, group.identity.digest, lanes, group.shared, width, share.window, device))
