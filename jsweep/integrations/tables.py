"""A sweep as two tables in files: a row a trial, and a row for each value of a metric."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep.integrations.contents import Contents, Hyperparameter, hyperparameters_of, text_of
from jsweep.space import encode
from jsweep.storage import Trial

OWN = ("trial", "config", "seed", "status", "steps", "done", "nonfinite", "reason", "json")
CURVES = ("trial", "config", "seed", "metric", "step", "value")


def write_csv(contents: Contents, path: str) -> list[str]:
    """Write the tables as CSV: numbers with every digit, NaN and infinities as nan and inf, nothing where nothing is."""
    columns = trial_columns(contents)
    texts = [["" if value is None else text_of(value) for value in column] for column in columns.values()]
    _write_rows(path, [*columns], zip(*texts))
    _write_rows(curves_path(path), [*CURVES], _curve_rows(contents))
    return [f"the curves are in {curves_path(path)}."]


def write_parquet(contents: Contents, path: str) -> list[str]:
    """Write the tables as Parquet, with the sweep's name, objective and store in the first one's metadata."""
    pyarrow, parquet = import_optional("pyarrow", "parquet"), import_optional("pyarrow.parquet", "parquet")
    kinds = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_(), "text": pyarrow.string()}
    hyperparameters = hyperparameters_of(contents)
    columns = trial_columns(contents, hyperparameters)
    whole = dict.fromkeys(("seed", "steps", "done", "nonfinite"), "int")
    own: dict[str, str] = {**dict.fromkeys(OWN, "text"), **whole}
    names = _shown_names(contents, hyperparameters)
    types = own | {names[each.name]: each.kind for each in hyperparameters} | dict.fromkeys(contents.metrics, "float")
    arrays = [pyarrow.array(column, kinds[types[name]]) for name, column in columns.items()]
    objectives = [[each.metric, each.mode] for each in contents.objectives]
    told = {"name": contents.name, "task": contents.task, "created": contents.created, "objectives": objectives}
    table = pyarrow.table(dict(zip(columns, arrays))).replace_schema_metadata({"jsweep": json.dumps(told)})
    parquet.write_table(table, path)
    rows = [*zip(*_curve_rows(contents))] or [()] * len(CURVES)
    kept = [kinds[kind] for kind in ("text", "text", "int", "text", "int", "float")]
    curves = {name: pyarrow.array(column, kind) for name, column, kind in zip(CURVES, rows, kept)}
    parquet.write_table(pyarrow.table(curves), curves_path(path))
    return [f"the curves are in {curves_path(path)}."]


def curves_path(path: str) -> str:
    """The file of the curves that goes with a table of trials: runs.csv has runs.curves.csv."""
    place = Path(path)
    return str(place.with_name(f"{place.stem}.curves{place.suffix}"))


def trial_columns(contents: Contents, hyperparameters: list[Hyperparameter] | None = None) -> dict[str, list[Any]]:
    """The columns of the table of trials by name; None where a trial has nothing.

    ``json`` is the config exactly. A hyperparameter that has the name of another column is under "config.NAME".
    """
    hyperparameters = hyperparameters_of(contents) if hyperparameters is None else hyperparameters
    names = _shown_names(contents, hyperparameters)
    trials = contents.trials
    columns: dict[str, list[Any]] = {
        "trial": [trial.id for trial in trials],
        "config": [trial.config_id for trial in trials],
        "seed": [trial.seed for trial in trials],
    }
    for each in hyperparameters:
        columns[names[each.name]] = [each.values.get(trial.config_id) for trial in trials]
    columns |= {
        "status": [str(trial.status) for trial in trials],
        "steps": [trial.steps for trial in trials],
        "done": [trial.done for trial in trials],
        "nonfinite": [trial.nonfinite for trial in trials],
        "reason": [trial.reason for trial in trials],
        "json": [_config_json(trial) for trial in trials],
    }
    for metric in contents.metrics:
        columns[metric] = [_last(contents, trial, metric) for trial in trials]
    return columns


def _shown_names(contents: Contents, hyperparameters: list[Hyperparameter]) -> dict[str, str]:
    taken, names = {*OWN, *contents.metrics}, {}
    for name in (each.name for each in hyperparameters):
        shown = name
        while shown in taken:
            shown = f"config.{shown}"
        taken.add(shown)
        names[name] = shown
    return names


def _last(contents: Contents, trial: Trial, metric: str) -> float | None:
    curve = contents.curves[trial.id].get(metric)
    return curve[-1][1] if curve else None


def _config_json(trial: Trial) -> str:
    return json.dumps({name: encode(value) for name, value in trial.config.items()})


def _curve_rows(contents: Contents) -> Iterator[tuple[str, str, int, str, int, float]]:
    for trial in contents.trials:
        for metric, curve in contents.curves[trial.id].items():
            for step, value in curve:
                yield trial.id, trial.config_id, trial.seed, metric, step, value


def _write_rows(path: str, heads: list[str], rows: Any) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
