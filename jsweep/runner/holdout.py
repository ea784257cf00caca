"""The test split: evaluated once, for the config that validation selected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jsweep.engine.executors.threads import Work, default_workers
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.program import compile_program, lower_test
from jsweep.engine.retrain import retrain
from jsweep.errors import IncompatibleSweepError
from jsweep.planning import Group, Tile
from jsweep.results.ranking import ConfigScore
from jsweep.runner.prepare import Prepared
from jsweep.storage.records import Score

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""Recorded scores: trial -> metric -> (step, value) pairs."""


@dataclass(frozen=True)
class Trained:
    """The states of some trials of one program and width, trained again and as they are recorded."""

    group: Group
    tiles: tuple[Tile, ...]
    states: Mapping[str, PyTree]


def train_selected(prepared: Prepared, best: ConfigScore, widths: Mapping[str, int], recorded: Curves) -> list[Trained]:
    """Train the selected config's trials again up to the selected step, and check them against the record.

    Args:
        prepared: the sweep.
        best: the config, and the step whose parameters are tested.
        widths: of the tiles that its trials were trained in, by trial.
        recorded: the recorded scores of its trials.

    Raises:
        IncompatibleSweepError: where the trials come out otherwise than they are recorded.
    """
    task, device = prepared.setting.task, default_workers()[0]
    found = []
    for width in dict.fromkeys(widths[trial] for trial in best.trials):
        ids = [trial for trial in best.trials if widths[trial] == width]
        group = prepared.group_of(ids[0])
        tiles = tuple(replace(group, trials=tuple(t for t in group.trials if t.id in ids)).tiles(width))
        window = window_rows(group, tiles, task.data, prepared.sweep.pairing) if streams(task.data, device) else None
        work, curves = Work(group, tiles, window), {trial: recorded[trial] for trial in ids}
        stops = stops_in(curves)
        scores, states = retrain(prepared.setting, work, device, dict.fromkeys(ids, best.step), stops)
        _check_against_record(scores, curves, best.step)
        found.append(Trained(group, tiles, states))
    return found


def evaluate_on_test(prepared: Prepared, best: ConfigScore, trained: Sequence[Trained]) -> dict[str, list[float]]:
    """For each metric ("test/loss") one value a seed of the selected config: this looks at the test split."""
    task, device = prepared.setting.task, default_workers()[0]
    test = jax.device_put(task.data.test, device)
    found: dict[str, dict[str, float]] = {}
    for part in trained:
        width = part.tiles[0].width
        evaluate = compile_program(lower_test(task, part.group, width, device), device)
        for tile in part.tiles:
            state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(part.states[trial.id] for trial in tile.lanes))
            measured = evaluate(jax.device_put(part.group.lane_values(tile.lanes), device), state, test)
            for name, values in measured.items():
                own = zip(tile.trials, np.asarray(values))
                found.setdefault(f"test/{name}", {}).update((trial.id, float(value)) for trial, value in own)
    return {name: [values[trial] for trial in best.trials] for name, values in found.items()}


def stops_in(recorded: Curves) -> frozenset[int]:
    """All the steps at which trials were evaluated."""
    return frozenset(step for curves in recorded.values() for curve in curves.values() for step, _ in curve)


def _check_against_record(scores: Mapping[str, Mapping[int, Score]], recorded: Curves, last: int) -> None:
    for trial, curves in recorded.items():
        for metric, curve in curves.items():
            for step, value in ((step, value) for step, value in curve if step <= last):
                again = scores[trial][step].metrics[metric]
                if again != value and not (np.isnan(again) and np.isnan(value)):
                    raise IncompatibleSweepError(
                        f"trial {trial} trained again gives {metric} {again!r} at step {step}, and the record says "
                        f"{value!r}: it was recorded on another machine, with another version or task, or its batches now "
                        "come in another order; run the sweep here under another name, then test it."
                    )
