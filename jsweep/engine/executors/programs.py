"""The programs of a sweep, compiled a few ahead of the workers that wait for them and dropped when their tiles are done."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as StillCompiling
from dataclasses import dataclass
from functools import partial

import jax

from jsweep.engine.compilation_cache import CacheMonitor
from jsweep.engine.compiling import TileCompiler, compiler_options
from jsweep.engine.concurrency import Program
from jsweep.engine.events import Compiled, Event
from jsweep.engine.program import TileProgram, assembled, compile_tile, parts_of_tile
from jsweep.engine.tile import Setting
from jsweep.planning import Group, Tile

POLL_SECONDS = 0.2  # between two looks at whether the run is to stop, while a program is compiled
AHEAD = 4  # programs compiled, or waiting to be, that no worker has asked for yet

_Key = tuple[int, int]  # a group's number, and the lanes of a tile


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


KeptPrograms = dict[str, tuple[TileProgram, str]]
"""Compiled programs with their fingerprints, for later runs of groups that compute the same."""


class Programs:
    """Each group's program at each width, compiled in the background, once for each device.

    A program takes some megabytes. So no more than those that workers use and `AHEAD` others are there at once, in the order
    of the work. But what is ``kept`` of earlier runs is not compiled again, and what is compiled here is kept there.
    """

    def __init__(
        self,
        setting: Setting,
        work: Sequence[Work],
        devices: Sequence[jax.Device],
        compiler: TileCompiler,
        emit: Callable[[Event], None],
        monitor: CacheMonitor,
        kept: KeptPrograms | None,
    ):
        self._kept = kept
        self._setting, self._work, self._compiler, self._emit, self._monitor = setting, work, compiler, emit, monitor
        self._devices = tuple(devices)
        self._lock = threading.Lock()
        self._tiles = Counter((number, tile.width) for number, share in enumerate(work) for tile in share.tiles)
        self._tiles.update((number, share.width) for number, share in enumerate(work) if share.width)  # to the end
        self._asked: set[_Key] = set()
        self._cancelled = False
        self._futures: dict[_Key, dict[jax.Device, Future[tuple[TileProgram, str]]]] = {}
        with self._lock:
            self._compile_ahead()

    def get(
        self, number: int, width: int, device: jax.Device, should_stop: Callable[[], bool]
    ) -> tuple[TileProgram, str] | None:
        """A group's program and its fingerprint, once it is compiled; None where that is not waited for any more.

        Raises what compiling it raised.
        """
        with self._lock:
            if self._cancelled:
                return None
            self._asked.add((number, width))
            future = self._request((number, width))[device]
            self._compile_ahead()
        while True:
            try:
                return future.result(timeout=POLL_SECONDS)
            except StillCompiling:
                if should_stop():
                    return None
            except CancelledError:
                return None

    def add(self, number: int, width: int) -> None:
        """There is a tile more to train of a group at a width."""
        with self._lock:
            self._tiles[number, width] += 1

    def done(self, number: int, width: int) -> None:
        """A tile of a group at a width is done with; its program is dropped where it was the last."""
        key = number, width
        with self._lock:
            self._tiles[key] -= 1
            if not self._tiles[key]:
                del self._tiles[key]
                self._asked.discard(key)
                for future in self._futures.pop(key, {}).values():
                    future.cancel()
                self._compile_ahead()

    def cancel(self) -> None:
        """Give up the programs that are not being compiled yet."""
        with self._lock:
            self._cancelled = True
            for futures in self._futures.values():
                for future in futures.values():
                    future.cancel()

    def _compile_ahead(self) -> None:
        waiting = sum(key not in self._asked for key in self._futures)
        for key in () if self._cancelled else self._tiles:
            if waiting >= AHEAD:
                return
            if key not in self._futures:
                self._request(key)
                waiting += 1

    def _request(self, key: _Key) -> dict[jax.Device, Future[tuple[TileProgram, str]]]:
        if key not in self._futures:
            self._futures[key] = {device: self._compile(*key, device) for device in self._devices}
        return self._futures[key]

    def _compile(self, number: int, width: int, device: jax.Device) -> Future[tuple[TileProgram, str]]:
        share, kept = self._work[number], self._kept
        name = None if kept is None else _identity(share, width, device)
        if kept is not None and name in kept:
            found: Future[tuple[TileProgram, str]] = Future()
            found.set_result(kept[name])
            return found

        def make(parts: Sequence[Program]) -> tuple[TileProgram, str]:
            program, fingerprint = assembled(width, parts)
            if self._setting.task.mesh is None:  # programs of several devices are not always cached
                self._monitor.compiled(fingerprint, compiler_options(device))
            self._emit(Compiled(number, width, fingerprint))
            if kept is not None and name is not None:
                kept[name] = program, fingerprint
            return program, fingerprint

        parts = partial(parts_of_tile, self._setting.task, share.group, width, device, share.window)
        return self._compiler.submit(parts, make)


def compiled_for(
    setting: Setting, share: Work, width: int, device: jax.Device, kept: KeptPrograms
) -> tuple[TileProgram, str]:
    """A group's program and its fingerprint: one that is ``kept``, or compiled now and then kept.

    Args:
        setting: what all tiles of the sweep share.
        share: the group, and its window.
        width: lanes of a tile.
        device: the device.
        kept: the programs of the task that were compiled before.
    """
    name = _identity(share, width, device)
    if name not in kept:
        kept[name] = compile_tile(setting.task, share.group, width, device, share.window)
    return kept[name]


def _identity(share: Work, width: int, device: jax.Device) -> str:
    """Equal for programs that are the same, of one task."""
    group = share.group
    lanes = sorted((name, repr(lane)) for name, lane in group.lanes.items())
    return repr((group.key, group.identity.digest, lanes, width, share.window, device))
