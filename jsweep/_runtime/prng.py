"""Keys: a trial's randomness comes from the sweep's root key and the trial's seed, never from its position.

Every use folds in a tag of its own first: under JAX's default generator ``split(k, n)[i] == fold_in(k, i)``, so bare
positions would collide with a user's own splits of the same key.
"""

import hashlib
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.errors import ConfigError

GENERATOR = "threefry2x32"  # under vmap, rbg gives a lane numbers that depend on the other lanes (jax issue 19085)
_TRIAL, _INIT, _ORDER, _NOISE = 0x6A737701, 0x6A737702, 0x6A737703, 0x6A737704

Key = jax.Array | np.ndarray | int
"""What every ``key`` argument takes: ``jax.random.key(0)``, the older ``jax.random.PRNGKey(0)``, or a whole number."""


def key_data(key: Key) -> tuple[int, ...]:
    """A key as its uint32 words; a whole number s stands for ``jax.random.key(s)``.

    Raises ConfigError for anything else, for an array of keys, and for a number outside 0 to 2**64 - 1.
    """
    if not isinstance(key, bool | jax.Array | np.ndarray) and hasattr(key, "__index__"):
        number = operator.index(key)
        if not 0 <= number < 2**64:
            raise ConfigError(f"key={number} is not a seed: give a whole number from 0 to 2**64 - 1, or a JAX key.")
        return number >> 32, number & 0xFFFFFFFF
    if not isinstance(key, jax.Array | np.ndarray):
        raise ConfigError(f"key={key!r} is not a key: give jax.random.key(0), or a whole number.")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape:
            raise ConfigError(f"key has shape {key.shape}: give one key, not an array of them.")
        key = jax.random.key_data(key)
    if key.shape == () and np.issubdtype(key.dtype, np.integer):
        return key_data(int(key))
    if key.dtype != np.uint32 or key.shape not in ((2,), (4,)):
        raise ConfigError(f"key is a {key.dtype} array of shape {key.shape}: give one JAX key, or a whole number.")
    return tuple(int(word) for word in np.asarray(key))


def root_key_data(key: Key) -> np.ndarray:
    """The sweep's root key as uint32 (2,); ConfigError for a generator whose numbers depend on other lanes."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        generator = str(jax.random.key_impl(key))
        if generator != GENERATOR:
            raise ConfigError(
                f"key uses the generator {generator}, whose numbers under vmap depend on the other lanes: "
                f"make it with jax.random.key(seed, impl={GENERATOR!r})."
            )
    words = key_data(key)
    if len(words) != 2:
        raise ConfigError(
            f"key has {len(words)} words, which is not {GENERATOR}: make it with jax.random.key(seed, impl={GENERATOR!r})."
        )
    return np.array(words, np.uint32)


def philox_key(key: Key) -> int:
    """A key as the one whole number that NumPy's Philox takes: its words, the first ones highest."""
    number = 0
    for word in key_data(key):
        number = (number << 32) | word
    return number


def trial_keys(root: jax.Array, seed: jax.Array, words: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of one trial: for its initialisation, its data order and its noise.

    Args:
        root: the root key's data, uint32 (2,).
        seed: the trial's seed, a uint32 scalar.
        words: uint32 (2,): zeros where seeds are paired across configs (common random numbers), else the config's hash.

    Returns:
        Three typed keys.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(root, impl=GENERATOR), _TRIAL)
    key = jax.random.fold_in(key, seed)
    key = jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])
    return jax.random.fold_in(key, _INIT), jax.random.fold_in(key, _ORDER), jax.random.fold_in(key, _NOISE)


def config_words(config_id: str, pairing: str) -> np.ndarray:
    """What a config adds to its trials' keys: nothing when ``pairing`` is "common", its id's 64 bits otherwise."""
    if pairing == "common":
        return np.zeros(2, np.uint32)
    return np.array([int(config_id[:8], 16), int(config_id[8:16], 16)], np.uint32)


def step_key(noise: jax.Array, step: jax.Array) -> jax.Array:
    """The key of one training step, from the data of the trial's noise key (uint32 (2,)) and the step's number."""
    return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(noise), impl=GENERATOR), step)


def uniform_stream(key: Key, name: str) -> np.random.Philox:
    """The stream of one name's draws. Philox's raw words never change between versions of NumPy; a Generator's may."""
    return np.random.Philox(key=_hash("random", key, name) % 2**128)


def next_uniform(stream: np.random.Philox, n: int) -> np.ndarray:
    """The stream's next ``n`` floats, uniform on [0, 1), shape (n,): multiples of 2**-53."""
    return (stream.random_raw(n) >> np.uint64(11)) * 2.0**-53


def generator(key: Key, *purpose: Any) -> np.random.Generator:
    """A NumPy generator for SciPy, of its own for every key and purpose."""
    return np.random.default_rng(_hash("generator", key, *purpose))


def _hash(tag: str, key: Key, *parts: Any) -> int:
    text = repr(("jsweep", tag, key_data(key), parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
