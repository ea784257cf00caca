"""A family as a jsweep task, and its compile group."""

import jax
import optax
from contestants.families import BATCH, Family

import jsweep as js


def sweep(family: Family, lanes: int, tile: int | str, steps: int | None = None) -> js.Sweep:
    """One sweep over ``lanes`` learning rates."""

    def init(config, key):
        params = family.init(key)
        return params, family.optimizer(config["learning_rate"]).init(params)

    def step(config, state, batch, key):
        params, carried = state
        value, gradients = jax.value_and_grad(family.loss)(params, *batch)
        updates, carried = family.optimizer(config["learning_rate"]).update(gradients, carried, params)
        return (optax.apply_updates(params, updates), carried), {"loss": value}

    def evaluate(config, state, split):
        return {"loss": family.loss(state[0], *split)}

    few = (family.x[:BATCH], family.y[:BATCH])  # the others evaluate nothing
    data = js.Splits((family.x, family.y), few)
    task = js.Task(init, step, evaluate, data=data, batch_size=BATCH, name=family.name)
    rates = [1e-4 * 100 ** (lane / max(lanes - 1, 1)) for lane in range(lanes)]
    steps = steps or family.steps
    configs = [{"learning_rate": rate} for rate in rates]
    return js.Sweep(task, configs, steps=steps, evaluate_every=steps, tile=tile)
