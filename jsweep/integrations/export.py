"""A sweep handed to another tool: written in its own format, with a word on what that cannot hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.integrations import mlflow, optuna, tables, tensorboard, wandb
from jsweep.integrations.contents import Contents, contents_of, hyperparameters_of
from jsweep.results.result import Result
from jsweep.results.summary import plural

Target: TypeAlias = Literal["csv", "parquet", "optuna", "mlflow", "tensorboard", "wandb"]
"""A tool or format that `export` writes for."""

TARGETS: tuple[Target, ...] = get_args(Target)

_WRITERS: dict[str, Callable[[Contents, str], Sequence[str]]] = {
    "csv": tables.write_csv,
    "parquet": tables.write_parquet,
    "optuna": optuna.write,
    "mlflow": mlflow.write,
    "tensorboard": tensorboard.write,
    "wandb": wandb.write,
}


@dataclass(frozen=True)
class Exported:
    """What an export wrote: how many configs, trials and values, where, and ``notes`` on what is not as in the record."""

    to: Target
    path: str
    configs: int
    trials: int
    values: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        counts = f"{plural(self.configs, 'config')}, {plural(self.trials, 'trial')}, {plural(self.values, 'value')}"
        return "\n".join([f"wrote {counts} to {clean(self.path, 500)}", *(f"- {note}" for note in self.notes)])


def export(result: Result, path: str | Path, *, to: Target) -> Exported:
    """Write a sweep for another tool, which then opens it with its own means.

    ``to="csv"`` and ``"parquet"`` write two tables: a row a trial (as `Result.table`), and beside it ``STEM.curves.SUFFIX``
    with a row for each value of a metric. ``"optuna"`` writes a study with a trial a config: distributions, values,
    intermediate values, states, user attributes. ``"mlflow"`` writes an experiment with a run for each config and, nested in
    it, one for each seed. ``"tensorboard"`` writes a run a trial with its hyperparameters, those of a config grouped;
    ``"wandb"`` the same as offline runs, for ``wandb sync``. Every one has the state of each trial, failed, stopped and
    unfinished ones included, and each config exactly, as JSON.

    Args:
        result: The sweep, or part of it (``result.where(optimizer="adam")``).
        path: The file ("csv", "parquet", SQLite for "optuna" and "mlflow") or folder ("tensorboard", "wandb"). A storage's
            URL ("postgresql://...", "https://...") in its place is used for "optuna" and "mlflow".
        to: The tool or format.

    Returns:
        What was written, with notes on what the tool cannot hold; prints as text.

    Raises:
        ConfigError: ``to`` is not one of these, or there is something at ``path`` that would be overwritten or mixed with.
        MissingExtraError: The tool's package is not installed.
    """
    if to not in TARGETS:
        raise ConfigError(f"to={to!r} is not known: pass one of {', '.join(TARGETS)}.")
    place = str(path)
    if "://" in place and to not in ("optuna", "mlflow"):
        raise ConfigError(f"path={place!r} is a URL, which to={to!r} does not write to: pass a path.")
    if "://" not in place:
        _check_place(place, result.path, folder=to in ("tensorboard", "wandb"))
        if to in ("optuna", "mlflow") and set("?%#") & set(str(Path(place).absolute())):
            raise ConfigError(
                f"path={place!r} has one of ? % # in it, which means something else in the URL that {to} takes: "
                "pass another path."
            )
    contents = contents_of(result)
    if not contents.configs:
        raise ConfigError(f"{result.name!r} has no trials to export: run the sweep first.")
    notes = [*_WRITERS[to](contents, place), *_notes_on_values(contents, to)]
    trials = contents.trials
    return Exported(to, place, len(contents.configs), len(trials), contents.values, tuple(notes))


def _check_place(path: str, store: str, folder: bool) -> None:
    place = Path(path)
    if place.exists() and Path(store).exists() and place.samefile(store):
        raise ConfigError(f"the export would overwrite the record {store}: pass another path.")
    if place.is_dir() and not folder:
        raise ConfigError(f"{path!r} is a folder: pass the path of a file.")
    if not place.parent.is_dir():
        raise ConfigError(f"the folder {str(place.parent)!r} does not exist: make it, or pass another path.")


def _notes_on_values(contents: Contents, to: str) -> list[str]:
    as_text = [each.name for each in hyperparameters_of(contents) if each.as_text]
    if not as_text or to in ("csv", "mlflow"):  # all is text there
        return []
    names = ", ".join(clean(name) for name in as_text)
    return [f"{names}: values are written as text, as they are of several types or of one that {to} does not have."]
