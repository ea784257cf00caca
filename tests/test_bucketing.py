"""Bucketing: sizes and options share a program where that is proven, or asked for, and costs less than compiling."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import apply, make_task, rows_of
from test_hyperparameters import final_losses
from test_widths import task_of

import jsweep as js
from jsweep.planning.assignment import Annotations, RecordedRoles, first_assignment

SPACE = {"learning_rate": [0.01, 0.03], "width": js.lane([4, 8, 16])}


def planned(task, space, steps, **options):
    return js.plan(js.Sweep(task, js.grid(space), steps=steps, **options))


def test_widths_share_a_program_where_the_space_asks_for_it(data):
    task = task_of(data, "relu", "adam")
    plan = planned(task, SPACE, 10)
    assert plan.programs == 1
    assert plan.roles["width"].reason.startswith("4, 8, 16 padded to 16 and masked")
    assert planned(task, {**SPACE, "width": [4, 8, 16]}, 10).programs == 3


def test_a_width_that_the_task_does_not_mask_is_never_padded(data):
    """apply_mlp is not given the widths, so padded units of a sigmoid would have an effect."""
    task = js.supervised(
        lambda config, key: js.models.init_mlp(key, [64, config["width"], 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x, jax.nn.sigmoid),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=data,
    )
    with pytest.raises(js.ConfigError, match="'width' is annotated with js.lane, but cannot be a lane"):
        planned(task, SPACE, 10)
    assert planned(task, {**SPACE, "width": [4, 8, 16]}, 10).programs == 3


def test_only_neighbours_in_size_share_where_one_is_far_larger(data):
    sizes = {"learning_rate": [0.1], "batch_size": [1, 2, 240], "l2": list(np.geomspace(1e-5, 1e-2, 100))}
    plan = planned(make_task(data), sizes, 1000)
    assert plan.roles["batch_size"].buckets == {1: 2, 2: 2, 240: 240}


def test_options_are_computed_together_while_that_is_cheaper(data):
    def optimizer(config):
        kinds = {"sgd": optax.sgd(config["learning_rate"], 0.9), "adam": optax.adam(config["learning_rate"])}
        return js.select_optimizer(config["optimizer"], kinds)

    task = make_task(data, optimizer=optimizer)
    space = {"learning_rate": [0.01, 0.03], "optimizer": ["sgd", "adam"]}
    assert planned(task, space, 10).programs == 1
    long = planned(task, space, 10**7, seeds=50)
    assert long.programs == 2
    assert "on options that are not selected" in long.roles["optimizer"].reason


def test_bucketed_sizes_train_what_each_program_would(data):
    task = task_of(data, "relu", "momentum")
    together = js.sweep(task, js.grid({**SPACE, "batch_size": [8, 32]}), steps=30)
    apart = {**SPACE, "width": js.static([4, 8, 16]), "batch_size": js.static([8, 32])}
    alone = js.sweep(task, js.grid(apart), steps=30)
    assert len({trial.program for trial in together.trials()}) == 1
    assert len({trial.program for trial in alone.trials()}) == 6
    np.testing.assert_allclose(final_losses(together), final_losses(alone), rtol=2e-4)


def normalised(config, params, x, key):
    return apply(config, params, (x - x.mean(0)) / (x.std(0) + 1e-3), key)


def counted(config, params, x, key):
    return apply(config, params, x, key) / x.shape[0]


def compared(config, params, x, key):
    outputs = apply(config, params, x, key)
    return outputs - jnp.sort(outputs, axis=0)[::-1]


def shuffled(config, params, x, key):
    return apply(config, params, x, key) + jax.random.normal(jax.random.key(0), (10, x.shape[0])).T


def scanned(config, params, x, key):
    totals, _ = jax.lax.scan(lambda total, row: (total + row.mean(), None), 0.0, x)
    return apply(config, params, x, key) + totals


@pytest.mark.parametrize("model", [normalised, counted, compared, shuffled, scanned])
def test_a_batch_whose_rows_see_one_another_is_never_padded(data, model):
    """Batch statistics, the number of rows, sorting, noise laid out across rows, a scan over rows."""
    task = make_task(data, apply=model)
    space = {"learning_rate": [0.01], "batch_size": [8, 32]}
    session = js.sweep(task, js.grid(space), steps=10)
    assert session.prepared.roles["batch_size"].kind == "static"
    assert "not padded" in session.prepared.roles["batch_size"].reason
    alone = js.sweep(task, js.grid({**space, "batch_size": js.static([8, 32])}), steps=10)
    np.testing.assert_allclose(final_losses(session), final_losses(alone), rtol=1e-5)
    with pytest.raises(js.ConfigError, match="annotated with js.lane, but its batches cannot be padded"):
        planned(task, {**space, "batch_size": js.lane([8, 32])}, 10)


def attention(config, params, x, key):
    tokens = x.reshape(len(x), 8, 8)
    weights = jax.nn.softmax(jnp.einsum("btd,bsd->bts", tokens, tokens) / 8)
    return apply(config, params, jnp.einsum("bts,bsd->btd", weights, tokens).reshape(len(x), 64), key)


def convolved(config, params, x, key):
    images, kernel = x.reshape(-1, 8, 8, 1), params["w1"][:9, :4].reshape(3, 3, 1, 4)
    numbers = ("NHWC", "HWIO", "NHWC")
    hidden = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    hidden = jax.lax.reduce_window(hidden, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return apply(config, params, hidden.reshape(len(x), 64), key)


def embedded(config, params, x, key):
    return apply(config, params, params["w1"][(x * 16).astype(int)].mean(-1), key)


def layer_normalised(config, params, x, key):
    normal = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3)
    return jax.checkpoint(lambda rows: apply(config, params, rows, key))(normal)


def recurrent(config, params, x, key):
    step = lambda hidden, column: (jnp.tanh(hidden + column[:, None] * params["b1"]), None)
    hidden, _ = jax.lax.scan(step, jnp.zeros((len(x), 16)), x.T)
    return apply(config, params, x, key) + hidden @ params["w2"]


@pytest.mark.parametrize("model", [apply, attention, convolved, embedded, layer_normalised, recurrent])
def test_a_batch_whose_rows_are_apart_is_padded_and_trains_the_same(data, model):
    task = make_task(data, apply=model)
    space = {"learning_rate": [0.01, 0.03], "dropout": [0.3], "batch_size": [8, 20, 32]}
    session = js.sweep(task, js.grid(space), steps=10)
    assert session.prepared.roles["batch_size"].kind == "lane", session.prepared.roles["batch_size"].reason
    alone = js.sweep(task, js.grid({**space, "batch_size": js.static([8, 20, 32])}), steps=10)
    np.testing.assert_allclose(final_losses(session), final_losses(alone), rtol=2e-4)


def test_an_example_with_an_infinite_derivative_reaches_only_batches_that_have_it(data):
    """Such an example, the first, would make NaN of a lane whose batches were filled up with it."""
    x = np.array(data.train[0])
    x[0] = 0.0
    task = make_task(
        js.Splits((x, data.train[1]), data.validation),
        apply=lambda config, params, x, key: jnp.log(
            jnp.abs(apply(config, params, x, key)) + jnp.any(x != 0, axis=1, keepdims=True)
        ),
    )
    sizes = [4, 8, 32]
    session = js.sweep(task, js.grid({"learning_rate": [0.01], "batch_size": js.lane(sizes)}), steps=10)
    alone = js.sweep(task, js.grid({"learning_rate": [0.01], "batch_size": js.static(sizes)}), steps=10)
    np.testing.assert_allclose(final_losses(session), final_losses(alone), rtol=2e-4)
    assert np.isfinite(final_losses(session)).any()


@pytest.mark.parametrize("added", [[2, 5], [32], [6, 40, 64]])
def test_a_record_keeps_the_programs_of_a_sweep_that_grows(data, tmp_path, added):
    task, store = task_of(data, "relu", "adam"), tmp_path / "s.db"
    options = {"steps": 20, "evaluate_every": 10, "tile": 4}
    first = js.sweep(task, js.grid(SPACE), store=store, **options)
    before, programs = rows_of(first), {trial.id: trial.program for trial in first.trials()}
    larger = {**SPACE, "width": js.lane([4, 8, 16, *added])}
    grown = js.sweep(task, js.grid(larger), store=store, **options)
    rows = rows_of(grown)
    assert {key: rows[key] for key in before} == before
    assert {trial.id: trial.program for trial in grown.trials() if trial.id in programs} == programs
    new = {trial.program for trial in grown.trials() if trial.config["width"] in added and trial.config["width"] <= 16}
    assert new <= set(programs.values())
    sweep = js.Sweep(task, js.grid(larger), store=store, **options)
    for trial in (first.trials()[0].id, grown.trials()[-1].id):
        assert js.replay(sweep, trial).difference is None


def test_batch_sizes_of_a_record_keep_their_program(data, tmp_path):
    store, options = tmp_path / "s.db", {"steps": 20, "evaluate_every": 10, "tile": 4}
    space = {"learning_rate": [0.01, 0.03], "batch_size": [8, 16]}
    first = js.sweep(make_task(data), js.grid(space), store=store, **options)
    sweep = js.Sweep(make_task(data), js.grid({**space, "batch_size": [8, 16, 64]}), store=store, **options)
    grown = js.run(sweep)
    assert len({trial.program for trial in grown.trials()}) == 2
    assert js.replay(sweep, first.trials()[0].id).difference is None


def test_configs_have_equal_signatures_where_they_have_equal_programs(data):
    rows = [
        {"rate": rate, "flag": flag, "shape": shape, "width": width}
        for rate in (0.1, 0.25, 1, 2**1030, -0.0)
        for flag in (0.0, -0.0, 1, True, "1")
        for shape in ((1, 2), [1, 2])
        for width in (1, 1.0)
    ]
    assignment = first_assignment(make_task(data), rows, Annotations({"width": "static"}), RecordedRoles())
    assert list(assignment.signatures(rows)) == [assignment.signature(row) for row in rows]
    assert len(set(assignment.signatures(rows))) > 10
