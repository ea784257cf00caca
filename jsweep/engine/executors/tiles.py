"""The tiles that wait for a worker, and when none is left."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from jsweep.planning import Tile

POLL_SECONDS = 0.2  # between two looks at whether the run is to end


@dataclass
class TileQueue:
    """A queue of tiles, each with the number of its compile group; ``on_idle`` is called when all of them are done."""

    on_idle: Callable[[], None]
    _tiles: deque[tuple[int, Tile]] = field(default_factory=deque, init=False)
    _open: int = field(default=0, init=False)  # tiles that wait or are being trained
    _closed: bool = field(default=False, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

    def put(self, number: int, tile: Tile) -> None:
        """Add a tile."""
        with self._changed:
            self._open += 1
            self._tiles.append((number, tile))
            self._changed.notify()

    def take(self, should_stop: Callable[[], bool]) -> tuple[int, Tile] | None:
        """The next tile, waited for if there may be one; None once the queue is closed or ``should_stop()``."""
        with self._changed:
            while not should_stop() and not self._closed:
                if self._tiles:
                    return self._tiles.popleft()
                self._changed.wait(POLL_SECONDS)
        return None

    def done(self) -> None:
        """A tile that was taken is done, and what was left of it put back."""
        with self._changed:
            self._open -= 1
            idle = self._open == 0
        if idle:
            self.on_idle()

    def close(self) -> None:
        """No tile will be added."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
