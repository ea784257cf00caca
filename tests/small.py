"""A small task for tests: a one-hidden-layer perceptron whose every optimizer number may be swept."""

import jax
import jax.numpy as jnp
import optax

import jsweep as js
from jsweep._runtime.prng import root_key_data, step_key
from jsweep.data.shuffle import batch_indices


def trial_keys(words, seed, config_data):
    """The three keys of a trial as docs/design.md has them, by `jax.random.fold_in`; ``seed`` may be one for each."""

    def one(seed, tag):
        key = jax.random.fold_in(jax.random.wrap_key_data(words), 0x6A737701)
        for number in (seed, *config_data, tag):
            key = jax.random.fold_in(key, number)
        return key

    return tuple(map(one, jnp.broadcast_to(seed, (3,)), (0x6A737702, 0x6A737703, 0x6A737704)))


def init(config, key):
    width = config.get("width", 16)
    one, two = jax.random.split(key)
    return {
        "w1": jax.random.normal(one, (64, width)) * 0.125,
        "b1": jnp.zeros(width),
        "w2": jax.random.normal(two, (width, 10)) * 0.25,
        "b2": jnp.zeros(10),
    }


def apply(config, params, x, key):
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    if key is not None and "dropout" in config:
        keep = jax.random.bernoulli(key, 1 - config["dropout"], hidden.shape)
        hidden = jnp.where(keep, hidden / (1 - config["dropout"]), 0.0)
    return hidden @ params["w2"] + params["b2"]


def optimizer(config):
    return optax.sgd(config["learning_rate"], momentum=config.get("momentum", 0.9))


def make_task(data, batch_size=32, **changes):
    parts = {
        "init": init,
        "apply": apply,
        "loss": js.losses.softmax_cross_entropy,
        "optimizer": optimizer,
    } | changes
    return js.supervised(
        **parts, data=data, metrics={"accuracy": js.metrics.accuracy}, batch_size=batch_size, name="small"
    )


def rows_of(result, metrics=None):
    """The whole record of a result as comparable rows: (trial, metric, step, value), NaN as text."""
    return {
        (trial, metric, step): repr(value)
        for metric in (metrics or result.metrics())
        for trial, curve in result.curves(metric).items()
        for step, value in curve
    }


def plain_loop(data, config, seed, steps, key=0, init=init, apply=apply):
    """The validation loss of a trial trained by a plain Python loop with optax, on the batches that the engine takes."""
    words = jnp.asarray(root_key_data(key))
    for_init, order, _ = trial_keys(words, jnp.uint32(seed), jnp.zeros(2, jnp.uint32))
    params = init(config, for_init)
    transform = optimizer(config)
    state = transform.init(params)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels

    def loss(params, x, y):
        weights = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        penalty = config.get("l2", 0.0) / 2 * sum(jnp.square(weight).sum() for weight in weights)
        return cross_entropy(apply(config, params, x, None), y).mean() + penalty

    order = tuple(int(word) for word in jax.random.key_data(order))
    for rows in batch_indices(order, len(data.train[0]), 32, 0, steps):
        gradients = jax.grad(loss)(params, data.train[0][rows], data.train[1][rows])
        updates, state = transform.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return float(cross_entropy(apply(config, params, data.validation[0], None), data.validation[1]).mean())


def engine_stream(data, seed, batch_size, steps, key=0):
    """The initialisation key of a trial that is paired by seed, and the batch and the key of each of its steps."""
    words = jnp.asarray(root_key_data(key))
    for_init, order, noise = trial_keys(words, jnp.uint32(seed), jnp.zeros(2, jnp.uint32))
    words = tuple(int(word) for word in jax.random.key_data(order))
    examples = len(jax.tree.leaves(data.train)[0])
    rows = batch_indices(words, examples, batch_size, 0, steps)
    batches = [jax.tree.map(lambda a, row=row: jnp.asarray(a[row]), data.train) for row in rows]
    return for_init, [(batch, step_key(jax.random.key_data(noise), jnp.int32(i))) for i, batch in enumerate(batches)]
