"""What a trained config scores on each validation example."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jsweep.errors import ConfigError
from jsweep.planning.groups import seen_by_task
from jsweep.results.ranking import ConfigScore
from jsweep.storage.records import Trial
from jsweep.task.config import Config
from jsweep.task.task import Task

if TYPE_CHECKING:
    from jsweep.runner.session import Session

CHUNK = 256  # examples evaluated at once
TOLERANCE = 1e-3  # by how much the mean over examples may differ from the recorded score, relative to 1 or to the score


def example_values(session: "Session", score: ConfigScore) -> Float[np.ndarray, "runs examples"]:
    """A config's metric for each validation example, under each of its seeds.

    ``evaluate`` is asked about each example alone. Where there are folds, each example's value is that of the model that was
    not trained on it, and a run is a seed, or a repeat of the folds.

    Args:
        session: the sweep.
        score: the config, its metric and its step.

    Returns:
        Values of shape (runs, examples), in the order of ``data.validation``; where there are folds, of the first
        ``data.folds.examples`` of that.

    Raises:
        ConfigError: where the metric is not the mean of a value for each example.
    """
    task, name = session.prepared.setting.task, score.metric.removeprefix("validation/")
    planned = {trial.id: trial for trial in session.prepared.trials}
    folds = task.data.folds
    examples = len(jax.tree.leaves(task.data.validation)[0]) if folds is None else folds.examples
    runs: dict[tuple[int, int], np.ndarray] = {}
    for trial, seed, recorded in zip(score.trials, score.seeds, score.values, strict=True):
        own_rows = rows = np.arange(examples)
        run = (seed, 0)
        if folds is not None:
            fold = folds.of(seed)
            own_rows, rows = folds.held_out[fold], folds.validation[fold]
            repeats = sum(map(len, folds.held_out)) // examples
            run = (seed // folds.count, fold // (folds.count // repeats))
        state = session.state(trial, step=score.step)
        split = jax.tree.map(lambda a, rows=rows: a[rows], task.data.validation)
        values = _values(task, replace(planned[trial], config=score.config), state, split)
        own = np.asarray(values[name])
        if abs(float(own.mean()) - recorded) > TOLERANCE * max(1.0, abs(recorded)):
            raise ConfigError(
                f"{score.metric} is {recorded:.6g} on the validation examples together and {own.mean():.6g} as the mean over "
                "them one by one: it has no value for a single example; pass another metric."
            )
        runs.setdefault(run, np.full(examples, np.nan))[own_rows] = own
    return np.stack(list(runs.values()))


def _values(task: Task, trial: Trial, state: PyTree, split: PyTree) -> Mapping[str, Array]:
    """Each metric of a state for each example of a split."""
    config = seen_by_task(trial)

    def one(example: PyTree) -> Mapping[str, Array]:
        alone = jax.tree.map(lambda a: a[None], example)
        return task.evaluate(Config(config), state, alone)

    return jax.jit(lambda split: jax.lax.map(one, split, batch_size=CHUNK))(split)
