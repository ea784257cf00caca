"""The input pipeline of a tile: which examples each lane sees at each step, and how they reach the device.

Data that fits stays on the device whole. Data that does not, and every memory map, is streamed: for each call of the
training program the rows it needs are gathered on the host, once for all lanes that share an order, and sent as a window.
The program is the same; only what its row numbers point into differs. Batches of the user's own loader are streamed in
the same way, each order of examples as a stream of batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int, Int32, PyTree, UInt32

from jsweep._runtime.limits import memory_bytes
from jsweep.data.arrays import Arrays, count_examples
from jsweep.data.loader import Batches
from jsweep.data.shuffle import batch_indices
from jsweep.data.splits import Splits, train_like
from jsweep.engine.program import STEPS_PER_CALL, steps_per_call
from jsweep.planning import Group, Tile
from jsweep.storage.records import Trial
from jsweep.task.task import Task

WINDOW_BYTES = 64 << 20  # of a streamed window; two are in flight in each tile
RESIDENT_SHARE = 0.25  # of the device's memory that the training split may take


class _Order(NamedTuple):
    """What a lane's batches depend on: the data of its order key, its batch size, and its fold, where there are folds."""

    words: tuple[int, int]
    size: int
    fold: int | None


_Rows = Int32[np.ndarray, "steps rows"]


