"""Hidden widths in lanes of one program: padded, masked, and as if each model were built at its own width."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_hyperparameters import final_losses

import jsweep as js
from jsweep.engine.executors.threads import Work
from jsweep.engine.retrain import retrain

WIDTHS = [3, 8, 16]
ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "gelu": jax.nn.gelu}
OPTIMIZERS = {
    "momentum": lambda config: optax.sgd(config["learning_rate"], momentum=0.9, nesterov=True),
    "adam": lambda config: optax.adam(config["learning_rate"]),
    "adamw": lambda config: optax.adamw(config["learning_rate"], weight_decay=0.1),
}


def task_of(data, activation, optimizer):
    def init(config, key):
        return js.models.init_mlp(key, [64, config["width"], config["width"], 10])

    def apply(config, params, x, key):
        return js.models.apply_mlp(params, x, ACTIVATIONS[activation], widths=[config["width"]] * 2)

    loss = js.losses.softmax_cross_entropy
    return js.supervised(
        init, apply, loss=loss, optimizer=OPTIMIZERS[optimizer], data=data, batch_size=32, name="widths"
    )


def swept(data, widths, activation="relu", optimizer="momentum", **options):
    space = {"learning_rate": [0.01, 0.03], "width": widths, "l2": [1e-3]}
    return js.sweep(task_of(data, activation, optimizer), js.grid(space), steps=40, **options)


@pytest.mark.parametrize(("activation", "optimizer"), list(zip(ACTIVATIONS, OPTIMIZERS)))
def test_a_masked_width_is_the_model_built_at_that_width(data, activation, optimizer):
    together = swept(data, js.lane(WIDTHS), activation, optimizer)
    apart = swept(data, js.static(WIDTHS), activation, optimizer)
    assert len({trial.program for trial in together.trials()}) == 1
    assert len({trial.program for trial in apart.trials()}) == 3
    np.testing.assert_allclose(final_losses(together), final_losses(apart), rtol=2e-4)
    assert len({round(loss, 5) for loss in final_losses(apart)}) == 6


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_masked_units_stay_at_zero_and_move_nothing(data, activation):
    result = swept(data, js.lane(WIDTHS), activation, "adam")
    work = Work(result.prepared.groups[0], tuple(result.prepared.groups[0].tiles(2)))
    _, states = retrain(result.prepared.setting, work, jax.devices()[0])
    for trial in result.trials():
        width = trial.config["width"]
        one, two, three = states[trial.id]["params"]
        masked = (one["w"][:, width:], two["w"][width:], two["w"][:, width:], three["w"][width:], one["b"][width:])
        assert one["w"].shape == (64, 16)
        for array in masked:
            assert not np.any(np.asarray(array))
        assert np.all(np.asarray(three["w"][:width]) != 0)


def test_parameters_are_given_out_at_their_own_width(data):
    result = swept(data, js.lane(WIDTHS))
    x, y = data.validation
    for trial in result.trials():
        width, params = trial.config["width"], result.params(trial.id)
        assert [layer["w"].shape for layer in params] == [(64, width), (width, width), (width, 10)]
        outputs = js.models.apply_mlp(params, jnp.asarray(x))
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.asarray(y)).mean()
        np.testing.assert_allclose(loss, result.curves("validation/loss")[trial.id][-1][1], rtol=1e-5)


def test_real_units_start_as_in_a_model_of_their_width():
    def padded(size):
        width = js.Width(size, 16)
        return js.models.init_mlp(jax.random.key(5), [64, width, width, 10])

    for size, params in zip(WIDTHS, zip(*jax.tree.leaves(jax.vmap(padded)(jnp.array(WIDTHS))))):
        built = jax.tree.leaves(js.models.init_mlp(jax.random.key(5), [64, size, size, 10]))
        for array, own in zip(params, built):
            np.testing.assert_allclose(array[tuple(slice(n) for n in own.shape)], own, rtol=3e-7)


def test_the_plan_says_what_is_padded_and_a_width_used_as_a_number_is_refused(data):
    task = task_of(data, "relu", "adam")
    plan = js.plan(js.Sweep(task, js.grid({"learning_rate": [0.1], "width": js.lane(WIDTHS)}), steps=5))
    assert plan.programs == 1
    assert plan.roles["width"].reason == "3, 8, 16 padded to 16 and masked (requested with js.lane)"
    halved = js.supervised(
        lambda config, key: js.models.init_mlp(key, [64, config["width"] // 2, 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x),
        loss=js.losses.softmax_cross_entropy,
        optimizer=OPTIMIZERS["adam"],
        data=data,
    )
    with pytest.raises(js.JsweepError, match="'width' is annotated with js.lane, but cannot be a lane"):
        js.plan(js.Sweep(halved, js.grid({"learning_rate": [0.1], "width": js.lane(WIDTHS)}), steps=5))
