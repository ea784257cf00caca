"""What tiles on GPUs have of their own, as far as it can be run on a CPU."""

from functools import partial
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make_task

import jsweep as js
from jsweep.engine import input_pipeline, program, tile_size
from jsweep.runner import plan
from jsweep.runner.prepare import prepare

quick = settings(deadline=None, derandomize=True, max_examples=40)


@pytest.fixture
def sweep(digits):
    """Eight trials whose lengths end inside a part and at its end."""
    task = make_task(js.split(*digits, validation=0.2, test=0.2, key=0))
    space = {"learning_rate": [0.003, 0.03], "steps": [7, program.PART, 2 * program.PART, 2 * program.PART + 5]}
    return js.Sweep(task, js.grid(space), evaluate_every=program.PART + 3, tile=8)


def scores(session):
    return {metric: session.curves(metric) for metric in session.metrics()}


@quick
@given(st.integers(0, 3 * program.PART + 1))
def test_a_loop_in_parts_takes_every_step_once_in_order(number):
    body = lambda i, carry: (carry[0].at[carry[1]].set(i), carry[1] + 1)
    seen, count = jax.jit(partial(program._repeat_in_parts, body=body))(number, carry=(jnp.full(64, -1), 0))
    assert count == number
    np.testing.assert_array_equal(seen, [*range(number), *[-1] * (64 - number)])


def test_training_in_parts_gives_the_scores_of_one_loop(sweep, monkeypatch):
    in_one_loop, train = scores(js.run(sweep)), program._train
    monkeypatch.setattr(program, "_train", lambda *arguments: train(*arguments[:-1], True))
    assert scores(js.run(sweep)) == in_one_loop


@pytest.mark.parametrize(
    ("platform", "row_bytes", "in_parts"), [("gpu", 32 << 20, True), ("gpu", 1, False), ("tpu", 32 << 20, False)]
)
def test_gpus_loop_in_parts_where_a_call_has_several(sweep, monkeypatch, platform, row_bytes, in_parts):
    group, train, asked = prepare(sweep).groups[0], program._train, []
    monkeypatch.setattr(program, "ROW_BYTES", row_bytes)
    monkeypatch.setattr(program, "_train", lambda *arguments: asked.append(arguments[-1]) or train(*arguments))
    shapes = program._Shapes(group, 8, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    shapes.platform = platform
    program._lower_train(sweep.task, group, shapes, "gpu", None)
    assert asked == [in_parts]


def test_few_steps_at_a_time_change_nothing(sweep, monkeypatch):
    """Row numbers of very many lanes are sent for a few steps at a time."""
    at_once = scores(js.run(sweep))
    monkeypatch.setattr(program, "ROW_BYTES", 4 * 8 * 32 * 5)
    assert program.steps_per_call(8, prepare(sweep).groups[0].rows) == 5
    assert scores(js.run(sweep)) == at_once


@quick
@given(st.integers(1, 1 << 20), st.integers(1, 512))
def test_the_row_numbers_of_a_call_have_a_bound(width, rows):
    steps = program.steps_per_call(width, rows)
    assert 1 <= steps <= program.STEPS_PER_CALL
    assert steps == 1 or 4 * steps * width * rows <= program.ROW_BYTES


@pytest.mark.parametrize("orders", [[0], [0, 0, 0, 0], [0, 1, 2], [0, 1, 0, 2, 1]])
def test_lanes_have_the_rows_of_their_orders_wherever_these_are_copied(orders):
    rows = np.arange(3 * 3 * 5, dtype=np.int32).reshape(3, 3, 5)[:, : max(orders) + 1]
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    on_host = input_pipeline.for_lanes(np.array(orders), 4, here)(rows)
    np.testing.assert_array_equal(on_host[:3], np.stack([rows[:, order] for order in orders], 1))
    assert not on_host[3:].any()  # a call of fewer steps than the program takes
    gpu = mock.Mock(spec=type(here), device_set={_gpu(1)})
    with mock.patch.object(jax, "device_put", lambda array, where: jnp.asarray(array)):
        np.testing.assert_array_equal(input_pipeline.for_lanes(np.array(orders), 4, gpu)(rows), on_host)


@quick
@given(st.integers(1, 5000), st.integers(1, 8), st.integers(1, 600))
def test_waves_are_equal_and_as_few_as_possible(lanes, workers, most):
    width = tile_size.width_of_waves(lanes, workers, most)
    assert 1 <= width <= most
    waves = -(-lanes // (width * workers))
    assert waves == -(-lanes // (most * workers))
    assert width * workers * waves - lanes < workers * waves  # no narrower tile would do


def _gpu(memory):
    """A device that is asked for its memory alone."""
    device = mock.Mock(spec=jax.Device, platform="gpu")
    device.memory_stats.return_value = {"bytes_limit": memory}
    return device


def test_a_tile_has_all_lanes_that_fit_the_memory_in_training_and_in_evaluation(sweep, monkeypatch):
    """Of a lane's programs here evaluation takes most: with ten thousand examples it often does."""
    taken = {"train": 10, "evaluate": 40}  # bytes a lane
    program_of = lambda kind: lambda task, group, width, device: (kind, width)
    monkeypatch.setattr(tile_size, "lower_train", program_of("train"))
    monkeypatch.setattr(tile_size, "lower_plain_evaluate", program_of("evaluate"))
    monkeypatch.setattr(tile_size, "compile_lowered", lambda lowered, device: _compiled(lowered[1] * taken[lowered[0]]))
    group = prepare(sweep).groups[0]
    width = lambda memory, devices: tile_size.choose_width(sweep.task, group, None, "auto", [_gpu(memory)] * devices)
    assert width(10_000, 1) == 8
    assert width(10_000, 2) == 4
    assert width(250, 1) == 4  # two equal waves, though five lanes would fit
    assert width(130, 1) == 2
    assert width(1, 1) == 1


def _compiled(size):
    """A program that is asked for its memory alone."""
    sizes = {"argument_size_in_bytes": size, "temp_size_in_bytes": 0, "output_size_in_bytes": 0}
    return mock.Mock(spec=jax.stages.Compiled, **{"memory_analysis.return_value": SimpleNamespace(**sizes)})


def test_a_plan_for_gpus_has_the_tiles_that_a_run_will_have(sweep):
    group = prepare(sweep).groups[0]
    assert plan._guessed_width(group, [_gpu(10_000)], 1000.0) == 8
    assert plan._guessed_width(group, [_gpu(10_000)] * 4, 1000.0) == 2
    assert plan._guessed_width(group, [_gpu(10)], 1000.0) == 1
