"""The test split: evaluated once, for the config that validation selected."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.engine.executors.threads import Work, default_workers
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.program import compile_program, lower_test
from jsweep.engine.retrain import retrain
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.runner.prepare import Prepared
from jsweep.runner.recorded import Curves, check_equal, evaluated


def test_scores(
    prepared: Prepared, best: ConfigScore, widths: Mapping[str, int], recorded: Curves
) -> dict[str, list[float]]:
    """Train the selected config's trials again, check them against the record, and evaluate them on the test split.

    Args:
        prepared: the sweep.
        best: the config, and the step whose parameters are tested.
        widths: of the tiles that its trials were trained in, by trial.
        recorded: the recorded scores of its trials.

    Returns:
        For each metric ("test/loss") one value a seed.

    Raises:
        ConfigError: where there is no test split.
        IncompatibleSweepError: where the trials come out otherwise than they are recorded.
    """
    task = prepared.setting.task
    if task.data.test is None:
        raise ConfigError("the data has no test split: make it with jsweep.split(..., test=0.2).")
    found: dict[str, dict[str, float]] = {}
    for width in dict.fromkeys(widths[trial] for trial in best.trials):
        mine = [trial for trial in best.trials if widths[trial] == width]
        for name, values in _scores_in_width(prepared, mine, best.step, width, recorded).items():
            found.setdefault(name, {}).update(values)
    return {name: [values[trial] for trial in best.trials] for name, values in found.items()}


def _scores_in_width(
    prepared: Prepared, ids: Sequence[str], step: int, width: int, recorded: Curves
) -> dict[str, dict[str, float]]:
    """For each metric the test score of each trial, trained again in tiles of ``width`` lanes up to ``step``."""
    task, device = prepared.setting.task, default_workers()[0]
    group = prepared.group_of(ids[0])
    trials = tuple(trial for trial in group.trials if trial.id in ids)
    tiles = tuple(replace(group, trials=trials).tiles(width))
    window = window_rows(group, tiles, task.data, prepared.sweep.pairing) if streams(task.data, device) else None
    mine, wanted = {trial: recorded[trial] for trial in ids}, dict.fromkeys(ids, step)
    work = Work(group, tiles, window)
    scores, states = retrain(prepared.setting, work, device, steps=wanted, evaluated=evaluated(mine))
    check_equal(mine, scores, wanted)
    evaluate = compile_program(lower_test(task, group, width, device), device)
    test = jax.device_put(task.data.test, device)
    found: dict[str, dict[str, float]] = {}
    for tile in tiles:
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(states[trial.id] for trial in tile.lanes))
        measured = evaluate(jax.device_put(group.lane_values(tile.lanes), device), state, test)
        for name, values in measured.items():
            own = zip(tile.trials, np.asarray(values))
            found.setdefault(f"test/{name}", {}).update((trial.id, float(value)) for trial, value in own)
    return found
