"""(a) a loop over a jitted solo run, and (b) plain ``jit(vmap)``, as a JAX user writes them with JAX's defaults."""

import time

import jax
import jax.numpy as jnp
import optax
from contestants import jax_models
from contestants.workloads import BATCH, Workload, digits


def _train(w: Workload):
    x, y = (jnp.asarray(a) for a in digits())
    init, apply = jax_models.make(w)

    def train(rate, key):
        params = init(key)
        transform = jax_models.optimizer(w, rate)

        def step(carry, rows):
            params, state = carry
            loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(apply(p, x[rows]), y[rows]).mean()
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = transform.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        rows = jax.random.randint(key, (w.steps, BATCH), 0, len(y))
        return jax.lax.scan(step, (params, transform.init(params)), rows)[1][-20:].mean()

    return train


def solo(w: Workload):
    """A round trains a few lanes one after another; the time is for each."""
    program = jax.jit(_train(w))
    lanes = min(w.lanes, 4)

    def one_round():
        begun = time.perf_counter()
        losses = [float(program(rate, jax.random.key(0))) for rate in w.rates[-lanes:]]
        return (time.perf_counter() - begun) / lanes, losses

    return one_round


def vmapped(w: Workload):
    program = jax.jit(jax.vmap(_train(w), in_axes=(0, None)))

    def one_round():
        begun = time.perf_counter()
        losses = program(jnp.asarray(w.rates), jax.random.key(0)).tolist()
        return (time.perf_counter() - begun) / w.lanes, losses

    return one_round
