"""Randomness of searches: streams made by hashing a key and a name, so that no name's place matters."""

import hashlib
from typing import Any

import numpy as np

from jsweep.errors import UserError


def key_words(key: Any) -> tuple[int, ...]:
    """A key as its uint32 words: a JAX key's data, typed or old; of a whole number s, that of ``jax.random.key(s)``."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        if not 0 <= key < 2**64:
            raise UserError(f"key={key} is no seed: give a whole number from 0 to 2**64 - 1, or a JAX key.")
        return int(key) >> 32, int(key) & 0xFFFFFFFF
    array: Any = key
    if not isinstance(array, np.ndarray) and hasattr(array, "dtype"):
        import jax  # here alone, as reading a record needs no JAX

        if jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
            if array.shape:
                raise UserError(f"key has shape {array.shape}: give one key, not an array of them.")
            array = jax.random.key_data(array)
        array = np.asarray(array)
    if not isinstance(array, np.ndarray):
        raise UserError(f"key={key!r} is no key: give jax.random.key(0), or a whole number.")
    if array.dtype != np.uint32 or array.shape not in ((2,), (4,)):
        raise UserError(f"key is a {array.dtype} array of shape {array.shape}: give one JAX key, or a whole number.")
    return tuple(array.tolist())


def uniform_stream(key: Any, name: str) -> np.random.Philox:
    """The stream of one name's draws. Philox's raw words never change between versions of NumPy; a Generator's may."""
    return np.random.Philox(key=_hash("random", key, name) % 2**128)


def next_uniform(stream: np.random.Philox, n: int) -> np.ndarray:
    """The stream's next ``n`` floats, uniform on [0, 1), shape (n,): multiples of 2**-53."""
    return (stream.random_raw(n) >> np.uint64(11)) * 2.0**-53


def generator(key: Any, *purpose: Any) -> np.random.Generator:
    """A NumPy generator for SciPy, of its own for every key and purpose."""
    return np.random.default_rng(_hash("generator", key, *purpose))


def _hash(tag: str, key: Any, *parts: Any) -> int:
    text = repr(("jsweep", tag, key_words(key), parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
