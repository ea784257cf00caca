"""What README says of bits: which sweeps agree to the last one, and which to rounding."""

from dataclasses import replace

import numpy as np
import pytest
from small import make_task

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
