"""Joining or grouping: sizes and options share a program where masked work costs less than compiling, and it is kept."""

import jax
import numpy as np
import optax
import pytest
from small import make_task, rows_of
from test_hyperparameters import final_losses
from test_widths import task_of

import jsweep as js

SPACE = {"learning_rate": [0.01, 0.03], "width": [4, 8, 16]}


def planned(task, space, steps, **options):
    return js.plan(js.Sweep(task, js.grid(space), steps=steps, **options))


def test_masked_widths_share_a_program_while_that_is_cheaper(data):
    task = task_of(data, "relu", "adam")
    short = planned(task, SPACE, 10)
    assert short.programs == 1
    assert short.roles["width"].reason.startswith("4, 8, 16 padded to 16, and masked")
    long = planned(task, SPACE, 10**7, seeds=50)
    assert long.programs == 3
    assert "of masked work for" in long.roles["width"].reason
    assert planned(task, {**SPACE, "width": js.static([4, 8, 16])}, 10).programs == 3
    assert planned(task, {**SPACE, "width": js.lane([4, 8, 16])}, 10**7, seeds=50).programs == 1


def test_only_neighbours_in_size_share_where_one_is_far_larger(data):
    plan = planned(task_of(data, "relu", "adam"), {**SPACE, "width": [8, 16, 1024]}, 3000)
    assert plan.roles["width"].tiers == {8: 16, 16: 16, 1024: 1024}
    assert [dict(group.static) for group in plan.groups] == [{}, {"width": 1024}]
    sizes = {"learning_rate": [0.1], "batch_size": [1, 2, 240], "l2": list(np.geomspace(1e-5, 1e-2, 100))}
    plan = planned(make_task(data), sizes, 1000)
    assert plan.roles["batch_size"].tiers == {1: 2, 2: 2, 240: 240}


def test_options_are_computed_together_while_that_is_cheaper(data):
    def optimizer(config):
        kinds = {"sgd": optax.sgd(config["learning_rate"], 0.9), "adam": optax.adam(config["learning_rate"])}
        return js.select_optimizer(config["optimizer"], kinds)

    task = make_task(data, optimizer=optimizer)
    space = {"learning_rate": [0.01, 0.03], "optimizer": ["sgd", "adam"]}
    assert planned(task, space, 10).programs == 1
    long = planned(task, space, 10**7, seeds=50)
    assert long.programs == 2
    assert "of options computed in vain" in long.roles["optimizer"].reason


def test_a_width_that_the_task_does_not_mask_is_never_padded(data):
    """apply_mlp is not given the widths, so padded units of a sigmoid would speak: a program for each width."""
    task = js.supervised(
        lambda config, key: js.models.init_mlp(key, [64, config["width"], 10]),
        lambda config, params, x, key: js.models.apply_mlp(params, x, jax.nn.sigmoid),
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=data,
    )
    assert planned(task, SPACE, 10).programs == 3


def test_joined_sizes_train_what_each_program_would(data):
    task = task_of(data, "relu", "momentum")
    joined = js.sweep(task, js.grid({**SPACE, "batch_size": [8, 32]}), steps=30)
    apart = {**SPACE, "width": js.static(SPACE["width"]), "batch_size": js.static([8, 32])}
    alone = js.sweep(task, js.grid(apart), steps=30)
    assert len({trial.program for trial in joined.trials()}) == 1
    assert len({trial.program for trial in alone.trials()}) == 6
    np.testing.assert_allclose(final_losses(joined), final_losses(alone), rtol=2e-4)


@pytest.mark.parametrize("added", [[2, 5], [32], [6, 40, 64]])
def test_a_record_keeps_the_programs_of_a_sweep_that_grows(data, tmp_path, added):
    task, store = task_of(data, "relu", "adam"), tmp_path / "s.db"
    options = {"steps": 20, "evaluate_every": 10, "tile": 4}
    first = js.sweep(task, js.grid(SPACE), store=store, **options)
    before, programs = rows_of(first), {trial.id: trial.program for trial in first.trials()}
    grown = js.sweep(task, js.grid({**SPACE, "width": [*SPACE["width"], *added]}), store=store, **options)
    rows = rows_of(grown)
    assert {key: rows[key] for key in before} == before
    assert {trial.id: trial.program for trial in grown.trials() if trial.id in programs} == programs
    new = {trial.program for trial in grown.trials() if trial.config["width"] in added and trial.config["width"] <= 16}
    assert new <= set(programs.values())
    sweep = js.Sweep(task, js.grid({**SPACE, "width": [*SPACE["width"], *added]}), store=store, **options)
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
