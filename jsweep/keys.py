"""Keys: a trial's randomness comes from the sweep's root key and the trial's seed, never from its place.

Every use folds in a tag of its own first: under JAX's default generator ``split(k, n)[i] == fold_in(k, i)``, so bare
positions would collide with a user's own splits of the same key.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.errors import UserError

GENERATOR = "threefry2x32"  # rbg gives a lane numbers that depend on its company under vmap (jax issue 19085)
_TRIAL, _INIT, _ORDER, _NOISE = 0x6A737701, 0x6A737702, 0x6A737703, 0x6A737704


def root_words(key: jax.Array | int) -> np.ndarray:
    """The sweep's root key, a JAX key or an int, as two uint32 words; UserError for a generator without lanes."""
    if isinstance(key, bool) or not isinstance(key, int | jax.Array):
        raise UserError(f"key={key!r} is no key: give jax.random.key(0), or a whole number.")
    if isinstance(key, int):
        if key < 0:
            raise UserError(f"key={key} is negative: give a whole number from 0, or a JAX key.")
        return np.array([int(key) >> 32 & 0xFFFFFFFF, int(key) & 0xFFFFFFFF], np.uint32)
    if not jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if str(jax.random.key_impl(key)) != GENERATOR:
        raise UserError(
            f"key uses the generator {jax.random.key_impl(key)}, whose numbers under vmap depend on the other lanes: "
            f"make it with jax.random.key(seed, impl={GENERATOR!r})."
        )
    words = np.asarray(jax.random.key_data(key))
    if words.ndim != 1:
        raise UserError(f"key has shape {words.shape[:-1]}: give one key, not an array of them.")
    return words


def trial_keys(root: jax.Array, seed: jax.Array, words: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of one trial: for its initialisation, its data order and its noise.

    ``root`` is uint32 (2,), ``seed`` a uint32, ``words`` uint32 (2,): zeros when seeds are paired across configs
    (common random numbers), the config's hash when trials are independent.
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
    """The key of one training step, from the trial's noise words (uint32 (2,)) and the step's number."""
    return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(noise), impl=GENERATOR), step)
