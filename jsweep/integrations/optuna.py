"""A sweep as an Optuna study, in SQLite or any database that Optuna opens."""

import contextlib
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.integrations.contents import ConfigContents, Contents, Hyperparameter, hyperparameters_of, mean_curve
from jsweep.space import encode
from jsweep.storage import Status

LOG_RATIO = 50  # positive numbers that span a larger factor get a logarithmic distribution


def write(contents: Contents, path: str) -> list[str]:
    """Write a study of the sweep's name, a trial a config; notes on what it cannot hold."""
    optuna = import_optional("optuna", "optuna")
    if not contents.objectives:
        raise ConfigError(
            f"{contents.name!r} has no objective of known direction, which a study needs: give the sweep one (objective=)."
        )
    url = path if "://" in path else f"sqlite:///{Path(path).absolute()}"
    swept = [(each, _distribution(optuna, each)) for each in hyperparameters_of(contents)]
    with _quiet(optuna), _storage(optuna, path, url) as storage:
        study = _created(optuna, contents, path, storage)
        study.add_trials([_frozen(optuna, contents, config, swept) for config in contents.configs])
    return _notes(contents)


def _created(optuna: ModuleType, contents: Contents, path: str, storage: Any) -> Any:
    """The empty study; ConfigError where the database has a study of that name."""
    directions = ["maximize" if each.mode == "max" else "minimize" for each in contents.objectives]
    try:
        study = optuna.create_study(study_name=contents.name, directions=directions, storage=storage)
    except optuna.exceptions.DuplicatedStudyError:
        raise ConfigError(f"{path!r} has a study {contents.name!r} already: pass another path.") from None
    study.set_metric_names([each.metric for each in contents.objectives])
    attributes = {"jsweep.task": contents.task, "jsweep.created": contents.created, "jsweep.store": contents.store}
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    return study


def _distribution(optuna: ModuleType, each: Hyperparameter) -> Any:
    """The distribution that spans a hyperparameter's values."""
    of = optuna.distributions
    if each.kind in ("bool", "text"):
        return of.CategoricalDistribution(list(dict.fromkeys(each.values.values())))
    values = [value for value in each.values.values() if not isinstance(value, str)]
    low, high = min(values), max(values)
    log = low > 0 and high / low > LOG_RATIO
    if each.kind == "int":
        return of.IntDistribution(low, high, log=log)
    return of.FloatDistribution(float(low), float(high), log=log)


def _frozen(
    optuna: ModuleType, contents: Contents, config: ConfigContents, swept: Sequence[tuple[Hyperparameter, Any]]
) -> Any:
    """A config as a trial of the study: its values and intermediate values are means over seeds."""
    of = optuna.trial
    states = of.TrialState
    state = {
        Status.WAITING: states.WAITING,
        Status.RUNNING: states.RUNNING,
        Status.STOPPED: states.PRUNED,
        Status.FAILED: states.FAIL,
        Status.FINISHED: states.COMPLETE if config.complete else states.FAIL,
    }[config.status]
    own = [(each, kind) for each, kind in swept if config.id in each.values]
    held = {each.name: each.values[config.id] for each, _ in own}
    several = len(contents.objectives) > 1
    curves = [contents.curves[trial.id].get(contents.objectives[0].metric, ()) for trial in config.trials]
    return of.create_trial(
        state=state,
        values=[score.mean for score in config.scores] if state == states.COMPLETE else None,
        params={each.name: float(held[each.name]) if each.kind == "float" else held[each.name] for each, _ in own},
        distributions={each.name: kind for each, kind in own},
        intermediate_values={} if several else dict(mean_curve(curves)),
        user_attrs=_attributes(contents, config),
    )


def _attributes(contents: Contents, config: ConfigContents) -> dict[str, Any]:
    """What Optuna has no place for: ids, the exact config, and what became of each seed."""
    last = {
        metric: [curve[-1][1] if (curve := contents.curves[trial.id].get(metric)) else None for trial in config.trials]
        for metric in contents.metrics
    }
    reasons = {trial.id: trial.reason for trial in config.trials if trial.reason}
    return {
        "jsweep.config_id": config.id,
        "jsweep.config": json.dumps({name: encode(value) for name, value in config.config.items()}),
        "jsweep.seeds": [trial.seed for trial in config.trials],
        "jsweep.trials": [trial.id for trial in config.trials],
        "jsweep.status": [str(trial.status) for trial in config.trials],
        "jsweep.last": last,
        "jsweep.std": {score.metric: score.std for score in config.scores if math.isfinite(score.std)},
        **({"jsweep.reasons": reasons} if reasons else {}),
    }


def _notes(contents: Contents) -> list[str]:
    notes = ["A trial of the study is a config: its values and intermediate values are means over its seeds."]
    wild = sum(config.status == Status.FINISHED and not config.complete for config in contents.configs)
    if wild:
        notes.append(f"{wild} finished with a score that is NaN or infinite, which Optuna holds as failed.")
    if len(contents.objectives) > 1:
        notes.append("Optuna has no intermediate values for several objectives.")
    elif len(contents.metrics) > 1:
        others = ", ".join(clean(name) for name in contents.metrics if name != contents.objectives[0].metric)
        notes.append(f"Of {others} the study has each seed's last value only, in the attribute jsweep.last.")
    return notes


@contextlib.contextmanager
def _storage(optuna: ModuleType, path: str, url: str) -> Iterator[Any]:
    """The database, whose connections are closed at the end; ConfigError where it cannot be used."""
    try:
        storage = optuna.storages.RDBStorage(url)
    except Exception as error:  # whatever the database's driver raises
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"Optuna cannot open {path!r} ({told}): pass the path of a new file.") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Without Optuna's messages about what is done here on purpose."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
