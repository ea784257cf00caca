"""Keys: a trial's randomness comes from the sweep's root key and the trial's seed, never from its position.

Every use first folds in a tag of its own: under JAX's default generator ``split(k, n)[i] == fold_in(k, i)``, so plain
positions would collide with a user's own splits of the same key.
"""

import hashlib
import operator
from collections.abc import Sequence
from typing import Literal, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int32, UInt32

from jsweep.errors import ConfigError

GENERATOR = "threefry2x32"  # under vmap, rbg gives a lane numbers that depend on the other lanes (jax issue 19085)
_TRIAL, _INIT, _ORDER, _NOISE = 0x6A737701, 0x6A737702, 0x6A737703, 0x6A737704

Source = Literal["init", "order", "noise"]
SOURCES: tuple[Source, ...] = ("init", "order", "noise")
"""What a trial's seed decides: its initialisation, the order of its examples, and what each step draws."""

Key = jax.Array | np.ndarray | SupportsIndex
"""A ``key`` argument: ``jax.random.key(0)``, the older ``jax.random.PRNGKey(0)``, or a whole number."""


def key_data(key: Key) -> tuple[int, ...]:
    """A key's data, as uint32 numbers; a whole number s stands for ``jax.random.key(s)``.

    Raises ConfigError for anything else, for an array of keys, and for a number outside 0 to 2**64 - 1.
    """
    if not isinstance(key, bool | jax.Array | np.ndarray) and hasattr(key, "__index__"):
        number = operator.index(key)
        if not 0 <= number < 2**64:
            raise ConfigError(f"key={number} is not a seed: pass a whole number from 0 to 2**64 - 1, or a JAX key.")
        return number >> 32, number & 0xFFFFFFFF
    if not isinstance(key, jax.Array | np.ndarray):
        raise ConfigError(f"key={key!r} is not a key: pass jax.random.key(0) or a whole number.")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape:
            raise ConfigError(f"key has shape {key.shape}: pass one key, not an array of keys.")
        key = jax.random.key_data(key)
    if key.shape == () and np.issubdtype(key.dtype, np.integer):
        return key_data(int(key))
    if key.dtype != np.uint32 or key.shape not in ((2,), (4,)):
        raise ConfigError(f"key is a {key.dtype} array of shape {key.shape}: pass one JAX key or a whole number.")
    return tuple(int(number) for number in np.asarray(key))


def root_key_data(key: Key) -> UInt32[np.ndarray, "2"]:
    """The data of the sweep's root key; ConfigError for a generator whose numbers depend on other lanes."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        generator = str(jax.random.key_impl(key))
        if generator != GENERATOR:
            raise ConfigError(
                f"key uses the generator {generator}, whose numbers under vmap depend on the other lanes: "
                f"make it with jax.random.key(seed, impl={GENERATOR!r})."
            )
    data = key_data(key)
    if len(data) != 2:
        raise ConfigError(
            f"key has data of {len(data)} numbers, but one of {GENERATOR} has 2: make it with "
            f"jax.random.key(seed, impl={GENERATOR!r})."
        )
    return np.array(data, np.uint32)


def philox_key(key: Key) -> int:
    """A key as the one whole number that NumPy's Philox takes: its data, most significant numbers first."""
    number = 0
    for part in key_data(key):
        number = (number << 32) | part
    return number


def trial_keys(
    root: UInt32[np.ndarray, "2"], seeds: UInt32[np.ndarray, "lanes 3"], config_data: UInt32[np.ndarray, "lanes 2"]
) -> UInt32[np.ndarray, "3 lanes 2"]:
    """The data of each lane's keys: for its initialisation, its data order and its noise.

    What `jax.random.fold_in` gives, computed here: compiled into each program of a sweep it took a quarter of its compilation.

    Args:
        root: the root key's data.
        seeds: of each lane, the seed for each of the three.
        config_data: what the lanes' configs add to their keys; see `config_key_data`.
    """
    key = _fold_in(root, np.uint32(_TRIAL))
    for number in (seeds.T, config_data[:, 0], config_data[:, 1], np.array([[_INIT], [_ORDER], [_NOISE]], np.uint32)):
        key = _fold_in(key, number)
    return key


def _fold_in(
    key: UInt32[np.ndarray, "*#lanes 2"], number: UInt32[np.ndarray, "*#lanes"] | np.uint32
) -> UInt32[np.ndarray, "... 2"]:
    """Threefry-2x32 (Salmon et al. 2011) of 20 rounds, of the block (0, ``number``)."""
    words = key[..., 0], key[..., 1], key[..., 0] ^ key[..., 1] ^ np.uint32(0x1BD11BDA)
    with np.errstate(over="ignore"):  # numbers of 32 bits wrap
        high, low = words[0], np.asarray(number + words[1])
        for group, turns in enumerate(((13, 15, 26, 6), (17, 29, 16, 24)) * 2 + ((13, 15, 26, 6),), 1):
            for turn in map(np.uint32, turns):
                high = high + low
                low = (low << turn | low >> np.uint32(32) - turn) ^ high
            high, low = high + words[group % 3], low + words[(group + 1) % 3] + np.uint32(group)
    return np.stack(np.broadcast_arrays(high, low), -1)


def config_key_data(config_ids: Sequence[str], pairing: str) -> UInt32[np.ndarray, "lanes 2"]:
    """What configs add to their trials' keys: zeros when ``pairing`` is "common", the 64 bits of their ids otherwise."""
    if pairing == "common":
        return np.zeros((len(config_ids), 2), np.uint32)
    return np.frombuffer(bytes.fromhex("".join(config_ids)), ">u4").astype(np.uint32).reshape(-1, 2)


def step_key(noise: UInt32[Array, "2"], step: Int32[Array, ""]) -> Array:
    """The key of one training step, from the data of the trial's noise key and the step's number."""
    return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(noise), impl=GENERATOR), step)


def uniform_stream(key: Key, name: str) -> np.random.Philox:
    """A stream of draws for one name. Raw numbers of Philox never change between versions of NumPy; a Generator's may."""
    return np.random.Philox(key=_hash("random", key, name) % 2**128)


def next_uniform(stream: np.random.Philox, n: int) -> Float64[np.ndarray, " n"]:
    """The stream's next ``n`` numbers, uniform on [0, 1): multiples of 2**-53."""
    return (stream.random_raw(n) >> np.uint64(11)) * 2.0**-53


def generator(key: Key, *purpose: object) -> np.random.Generator:
    """A NumPy generator for SciPy, a different one for every key and purpose."""
    return np.random.default_rng(_hash("generator", key, *purpose))


def _hash(tag: str, key: Key, *parts: object) -> int:
    text = repr(("jsweep", tag, key_data(key), parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
