"""Every number of an optimizer, a loss or a schedule that is swept in lanes does what its formula says, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import trial_keys

import jsweep as js
from jsweep import schedules
from jsweep._runtime.prng import root_key_data
from jsweep.data.shuffle import batch_indices

STEPS, BATCH = 40, 32


def init(config, key):
    return js.models.init_mlp(key, [64, 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x)


def swept(data, optimizer, configs, loss=js.losses.softmax_cross_entropy):
    """The final weights of every config, from one program."""
    task = js.supervised(init, apply, loss=loss, optimizer=optimizer, data=data, batch_size=BATCH, name="effects")
    result = js.sweep(task, configs, steps=STEPS)
    assert len({trial.program for trial in result.trials()}) == 1
    return [np.asarray(result.params(trial.id)[0]["w"]) for trial in result.trials()]


def numpy_weights(data, update, smoothing=0.0):
    """Weights of softmax regression after STEPS; ``update(gradient, memory, step)`` gives what is added to w and b."""
    for_init, order, _ = trial_keys(jnp.asarray(root_key_data(0)), jnp.uint32(0), jnp.zeros(2, jnp.uint32))
    params = {k: np.asarray(v, np.float64) for k, v in init({}, for_init)[0].items()}
    words = tuple(int(word) for word in jax.random.key_data(order))
    memory: dict = {}
    for step, rows in enumerate(batch_indices(words, len(data.train[1]), BATCH, 0, STEPS)):
        x, y = data.train[0][rows].astype(np.float64), data.train[1][rows]
        logits = x @ params["w"] + params["b"]
        shares = np.exp(logits - logits.max(1, keepdims=True))
        target = (1 - smoothing) * np.eye(10)[y] + smoothing / 10
        delta = (shares / shares.sum(1, keepdims=True) - target) / BATCH
        for name, change in update({"w": x.T @ delta, "b": delta.sum(0)}, memory, step).items():
            params[name] = params[name] + change
    return params["w"]


def agree(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
    for number, other in enumerate(expected[1:]):
        assert np.abs(other - expected[0]).max() > 1e-3, f"config {number + 1} has no effect in the reference"


def test_nesterov_and_momentum(data):
    """Sutskever et al. (2013) as PyTorch writes it: v = m v + g; w -= r (g + m v), without Nesterov w -= r v."""

    def numpy_sgd(momentum, nesterov):
        def update(gradient, memory, step):
            for name, g in gradient.items():
                memory[name] = momentum * memory.get(name, 0) + g
            return {n: -0.2 * (g + momentum * memory[n] if nesterov else memory[n]) for n, g in gradient.items()}

        return numpy_weights(data, update)

    def optimizer(config):
        options = {k: optax.sgd(0.2, config["momentum"], nesterov=k == "nesterov") for k in ("plain", "nesterov")}
        return js.select_optimizer(config["kind"], options)

    pairs = [(0.9, "plain"), (0.9, "nesterov"), (0.5, "nesterov"), (0.0, "plain")]
    found = swept(data, optimizer, [{"momentum": m, "kind": kind} for m, kind in pairs])
    agree(found, [numpy_sgd(m, kind == "nesterov") for m, kind in pairs])


@pytest.mark.parametrize(("name", "value"), [("b1", 0.5), ("b2", 0.9), ("eps", 1e-2), ("learning_rate", 0.02)])
def test_betas_and_epsilon_of_adam(data, name, value):
    """Kingma and Ba (2015), algorithm 1."""
    usual = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8}

    def numpy_adam(learning_rate, b1, b2, eps):
        def update(gradient, memory, step):
            changes = {}
            for n, g in gradient.items():
                m, v = memory.get(n, (0, 0))
                memory[n] = m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
                changes[n] = -learning_rate * (m / (1 - b1 ** (step + 1))) / (np.sqrt(v / (1 - b2 ** (step + 1))) + eps)
            return changes

        return numpy_weights(data, update)

    configs = [usual, {**usual, name: value}]
    agree(
        swept(
            data, lambda config: optax.adam(config["learning_rate"], config["b1"], config["b2"], config["eps"]), configs
        ),
        [numpy_adam(**config) for config in configs],
    )


def test_clipping_by_the_global_norm(data):
    """Pascanu et al. (2013): a gradient longer than the norm is scaled to it."""

    def numpy_clipped(norm):
        def update(gradient, memory, step):
            length = np.sqrt(sum((g**2).sum() for g in gradient.values()))
            return {n: -0.3 * g * min(1.0, norm / length) for n, g in gradient.items()}

        return numpy_weights(data, update)

    optimizer = lambda config: optax.chain(optax.clip_by_global_norm(config["clip_norm"]), optax.sgd(0.3))
    norms = [100.0, 0.5, 0.05]
    agree(swept(data, optimizer, [{"clip_norm": norm} for norm in norms]), [numpy_clipped(norm) for norm in norms])


def test_label_smoothing(data):
    """Szegedy et al. (2016), section 7: targets mixed with the uniform distribution over classes."""
    plain = lambda gradient, memory, step: {n: -0.3 * g for n, g in gradient.items()}
    loss = lambda config, outputs, y: js.losses.smoothed_softmax_cross_entropy(config["smoothing"])(outputs, y)
    amounts = [0.0, 0.1, 0.4]
    found = swept(data, lambda config: optax.sgd(0.3), [{"smoothing": amount} for amount in amounts], loss)
    agree(found, [numpy_weights(data, plain, amount) for amount in amounts])


def test_kind_and_parameters_of_a_schedule(data):
    def optimizer(config):
        rate, steps = config["learning_rate"], config["decay_steps"]
        kinds = {
            "cosine": schedules.cosine_decay(rate, steps),
            "exponential": schedules.exponential_decay(rate, steps, decay_rate=config["decay_rate"]),
        }
        return optax.sgd(js.select(config["schedule"], kinds))

    formulas = {
        "cosine": lambda c, t: c["learning_rate"] * (1 + np.cos(np.pi * min(t / c["decay_steps"], 1))) / 2,
        "exponential": lambda c, t: c["learning_rate"] * c["decay_rate"] ** (t / c["decay_steps"]),
    }
    usual = {"schedule": "cosine", "learning_rate": 0.3, "decay_steps": 30, "decay_rate": 0.1}
    changes = [{}, {"schedule": "exponential"}, {"decay_steps": 60}, {"learning_rate": 0.1}]
    changes.append({"schedule": "exponential", "decay_rate": 0.5})
    configs = [{**usual, **change} for change in changes]

    def follow(config):
        rate = lambda step: formulas[config["schedule"]](config, step)
        return numpy_weights(data, lambda g, memory, step: {n: -rate(step) * value for n, value in g.items()})

    agree(swept(data, optimizer, configs), [follow(config) for config in configs])
