"""The test split: evaluated once, for the config that validation selected."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.engine.executors.threads import Work, default_workers
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.program import compile_program, lower_test
from jsweep.engine.retrain import retrain
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.storage.records import Score


def test_scores(
    prepared: Any, best: ConfigScore, width: int, recorded: Mapping[str, Mapping[str, list]]
) -> dict[str, list[float]]:
    """Train the chosen config's trials again, check them against the record, and evaluate them on the test split.

    ``width`` is that of the tile they were trained in.
    """
    task = prepared.setting.task
    if task.data.test is None:
        raise ConfigError("the data has no test split: make it with jsweep.split(..., test=0.2).")
    group = next(g for g in prepared.groups if any(trial.id in best.trials for trial in g.trials))
    by_id = {trial.id: trial for trial in group.trials}
    trials = [by_id[trial] for trial in best.trials]
    device = default_workers()[0]
    evaluate = compile_program(lower_test(task, group, width, device), device)
    tiles = tuple(replace(group, trials=tuple(trials)).tiles(width))
    window = window_rows(group, tiles, task.data, prepared.sweep.pairing) if streams(task.data, device) else None
    scores, states = retrain(prepared.setting, Work(group, tiles, window), device)
    _check_against_record(scores, recorded)
    found: dict[str, list[float]] = {}
    test = jax.device_put(task.data.test, device)
    for tile in tiles:
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(states[trial.id] for trial in tile.lanes))
        measured = evaluate(jax.device_put(group.lane_values(tile.lanes), device), state, test)
        for name, values in measured.items():
            found.setdefault(f"test/{name}", []).extend(float(v) for v in np.asarray(values)[: len(tile.trials)])
    return found


def _check_against_record(
    scores: Mapping[str, Mapping[int, Score]], recorded: Mapping[str, Mapping[str, list]]
) -> None:
    for trial, curves in recorded.items():
        for metric, curve in curves.items():
            for step, value in curve:
                again = scores[trial][step].metrics[metric]
                if again != value and not (np.isnan(again) and np.isnan(value)):
                    raise ConfigError(
                        f"trial {trial} trained again gives {metric} {again!r} at step {step}, and the record says "
                        f"{value!r}: the record is of another machine, version or task, or its batches come in another "
                        "way than they did; run the sweep anew here, then test it."
                    )
