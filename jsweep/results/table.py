"""A result as columns: a row a trial, for NumPy, pandas and Polars."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep.space import Named
from jsweep.storage import Trial

if TYPE_CHECKING:
    import pandas
    import polars

OWN = ("trial", "config", "seed", "status", "steps", "done", "nonfinite")


@dataclass(frozen=True, eq=False)
class Table(Mapping[str, np.ndarray]):
    """A sweep's trials as columns of equal length, by name; every column is an array of shape (trials,).

    ``trial`` and ``config`` are ids. Then come ``seed``, the hyperparameters, ``status``, ``steps`` (to train), ``done``
    (trained), ``nonfinite`` (the first step at which a metric was NaN or infinite; NaN: none) and every metric after the
    last step recorded, NaN where there is none. A hyperparameter that has one of these names is under "config.NAME". Its
    column is int64, float64 or bool where the values are numbers of that kind, with NaN for configs without it; text
    where all values are text; else of Python objects, with None.
    """

    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        rows = len(self.columns["trial"])
        return f"Table({rows} row{'s' * (rows != 1)}: {', '.join(self.columns)})"

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a pandas DataFrame; MissingExtraError where pandas is not installed."""
        return import_optional("pandas", "pandas").DataFrame(dict(self.columns))

    def to_polars(self) -> "polars.DataFrame":
        """The table as a Polars DataFrame; MissingExtraError where Polars is not installed."""
        module = import_optional("polars", "polars")
        return module.DataFrame([_polars_series(module, name, column) for name, column in self.columns.items()])


def table_of(trials: Sequence[Trial], last: Mapping[str, Mapping[int, float]]) -> Table:
    """The table of ``trials``; ``last`` has for each metric the last value by a trial's key in the record."""
    columns: dict[str, np.ndarray] = {
        "trial": np.array([trial.id for trial in trials], np.str_),
        "config": np.array([trial.config_id for trial in trials], np.str_),
        "seed": np.array([trial.seed for trial in trials], np.int64),
    }
    for name in dict.fromkeys(name for trial in trials for name in trial.config):
        shown = name
        while shown in OWN or shown in last or shown in columns:
            shown = f"config.{shown}"
        columns[shown] = column_of([trial.config.get(name) for trial in trials])
    columns |= {
        "status": np.array([str(trial.status) for trial in trials], np.str_),
        "steps": np.array([trial.steps for trial in trials], np.int64),
        "done": np.array([trial.done for trial in trials], np.int64),
        "nonfinite": np.array([np.nan if t.nonfinite is None else t.nonfinite for t in trials], np.float64),
    }
    for metric, values in last.items():
        columns[metric] = np.array([values.get(trial.key, np.nan) for trial in trials], np.float64)
    for column in columns.values():
        column.flags.writeable = False
    return Table(columns)


def column_of(values: Sequence[Any]) -> np.ndarray:
    """Values as the narrowest of bool, int64, float64, text and object; None is a missing one."""
    values = [value.name if isinstance(value, Named) else value for value in values]
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, bool)
    if kinds == {str}:
        return np.array(values, np.str_)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, np.int64)
    fit = all(abs(value) < 2**1000 for value in values if type(value) is int)
    if kinds & {int, float} and kinds <= {int, float, type(None)} and fit:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    column = np.empty(len(values), object)
    for row, value in enumerate(values):  # one by one, as NumPy would take lists for rows
        column[row] = value
    return column


def _polars_series(polars: Any, name: str, column: np.ndarray) -> Any:
    """A column for Polars, which has no columns of mixed type but of Python objects."""
    if column.dtype != object:
        return polars.Series(name, column.tolist() if column.dtype.kind == "U" else column)
    kinds = {type(value) for value in column} - {type(None)}
    if kinds <= {str}:
        return polars.Series(name, column.tolist(), dtype=polars.String)
    if kinds == {bool}:
        return polars.Series(name, column.tolist(), dtype=polars.Boolean)
    return polars.Series(name, column.tolist(), dtype=polars.Object)
