"""Training recorded trials again from their seeds, in the tile program they were trained in."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jsweep.engine.program import TileProgram, lower_test, lower_tile
from jsweep.engine.run import default_workers
from jsweep.engine.tile import OnDevice, Score, train_tile
from jsweep.errors import UserError
from jsweep.planning import Group, Trial
from jsweep.results import ConfigScore


def replay_trials(prepared: Any, trials: Sequence[Trial], group: Group, program: TileProgram, device: jax.Device):
    """Train trials of one group in tiles; returns their scores by trial and step, and each tile's final state."""
    data = OnDevice(
        *(
            jax.device_put(part, device)
            for part in (prepared.setting.task.data.train, prepared.setting.task.data.validation)
        )
    )
    scores: dict[str, dict[int, Score]] = {}
    states = []
    for start in range(0, len(trials), program.width):
        tile = trials[start : start + program.width]
        segment = None
        for segment in train_tile(prepared.setting, group, tile, program, data, device):
            for score in segment.scores:
                scores.setdefault(score.trial, {})[score.step] = score
        assert segment is not None
        states.append((tile, segment.state))
    return scores, states


def test_scores(
    prepared: Any, best: ConfigScore, width: int, recorded: Mapping[str, Mapping[str, list]]
) -> dict[str, list[float]]:
    """Train the chosen config's trials again, check them against the record, and evaluate them on the test split.

    ``width`` is that of the tile they were trained in.
    """
    task = prepared.setting.task
    if task.data.test is None:
        raise UserError("the data has no test split: make it with jsweep.split(..., test=0.2).")
    group = next(g for g in prepared.groups if any(trial.id in best.trials for trial in g.trials))
    by_id = {trial.id: trial for trial in group.trials}
    trials = [by_id[trial] for trial in best.trials]
    device = default_workers()[0]
    program = lower_tile(task, group, width, device).compile()
    evaluate = lower_test(task, group, width, device).compile()
    scores, states = replay_trials(prepared, trials, group, program, device)
    _check_against_record(scores, recorded)
    found: dict[str, list[float]] = {}
    test = jax.device_put(task.data.test, device)
    for tile, state in states:
        padded = [tile[i % len(tile)] for i in range(width)]
        measured = evaluate(jax.device_put(group.lane_values(padded), device), state, test)
        for name, values in measured.items():
            found.setdefault(f"test/{name}", []).extend(float(v) for v in np.asarray(values)[: len(tile)])
    return found


def _check_against_record(
    scores: Mapping[str, Mapping[int, Score]], recorded: Mapping[str, Mapping[str, list]]
) -> None:
    for trial, curves in recorded.items():
        for metric, curve in curves.items():
            for step, value in curve:
                again = scores[trial][step].metrics[metric]
                if again != value and not (np.isnan(again) and np.isnan(value)):
                    raise UserError(
                        f"trial {trial} trained again gives {metric} {again!r} at step {step}, and the record says "
                        f"{value!r}: the record is of another machine, version or task; run the sweep anew here, then test it."
                    )
