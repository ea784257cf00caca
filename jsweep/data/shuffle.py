"""The order of examples, drawn from a trial's seed."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

CACHE_BYTES, CACHE_ENTRIES = 128 << 20, 4096
"""The most memory, and the most permutations, that are kept for the next call."""

_Permutation = Int[np.ndarray, " examples"]
_Key = tuple[tuple[int, int], int, int]  # an order's words, the epoch, and the number of examples


class _Cache:
    """The permutations that were used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, _Permutation] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, key: _Key) -> _Permutation | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: _Key, order: _Permutation) -> None:
        with self._lock:
            self.bytes += 0 if key in self._kept else order.nbytes
            self._kept[key] = order
            while len(self._kept) > CACHE_ENTRIES or self.bytes > CACHE_BYTES:
                self.bytes -= self._kept.popitem(last=False)[1].nbytes


_cache = _Cache()


def batch_indices(
    words: tuple[int, int], examples: int, batch_size: int, start: int, steps: int
) -> Int[np.ndarray, "steps batch_size"]:
    """The examples of steps ``start`` to ``start + steps``.

    Batches are cut one after another from an endless stream of epochs, each a fresh permutation, so every example is seen
    exactly once per epoch whatever the batch size; a batch may end one epoch and begin the next.

    Args:
        words: the data of a trial's order key, two numbers of 32 bits.
        examples: the number of training examples.
        batch_size: examples per step.
        start: the first step, counted from 0.
        steps: the number of steps.

    Returns:
        Row numbers, int32 of shape (steps, batch_size).
    """
    first, last = start * batch_size, (start + steps) * batch_size
    epochs = range(first // examples, -(-last // examples))
    stream = np.concatenate(_permutations(words, epochs, examples))
    offset = first - epochs.start * examples
    return stream[offset : offset + last - first].reshape(steps, batch_size)


def _permutations(words: tuple[int, int], epochs: range, examples: int) -> list[_Permutation]:
    """The order of each epoch, from the cache where it is there."""
    kept = {epoch: _cache.get((words, epoch, examples)) for epoch in epochs}
    drawn = _draw(words, [epoch for epoch, order in kept.items() if order is None], examples)
    return [drawn[epoch] if order is None else order for epoch, order in kept.items()]


def _draw(words: tuple[int, int], epochs: Sequence[int], examples: int) -> dict[int, _Permutation]:
    """Fresh permutations of Philox with the key (``words``, epoch), which the cache keeps."""
    if not epochs:
        return {}
    bits, drawn = np.random.Philox(key=np.array([(words[0] << 32) | words[1], 0], np.uint64)), {}
    generator, state = np.random.Generator(bits), bits.state
    for epoch in epochs:
        state["state"]["key"][1] = epoch
        bits.state = state  # at the beginning again; an eighth of what another Philox costs
        drawn[epoch] = generator.permutation(examples).astype(np.int32)
        drawn[epoch].flags.writeable = False
        _cache.put((words, epoch, examples), drawn[epoch])
    return drawn


def cached_bytes() -> int:
    """The memory that the cached permutations take."""
    return _cache.bytes
