"""A sweep's curves as an xarray Dataset."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep.results.curves import Curves
from jsweep.results.table import column_of
from jsweep.storage import Trial

if TYPE_CHECKING:
    import xarray

DIMENSIONS = ("config", "seed", "step")


def dataset_of(trials: Sequence[Trial], metrics: Sequence[str], curves: Mapping[str, Curves]) -> "xarray.Dataset":
    """The curves of every metric, each of shape (configs, seeds, steps).

    The coordinates are the configs' ids, the seeds and the steps; along the configs lie the hyperparameters too, and
    along configs and seeds the trials' ids, states and ``done`` (steps trained; -1 where a config has no trial of that
    seed). A value is NaN where nothing was recorded as well as where NaN was: ``recorded``, of shape (metrics, configs,
    seeds, steps), tells them apart. A hyperparameter that has one of these names is under "config.NAME".

    Args:
        trials: The trials.
        metrics: The metrics' names.
        curves: The curves of each.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    module = import_optional("xarray", "xarray")
    configs = {trial.config_id: trial.config for trial in reversed(trials)}
    ids = [*dict.fromkeys(trial.config_id for trial in trials)]
    seeds = sorted({trial.seed for trial in trials})
    steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(curve.steps for curve in curves.values())]))
    row, column = {id: i for i, id in enumerate(ids)}, {seed: i for i, seed in enumerate(seeds)}
    at = tuple(np.array([[row[t.config_id], column[t.seed]] for t in trials], np.int64).reshape(-1, 2).T)
    place = {trial.id: i for i, trial in enumerate(trials)}
    values = np.full((len(metrics), len(ids), len(seeds), len(steps)), np.nan)
    recorded = np.zeros(values.shape, bool)
    for index, metric in enumerate(metrics):
        curve = curves[metric]
        order = np.array([place[trial] for trial in curve.trials], np.int64)
        where = np.ix_(np.arange(len(order)), np.searchsorted(steps, curve.steps))
        for target, source in ((values, curve.values), (recorded, curve.recorded)):
            rows = np.full((len(order), len(steps)), np.nan if target is values else False, target.dtype)
            rows[where] = source
            target[index, at[0][order], at[1][order]] = rows
    trial_ids, status, done = (
        np.full((len(ids), len(seeds)), fill, kind) for fill, kind in (("", object), ("", object), (-1, np.int64))
    )
    trial_ids[at], status[at], done[at] = (
        [t.id for t in trials],
        [str(t.status) for t in trials],
        [t.done for t in trials],
    )
    of_trials = {"trial": trial_ids.astype(str), "status": status.astype(str), "done": done}
    coordinates = {"config": ids, "seed": seeds, "step": steps, "metric": [*metrics]}
    coordinates |= {name: (DIMENSIONS[:2], array) for name, array in of_trials.items()}
    taken = {*coordinates, *metrics, "recorded"}
    for name in dict.fromkeys(name for config in configs.values() for name in config):
        shown = name
        while shown in taken:
            shown = f"config.{shown}"
        taken.add(shown)
        coordinates[shown] = ("config", column_of([configs[id].get(name) for id in ids]))
    variables = {metric: (DIMENSIONS, values[index]) for index, metric in enumerate(metrics)}
    return module.Dataset({**variables, "recorded": (("metric", *DIMENSIONS), recorded)}, coordinates)
