"""A sweep as an MLflow experiment: configs as runs, seeds as runs nested in them."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep.errors import ConfigError
from jsweep.integrations.contents import ConfigContents, Contents, Curve, hyperparameters_of, mean_curve, text_of
from jsweep.space import encode
from jsweep.storage import Status, Trial

MOST_AT_ONCE = 1000  # metrics in a request, MLflow's limit
MOST_NAME = 250
MOST_VALUE = 5000  # characters of a tag or parameter
STATUS = {
    Status.FINISHED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.STOPPED: "KILLED",
    Status.RUNNING: "RUNNING",
    Status.WAITING: "SCHEDULED",
}


@dataclass(frozen=True)
class _Names:
    """The names of hyperparameters and metrics as MLflow allows them."""

    params: Mapping[str, str]
    metrics: Mapping[str, str]


def write(contents: Contents, path: str) -> list[str]:
    """Write an experiment of the sweep's name; notes on what it cannot hold."""
    mlflow, entities = import_optional("mlflow", "mlflow"), import_optional("mlflow.entities", "mlflow")
    client = mlflow.MlflowClient(tracking_uri=path if "://" in path else f"sqlite:///{Path(path).absolute()}")
    try:
        found = client.get_experiment_by_name(contents.name)
    except Exception as error:  # whatever the database's driver or the server raises
        raise ConfigError(f"MLflow cannot open {path!r} ({error}): pass the path of a new file.") from error
    if found is not None:
        raise ConfigError(f"{path!r} has an experiment {contents.name!r} already: pass another path.")
    tags = {"jsweep.task": contents.task, "jsweep.store": contents.store}
    tags |= {"jsweep.objectives": json.dumps([[each.metric, each.mode] for each in contents.objectives])}
    experiment = client.create_experiment(contents.name, tags=tags)
    names = _Names(
        allowed([each.name for each in hyperparameters_of(contents)]),
        allowed(contents.metrics),
    )
    texts = {each.name: each.values for each in hyperparameters_of(contents)}
    started = int(datetime.fromisoformat(contents.created).timestamp() * 1000)
    for config in contents.configs:
        params = {names.params[name]: text_of(texts[name][config.id])[:MOST_VALUE] for name in config.config}
        parent = _Run(client, entities, experiment, started)
        above = parent.write(
            f"config {config.id[:10]}", config.status, params, _tags(config), _mean_curves(contents, config, names)
        )
        for trial in config.trials:
            own = {names.metrics[metric]: curve for metric, curve in contents.curves[trial.id].items()}
            told = _trial_tags(trial) | {"mlflow.parentRunId": above}
            _Run(client, entities, experiment, started).write(f"seed {trial.seed}", trial.status, params, told, own)
    return _notes(contents, names)


def allowed(names: Sequence[str]) -> dict[str, str]:
    """For each name one that MLflow allows, different from the others': letters, digits and _-./ :, no path upwards."""
    taken: set[str] = set()
    found = {}
    for name in names:
        parts = re.sub(r"[^A-Za-z0-9_\-. /:]", "_", name).split("/")
        bare = (
            "/".join("_" * len(part) if part.strip(".") == "" and part else part for part in parts if part)[:MOST_NAME]
            or "_"
        )
        shown, number = bare, 2
        while shown in taken:
            shown, number = f"{bare[: MOST_NAME - 10]} {number}", number + 1
        taken.add(shown)
        found[name] = shown
    return found


@dataclass(frozen=True)
class _Run:
    """Where a run is written."""

    client: Any
    entities: Any
    experiment: str
    started: int  # milliseconds, as the record does not keep when a value was recorded

    def write(
        self, name: str, status: Status, params: Mapping[str, str], tags: Mapping[str, str], curves: Mapping[str, Curve]
    ) -> str:
        """Write a run; its id."""
        run = self.client.create_run(self.experiment, start_time=self.started, tags=dict(tags), run_name=name)
        id, of = run.info.run_id, self.entities
        for start in range(0, len(params), 100):  # as many as MLflow takes in a request
            part = [*params.items()][start : start + 100]
            self.client.log_batch(id, params=[of.Param(key, value) for key, value in part])
        metrics = [of.Metric(key, value, self.started, step) for key, curve in curves.items() for step, value in curve]
        for start in range(0, len(metrics), MOST_AT_ONCE):
            self.client.log_batch(id, metrics=metrics[start : start + MOST_AT_ONCE])
        if status in (Status.RUNNING, Status.WAITING):
            self.client.update_run(id, status=STATUS[status])
        else:
            self.client.set_terminated(id, status=STATUS[status])
        return id


def _mean_curves(contents: Contents, config: ConfigContents, names: _Names) -> dict[str, Curve]:
    curves = [contents.curves[trial.id] for trial in config.trials]
    return {names.metrics[metric]: mean_curve(own.get(metric, ()) for own in curves) for metric in contents.metrics}


def _tags(config: ConfigContents) -> dict[str, str]:
    text = json.dumps({name: encode(value) for name, value in config.config.items()})
    return {
        "jsweep.config_id": config.id,
        "jsweep.config": text if len(text) <= MOST_VALUE else f"{len(text)} characters: see the record",
        "jsweep.status": str(config.status),
        "jsweep.complete": str(config.complete),
    }


def _trial_tags(trial: Trial) -> dict[str, str]:
    nonfinite = {} if trial.nonfinite is None else {"jsweep.nonfinite": str(trial.nonfinite)}
    reason = {"jsweep.reason": trial.reason[:MOST_VALUE]} if trial.reason else {}
    return {
        "jsweep.trial": trial.id,
        "jsweep.config_id": trial.config_id,
        "jsweep.seed": str(trial.seed),
        "jsweep.status": str(trial.status),
        "jsweep.steps": f"{trial.done} of {trial.steps}",
        **nonfinite,
        **reason,
    }


def _notes(contents: Contents, names: _Names) -> list[str]:
    notes = list(_infinite(contents))
    renamed = [f"{old!r} as {new!r}" for old, new in {**names.params, **names.metrics}.items() if old != new]
    if renamed:
        notes.append(f"MLflow does not allow some names: {', '.join(renamed)}.")
    texts = (text_of(value) for config in contents.configs for value in config.config.values())
    if any(len(text) > MOST_VALUE for text in texts):
        notes.append(f"values of more than {MOST_VALUE} characters are cut.")
    return notes


def _infinite(contents: Contents) -> Iterator[str]:
    values = (value for own in contents.curves.values() for curve in own.values() for _, value in curve)
    if any(map(math.isinf, values)):
        yield "MLflow's databases keep an infinite value as the largest float (1.8e308) of its sign."
