"""The order of examples, drawn from a trial's seed."""

import functools

import numpy as np


def batch_indices(words: tuple[int, int], examples: int, batch_size: int, start: int, steps: int) -> np.ndarray:
    """The examples of steps ``start`` to ``start + steps``: int32, shape (steps, batch_size).

    Batches are cut one after another from an endless stream of epochs, each a fresh permutation drawn from ``words``
    (a trial's order key) and the epoch's number, so every example is seen exactly once an epoch whatever the batch
    size; a batch may end one epoch and begin the next.
    """
    first, last = start * batch_size, (start + steps) * batch_size
    epochs = range(first // examples, -(-last // examples))
    stream = np.concatenate([_epoch(words, epoch, examples) for epoch in epochs])
    offset = first - epochs.start * examples
    return stream[offset : offset + last - first].reshape(steps, batch_size)


@functools.lru_cache(maxsize=256)
def _epoch(words: tuple[int, int], epoch: int, examples: int) -> np.ndarray:
    bits = np.random.Philox(key=np.array([(words[0] << 32) | words[1], epoch], np.uint64))
    order = np.random.Generator(bits).permutation(examples).astype(np.int32)
    order.flags.writeable = False
    return order