class InputPipeline:
    """The examples and row numbers of one tile's training calls.

    Args:
        task: the task.
        group: the tile's compile group.
        trials: the trial in each lane.
        order_keys: the data of each lane's order key.
        resident: the training split on the device; None where it is streamed.
        window: rows of a streamed window; None where the split is resident.
        where: where the tile is trained.
    """

    def __init__(
        self,
        task: Task,
        group: Group,
        trials: Sequence[Trial],
        order_keys: UInt32[np.ndarray, "lanes 2"],
        resident: PyTree,
        window: int | None,
        where: jax.sharding.Sharding,
    ):
        self._folds = task.data.folds
        words, sizes = zip(*order_keys.T.tolist(), strict=True), group.batch_sizes(trials)
        folds = [self._folds and self._folds.of(trial.seed) for trial in trials]
        orders = list(map(_Order, words, sizes, folds))
        self._distinct = list(dict.fromkeys(orders))
        number = {order: place for place, order in enumerate(self._distinct)}
        self._rows = group.rows
        self._train, self._resident, self._window = task.data.train, resident, window
        self._streams: dict[_Order, tuple[int, Iterator[Arrays]]] = {}  # and the step of each one's next batch
        rows_a_step, self._steps = sum(order.size for order in self._distinct), steps_per_call(len(trials), group.rows)
        self._for_lanes = for_lanes(np.array([number[order] for order in orders]), self._steps, where)
        self.most_steps = self._steps if window is None else min(self._steps, window // rows_a_step)

    def take(self, start: int, count: int) -> tuple[PyTree, Int32[ArrayLike, "steps lanes rows"]]:
        """The examples of steps ``start`` to ``start + count``, and the row numbers into them.

        The row numbers have the steps of a call, and are 0 past ``count`` of them. Past a lane's own batch size they
        repeat its first row: a gradient that is infinite at a row of another kind would reach the lane as 0 x inf.
        """
        examples, drawn = self._examples(start, count)
        rows = np.empty((count, len(self._distinct), self._rows), np.int32)
        for number, order in enumerate(self._distinct):
            rows[:, number, : order.size] = drawn[order]
            rows[:, number, order.size :] = drawn[order][:, :1]
        return examples, self._for_lanes(rows)

    def _examples(self, start: int, count: int) -> tuple[PyTree, Mapping[_Order, _Rows]]:
        if isinstance(self._train, Batches):
            return self._draw(self._train, start, count)
        drawn = {order: self._indices(order, start, count) for order in self._distinct}
        return (self._resident, drawn) if self._window is None else self._gather(drawn, self._window)

    def _indices(self, order: _Order, start: int, count: int) -> _Rows:
        """The rows of the training examples that an order takes."""
        if self._folds is None or order.fold is None:
            return batch_indices(order.words, count_examples(self._train), order.size, start, count)
        training = self._folds.training[order.fold]
        return training[batch_indices(order.words, len(training), order.size, start, count)]

    def _gather(self, drawn: Mapping[_Order, _Rows], window: int) -> tuple[PyTree, Mapping[_Order, _Rows]]:
        """A window with the rows of all orders one after another, and each order's row numbers in it."""
        indices = np.concatenate([rows.ravel() for rows in drawn.values()])
        moved, first = {}, 0
        for order, rows in drawn.items():
            moved[order] = np.arange(first, first + rows.size, dtype=np.int32).reshape(rows.shape)
            first += rows.size
        padded = np.zeros(window, np.int64)
        padded[: len(indices)] = indices
        return jax.tree.map(lambda array: np.asarray(array[padded]), self._train), moved

    def _draw(self, train: Batches, start: int, count: int) -> tuple[PyTree, Mapping[_Order, _Rows]]:
        """A window with the next ``count`` batches of all orders one after another, and each order's row numbers in it."""
        assert self._window is not None
        batches, drawn = [], {}
        for order in self._distinct:
            step, stream = self._streams.get(order, (-1, iter(())))
            if step != start:
                high, low = order.words
                stream = train.draw((high << 32) | low, start)
            first = len(batches) * self._rows
            batches += [next(stream) for _ in range(count)]
            self._streams[order] = start + count, stream
            drawn[order] = first + np.arange(count * self._rows, dtype=np.int32).reshape(count, self._rows)
        missing = self._window - len(batches) * self._rows

        def filled(*leaves: np.ndarray) -> np.ndarray:
            return np.concatenate([*leaves, np.zeros((missing, *leaves[0].shape[1:]), leaves[0].dtype)])

        return jax.tree.map(filled, *batches), drawn


def for_lanes(
    orders: Int[np.ndarray, " lanes"], steps: int, where: jax.sharding.Sharding
) -> Callable[[Int32[np.ndarray, "given orders rows"]], Int32[ArrayLike, "steps lanes rows"]]:
    """A function that gives each lane the row numbers of its order, and 0 past the steps that it is given, up to ``steps``.

    What lanes share is copied on the device where that is an accelerator.
    """

    def copied_here(
        rows: Int32[np.ndarray, "given orders rows"], orders: Int[np.ndarray, " lanes"]
    ) -> Int32[np.ndarray, "steps lanes rows"]:
        of_lanes = np.zeros((steps, len(orders), rows.shape[2]), np.int32)
        np.take(rows, orders, axis=1, out=of_lanes[: len(rows)], mode="clip")  # other modes copy once more
        return of_lanes

    distinct = np.arange(orders.max() + 1)
    if len(distinct) == len(orders) or next(iter(where.device_set)).platform == "cpu":
        return lambda rows: copied_here(rows, orders)
    there = jax.device_put(orders, where)
    return lambda rows: _copied(jax.device_put(copied_here(rows, distinct), where), there)


@jax.jit
def _copied(rows: Int32[Array, "steps orders rows"], orders: Int[Array, " lanes"]) -> Int32[Array, "steps lanes rows"]:
    return rows.at[:, orders].get(mode="promise_in_bounds")


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
        orders = {(t.seed if pairing == "common" else (t.seed, t.config_id), group.batch_size(t)) for t in tile.trials}
        most = max(most, sum(size for _, size in orders))
    bytes_a_row = sum(leaf[:1].nbytes for leaf in jax.tree.leaves(train_like(data)))
    steps = int(np.clip(WINDOW_BYTES // max(1, most * bytes_a_row), 1, STEPS_PER_CALL))
    return most * steps


def device_memory(device: jax.Device) -> int:
    """Bytes of memory a device may use: what it reports or, for a CPU, what this process may use of the machine's."""
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    return memory_bytes() if limit is None else int(limit)
