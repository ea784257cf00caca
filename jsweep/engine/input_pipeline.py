"""Feeding a tile: which examples each lane sees at each step, and how they reach the device.

Data that fits stays on the device whole. Data that does not (and every memory map) streams: for each call of the
training program the rows it needs are gathered on the host, once for all lanes that share an order, and sent as a window
in place of the whole. The program is the same; only what its row numbers point into differs. Batches of the user's own
come the same way: each order of examples is a stream of them.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, cast

import jax
import numpy as np

from jsweep.data.arrays import count_examples
from jsweep.data.loader import Batches
from jsweep.data.shuffle import batch_indices
from jsweep.data.splits import Splits, train_like
from jsweep.engine.program import STEPS_PER_CALL
from jsweep.planning import Group, Tile
from jsweep.storage.records import Trial
from jsweep.task.task import Task

WINDOW_BYTES = 64 << 20  # of a streamed window; two are in flight in each tile
RESIDENT_SHARE = 0.25  # of the device's memory that the training split may take


class Feed:
    """The examples and row numbers of one tile's training calls."""

    def __init__(
        self, task: Task, group: Group, trials: Sequence[Trial], order: np.ndarray, resident: Any, window: int | None
    ):
        """``trials`` fill the tile's places, ``order`` are their order keys (uint32, (lanes, 2)).

        ``resident`` is the training split on the device, or None where ``window`` rows of it are sent at a time.
        """
        self.words = [(int(a), int(b)) for a, b in order]
        self.sizes = [_batch_size(trial, group) for trial in trials]
        self.rows, self._train, self._resident, self._window = group.rows, task.data.train, resident, window
        self._drawn: dict[Any, tuple[int, Iterator[Any]]] = {}  # the next step of each order's stream of batches
        self._shared = group.shared
        self._orders = list(dict.fromkeys(zip(self.words, self.sizes, strict=True)))
        self.most_steps = STEPS_PER_CALL if window is None else min(STEPS_PER_CALL, window // self._rows_a_step())

    def take(self, start: int, count: int) -> tuple[Any, np.ndarray]:
        """The examples, and row numbers into them: int32 of shape (STEPS_PER_CALL, lanes, rows).

        Where lanes share their batches there is no lane axis. What lies past ``count`` steps or past a lane's own batch
        size is 0.
        """
        if isinstance(self._train, Batches):
            examples, drawn = self._draw(start, count)
        else:
            of = count_examples(self._train)
            drawn = {(w, n): batch_indices(w, of, n, start, count) for w, n in self._orders}
            examples = self._resident
            if self._window is not None:
                examples, drawn = self._gather(drawn)
        if self._shared:
            (shared,) = drawn.values()
            rows = np.zeros((STEPS_PER_CALL, self.rows), np.int32)
            rows[:count] = shared
            return examples, rows
        rows = np.zeros((STEPS_PER_CALL, len(self.words), self.rows), np.int32)
        for lane, (words, size) in enumerate(zip(self.words, self.sizes, strict=True)):
            rows[:count, lane, :size] = drawn[words, size]
        return examples, rows

    def _gather(self, drawn: dict[Any, np.ndarray]) -> tuple[Any, dict[Any, np.ndarray]]:
        """The rows of all orders behind one another, and where each now lies."""
        numbers = np.concatenate([indices.ravel() for indices in drawn.values()])
        places, begun = {}, 0
        for key, indices in drawn.items():
            places[key] = np.arange(begun, begun + indices.size, dtype=np.int32).reshape(indices.shape)
            begun += indices.size
        padded = np.zeros(self._window or 0, np.int64)
        padded[: len(numbers)] = numbers
        return jax.tree.map(lambda a: np.asarray(a[padded]), self._train), places

    def _draw(self, start: int, count: int) -> tuple[Any, dict[Any, np.ndarray]]:
        """The next ``count`` batches of all orders behind one another, and where each now lies."""
        assert isinstance(self._train, Batches)
        assert self._window is not None
        batches, places = [], {}
        for order in self._orders:
            at, stream = self._drawn.get(order, (-1, None))
            if stream is None or at != start:
                stream = self._train.draw((order[0][0] << 32) | order[0][1], start)
            first = len(batches) * self.rows
            batches += [next(stream) for _ in range(count)]
            self._drawn[order] = start + count, stream
            places[order] = first + np.arange(count * self.rows, dtype=np.int32).reshape(count, self.rows)
        missing = self._window - len(batches) * self.rows

        def filled(*leaves: np.ndarray) -> np.ndarray:
            return np.concatenate([*leaves, np.zeros((missing, *leaves[0].shape[1:]), leaves[0].dtype)])

        return jax.tree.map(filled, *batches), places

    def _rows_a_step(self) -> int:
        return sum(size for _, size in self._orders)


def _batch_size(trial: Trial, group: Group) -> int:
    return cast(int, trial.config.get("batch_size", group.rows))


def streams(data: Splits, device: jax.Device) -> bool:
    """Whether the training split is sent in windows: batches, a memory map, or larger than its share of the memory."""
    if isinstance(data.train, Batches):
        return True
    leaves = jax.tree.leaves(data.train)
    if any(isinstance(leaf, np.memmap) for leaf in leaves):
        return True
    return sum(leaf.nbytes for leaf in leaves) > RESIDENT_SHARE * device_memory(device)


def window_rows(group: Group, tiles: Sequence[Tile], data: Splits, pairing: str) -> int:
    """The rows of a window that serves every tile of a group: as many steps as `WINDOW_BYTES` hold, at least one."""
    most = 1
    for tile in tiles:
        orders = {
            (t.seed if pairing == "common" else (t.seed, t.config_id), _batch_size(t, group)) for t in tile.trials
        }
        most = max(most, sum(size for _, size in orders))
    bytes_a_row = sum(leaf[:1].nbytes for leaf in jax.tree.leaves(train_like(data)))
    steps = int(np.clip(WINDOW_BYTES // max(1, most * bytes_a_row), 1, STEPS_PER_CALL))
    return most * steps


def device_memory(device: jax.Device) -> int:
    """Bytes of memory a device may use: what it reports, or the machine's for a CPU."""
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    if limit is not None:
        return int(limit)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
