"""The test split: evaluated once, for the config that validation selected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32, PyTree

from jsweep.data.arrays import count_examples
from jsweep.data.splits import Splits
from jsweep.engine.compiling import compile_program
from jsweep.engine.executors.threads import Work
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.placement import placement, workers_of
from jsweep.engine.program import lower_test
from jsweep.engine.retrain import retrain
from jsweep.planning import Group, Tile
from jsweep.results.lineage import Lineage
from jsweep.results.ranking import ConfigScore
from jsweep.runner.descent import followed
from jsweep.runner.prepare import Prepared
from jsweep.runner.recorded import Curves, check_equal, evaluated


@dataclass(frozen=True)
class Trained:
    """The states of some trials of one program and width, trained again and as they are recorded."""

    group: Group
    tiles: tuple[Tile, ...]
    states: Mapping[str, PyTree]


def train_selected(
    prepared: Prepared, best: ConfigScore, widths: Mapping[str, int], recorded: Curves, lineage: Lineage
) -> list[Trained]:
    """Train the selected config's trials again up to the selected step, and check them against the record.

    Args:
        prepared: the sweep.
        best: the config, and the step whose parameters are tested.
        widths: of the tiles that its trials were trained in, by trial.
        recorded: the recorded scores of its trials.
        lineage: where they were copied from.

    Raises:
        IncompatibleSweepError: where the trials come out otherwise than they are recorded.
    """
    task = prepared.setting.task
    device = workers_of(task)[0]
    found = []
    groups = {trial: prepared.group_of(trial) for trial in best.trials}  # more than one where folds differ in size
    for key, width in dict.fromkeys((groups[trial].key, widths[trial]) for trial in best.trials):
        ids = [trial for trial in best.trials if (groups[trial].key, widths[trial]) == (key, width)]
        group = groups[ids[0]]
        tiles = tuple(replace(group, trials=tuple(t for t in group.trials if t.id in ids)).tiles(width))
        window = window_rows(group, tiles, task.data, prepared.sweep.pairing) if streams(task.data, device) else None
        mine, wanted = {trial: recorded[trial] for trial in ids}, dict.fromkeys(ids, best.step)
        work = followed(lineage, prepared.trials, Work(group, tiles, window), wanted)
        scores, states = retrain(prepared.setting, work, device, steps=wanted, evaluated=evaluated(mine))
        check_equal(mine, scores, wanted)
        found.append(Trained(group, work.tiles, states))
    return found


def evaluate_on_test(prepared: Prepared, best: ConfigScore, trained: Sequence[Trained]) -> dict[str, list[float]]:
    """For each metric ("test/loss") one value a seed of the selected config: this looks at the test split."""
    task = prepared.setting.task
    device = workers_of(task)[0]
    where = placement(task, device)
    test = jax.device_put(task.data.test, where)
    found: dict[str, dict[str, float]] = {}
    for part in trained:
        width = part.tiles[0].width
        states = [
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *(part.states[trial.id] for trial in tile.lanes))
            for tile in part.tiles
        ]
        evaluate = compile_program(lower_test(task, part.group, width, device, states[0]), device)
        for tile, state in zip(part.tiles, states, strict=True):
            values = jax.device_put(part.group.lane_values(tile.lanes), where)
            measured = evaluate(values, state, *_rows(task.data, tile), test)
            for name, scores in measured.items():
                own = zip(tile.trials, np.asarray(scores))
                found.setdefault(f"test/{name}", {}).update((trial.id, float(value)) for trial, value in own)
    return {name: [values[trial] for trial in best.trials] for name, values in found.items()}


def _rows(data: Splits, tile: Tile) -> tuple[Int32[np.ndarray, "lanes rows"], ...]:
    """The rows of the test split of each lane's fold, where folds transform their inputs; else nothing."""
    if data.folds is None or not data.folds.transformed:
        return ()
    tested = count_examples(data.test)
    return (np.stack([data.folds.test_rows(trial.seed, tested) for trial in tile.lanes]),)
