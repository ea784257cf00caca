"""What README says of bits: which sweeps agree to the last one, and which to rounding."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from small import make_task, rows_of

import jsweep as js

SPACE = {"learning_rate": [0.03, 0.1, 0.3], "batch_size": [16, 32], "dropout": [0.1, 0.2]}


def sweep_of(data, configs, **options):
    options = {"seeds": 2, "steps": 20, "evaluate_every": 10} | options
    return js.Sweep(make_task(data), configs, **options)


def losses(session):
    """By trial: its validation losses, and the program and width that they come from."""
    curves = session.curves("validation/loss")
    return {trial.id: (curves[trial.id], (trial.program, trial.width)) for trial in session.trials()}


@pytest.fixture(scope="module")
def whole(data):
    return losses(js.run(sweep_of(data, js.grid(SPACE))))


def cut_down(**fewer):
    return [config for config in js.grid(SPACE) if all(config[name] in values for name, values in fewer.items())]


@pytest.mark.parametrize(
    "configs",
    [list(js.grid(SPACE))[::-1], list(js.grid(SPACE))[:7], cut_down(batch_size=[16]), cut_down(learning_rate=[0.1])],
    ids=["shuffled", "fewer", "one batch size", "one learning rate"],
)
def test_fresh_sweeps_agree_to_the_bit_in_one_program_and_width_and_to_rounding_in_others(data, whole, configs):
    alike = 0
    for trial, (curve, made_by) in losses(js.run(sweep_of(data, configs))).items():
        before, was_made_by = whole[trial]
        if made_by == was_made_by:
            alike += 1
            assert curve == before
        else:
            np.testing.assert_allclose(curve, before, rtol=1e-4)
    assert alike or len(configs) < 12


def test_with_a_width_and_sizes_that_are_fixed_a_fresh_cut_down_sweep_is_equal_to_the_bit(data):
    static = SPACE | {"batch_size": js.static(SPACE["batch_size"])}
    everything = losses(js.run(sweep_of(data, js.grid(static), tile=4)))
    for name, values in (("batch_size", js.static([16])), ("learning_rate", [0.1])):
        part = losses(js.run(sweep_of(data, js.grid(static | {name: values}), tile=4)))
        assert part.items() <= everything.items()


def test_in_its_record_a_sweep_that_grows_is_equal_to_the_bit(data, tmp_path):
    """The record keeps the program: what is added is trained in it, however many trials there are."""
    begun = sweep_of(data, cut_down(learning_rate=[0.1], dropout=[0.1]), store=tmp_path / "s.db")
    first = losses(js.run(begun))
    grown = losses(js.run(replace(begun, configs=js.grid(SPACE))))
    assert first.items() <= grown.items()
    assert {made_by for _, made_by in grown.values()} == {made_by for _, made_by in first.values()}
    again = replace(begun, configs=cut_down(dropout=[0.1]), seeds=3)
    more = losses(js.run(again))
    assert len(more) == 18
    assert {trial: found for trial, found in more.items() if trial in grown}.items() <= grown.items()


@pytest.mark.parametrize(("inputs", "examples"), [(512, 16), (784, 32)])
def test_the_place_in_a_tile_changes_no_bit_of_what_lanes_compute_from_shared_examples(inputs, examples):
    """One product of the examples and the weights of all lanes sums its last columns in another order."""
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(128, inputs)).astype(np.float32), draws.integers(0, 10, 128).astype(np.int32)
    task = js.supervised(
        lambda config, key: jax.random.normal(key, (inputs, 10)) / 28,
        lambda config, params, x, key: x @ params,
        loss=js.losses.softmax_cross_entropy,
        optimizer=lambda config: optax.sgd(config["learning_rate"]),
        data=js.Splits((x, y), (x[:examples], y[:examples]), (x[-examples:], y[-examples:])),
        batch_size=32,
    )
    configs = [{"learning_rate": 0.01 * number} for number in range(1, 17)]
    one, other = (js.sweep(task, order, steps=4, tile=16) for order in (configs, configs[::-1]))
    assert rows_of(one) == rows_of(other)
    assert one.test().scores == other.test().scores
