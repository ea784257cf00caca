"""L2, momentum, batch size, epochs, activation and optimizer against a trainer written in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import trial_keys

import jsweep as js
from jsweep._runtime.prng import root_key_data
from jsweep.data.shuffle import batch_indices

CONFIG = {"learning_rate": 0.1, "l2": 0.01, "momentum": 0.9}


def init(config, key):
    return js.models.init_mlp(key, [64, 12, 10])


def task_of(data, optimizer, activation=lambda config: jax.nn.relu):
    def apply(config, params, x, key):
        return js.models.apply_mlp(params, x, activation(config))

    return js.supervised(
        init,
        apply,
        loss=js.losses.softmax_cross_entropy,
        optimizer=optimizer,
        data=data,
        batch_size=32,
        name="reference",
    )


def sgd(config):
    return optax.sgd(config["learning_rate"], momentum=config["momentum"])


def numpy_trainer(data, steps, learning_rate, l2, momentum, batch_size=32):
    """A 64-12-10 perceptron by SGD with heavy-ball momentum and an L2 penalty on weights; validation loss at the end."""
    for_init, order, _ = trial_keys(jnp.asarray(root_key_data(0)), jnp.uint32(0), jnp.zeros(2, jnp.uint32))
    params = [{k: np.asarray(v, np.float64) for k, v in layer.items()} for layer in init({}, for_init)]
    velocity = [{k: np.zeros_like(v) for k, v in layer.items()} for layer in params]
    words = tuple(int(word) for word in jax.random.key_data(order))

    def forward(x):
        hidden = np.maximum(x @ params[0]["w"] + params[0]["b"], 0)
        logits = hidden @ params[1]["w"] + params[1]["b"]
        return hidden, logits - np.log(
            np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)
        ) - logits.max(1, keepdims=True)

    for rows in batch_indices(words, len(data.train[1]), batch_size, 0, steps):
        x, y = data.train[0][rows].astype(np.float64), data.train[1][rows]
        hidden, log_probabilities = forward(x)
        delta = (np.exp(log_probabilities) - np.eye(10)[y]) / batch_size
        back = (delta @ params[1]["w"].T) * (hidden > 0)
        gradients = [{"w": x.T @ back, "b": back.sum(0)}, {"w": hidden.T @ delta, "b": delta.sum(0)}]
        for layer, moving, gradient in zip(params, velocity, gradients):
            for name in layer:
                total = gradient[name] + (l2 * layer[name] if name == "w" else 0)
                moving[name] = momentum * moving[name] + total
                layer[name] = layer[name] - learning_rate * moving[name]
    _, log_probabilities = forward(data.validation[0].astype(np.float64))
    return -log_probabilities[np.arange(len(data.validation[1])), data.validation[1]].mean()


def final_losses(result):
    return [curve[-1][1] for _, curve in result.curves("validation/loss").items()]


def test_l2_and_momentum_follow_a_numpy_trainer_over_50_steps(data):
    configs = [CONFIG, {**CONFIG, "l2": 0.3}, {**CONFIG, "momentum": 0.0}, {**CONFIG, "learning_rate": 0.02}]
    found = final_losses(js.sweep(task_of(data, sgd), configs, steps=50))
    expected = [numpy_trainer(data, 50, **config) for config in configs]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len({round(value, 4) for value in expected}) == 4


def test_a_masked_batch_is_the_real_one(data):
    """Batch sizes ride in lanes of one program; each follows the NumPy trainer at its own size, and one built for it."""
    configs = [{**CONFIG, "batch_size": size} for size in (8, 20, 32)]
    result = js.sweep(task_of(data, sgd), configs, steps=40)
    assert len({trial.program for trial in result.trials()}) == 1
    expected = [numpy_trainer(data, 40, **config) for config in configs]
    np.testing.assert_allclose(final_losses(result), expected, rtol=1e-4)
    alone = [final_losses(js.sweep(task_of(data, sgd), [config], steps=40))[0] for config in configs]
    np.testing.assert_allclose(final_losses(result), alone, rtol=1e-4)


def test_epochs_are_counted_by_the_batch_size(data):
    configs = [{**CONFIG, "epochs": e, "batch_size": b} for e in (1, 2) for b in (16, 32)]
    trials = js.sweep(task_of(data, sgd), configs).trials()
    assert [trial.done for trial in trials] == [15, 8, 30, 15]


def test_selected_optimizers_and_activations_equal_their_own_programs(data):
    options = lambda config: {
        "sgd": optax.sgd(config["learning_rate"], 0.9),
        "adam": optax.adam(config["learning_rate"]),
    }
    chosen = lambda config: js.select_optimizer(config["optimizer"], options(config))
    active = lambda config: js.select(config["activation"], {"relu": jax.nn.relu, "tanh": jnp.tanh})
    space = {"learning_rate": [0.01, 0.03], "optimizer": ["sgd", "adam"], "activation": ["relu", "tanh"]}
    together = js.sweep(task_of(data, chosen, active), js.grid(space), steps=30)
    assert len({trial.program for trial in together.trials()}) == 1
    apart = {name: js.static(values) if name != "learning_rate" else values for name, values in space.items()}
    separate = js.sweep(task_of(data, chosen, active), js.grid(apart), steps=30)
    assert len({trial.program for trial in separate.trials()}) == 4
    np.testing.assert_allclose(final_losses(together), final_losses(separate), rtol=1e-4)
    assert len({round(value, 5) for value in final_losses(together)}) == 8


@pytest.mark.parametrize("name", ["learning_rate", "l2", "momentum"])
def test_each_number_has_its_effect(data, name):
    configs = [{**CONFIG, name: CONFIG[name] * factor} for factor in (1.0, 0.5)]
    one, two = final_losses(js.sweep(task_of(data, sgd), configs, steps=20))
    assert one != two
