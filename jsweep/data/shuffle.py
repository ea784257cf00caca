"""The order of examples, drawn from a trial's seed."""

import threading
from collections import OrderedDict

import numpy as np
from jaxtyping import Int

CACHE_BYTES, CACHE_ENTRIES = 128 << 20, 256
"""The most memory, and the most permutations, that are kept for the next call."""

_permutations: OrderedDict[tuple[tuple[int, int], int, int], Int[np.ndarray, " examples"]] = OrderedDict()
_lock = threading.Lock()


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
    stream = np.concatenate([_permutation(words, epoch, examples) for epoch in epochs])
    offset = first - epochs.start * examples
    return stream[offset : offset + last - first].reshape(steps, batch_size)


def _permutation(words: tuple[int, int], epoch: int, examples: int) -> Int[np.ndarray, " examples"]:
    """The order of one epoch, from the cache where it is there; the cache keeps what was used last."""
    key = words, epoch, examples
    with _lock:
        if key in _permutations:
            _permutations.move_to_end(key)
            return _permutations[key]
    bits = np.random.Philox(key=np.array([(words[0] << 32) | words[1], epoch], np.uint64))
    order = np.random.Generator(bits).permutation(examples).astype(np.int32)
    order.flags.writeable = False
    with _lock:
        _permutations[key] = order
        while len(_permutations) > CACHE_ENTRIES or cached_bytes() > CACHE_BYTES:
            _permutations.popitem(last=False)
    return order


def cached_bytes() -> int:
    """The memory that the cached permutations take."""
    return sum(order.nbytes for order in _permutations.values())
