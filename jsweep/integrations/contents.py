"""What an export hands over: a sweep's configs, trials and curves, read at one moment of the record."""

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jsweep.errors import ConfigError
from jsweep.results.objective import Objective
from jsweep.results.ranking import ConfigScore
from jsweep.results.result import Result
from jsweep.space import Named, encode
from jsweep.storage import Status, Trial

Curve: TypeAlias = Sequence[tuple[int, float]]
Scalar: TypeAlias = bool | int | float | str

LARGEST_WHOLE = 2**53  # beyond it a float64, in which most tools keep numbers, skips whole numbers


@dataclass(frozen=True)
class ConfigContents:
    """A config with its trials, in order of seed, and its score by each objective."""

    id: str
    config: Mapping[str, Any]
    trials: Sequence[Trial]
    scores: Sequence[ConfigScore]

    @property
    def complete(self) -> bool:
        """Whether it could be selected: every seed finished, with finite scores."""
        return bool(self.scores) and all(score.complete for score in self.scores)

    @property
    def status(self) -> Status:
        """How the config stands: failed or stopped where one of its seeds is, finished where all are."""
        found = {trial.status for trial in self.trials}
        for status in (Status.FAILED, Status.STOPPED, Status.RUNNING):
            if status in found:
                return status
        return found.pop() if len(found) == 1 else Status.RUNNING


@dataclass(frozen=True)
class Contents:
    """A sweep as it is exported.

    ``objectives`` have their directions; there are none where the record does not know them. ``curves`` has for each
    trial's id every metric's (step, value) pairs.
    """

    name: str
    task: str
    created: str
    store: str
    objectives: Sequence[Objective]
    metrics: Sequence[str]
    configs: Sequence[ConfigContents]
    curves: Mapping[str, Mapping[str, Curve]]

    @property
    def trials(self) -> list[Trial]:
        """All trials, those of one config together."""
        return [trial for config in self.configs for trial in config.trials]

    @property
    def values(self) -> int:
        """How many values the curves have."""
        return sum(len(curve) for own in self.curves.values() for curve in own.values())


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter as other tools can hold it.

    ``values`` maps the ids of the configs that have it to numbers, bools or text, all of one ``kind``. ``as_text`` says
    that the values themselves are of other or several types.
    """

    name: str
    kind: Literal["int", "float", "bool", "text"]
    values: Mapping[str, Scalar]
    as_text: bool


def contents_of(result: Result) -> Contents:
    """Read what is exported of a sweep; all of it at one moment."""
    with result.snapshot():
        trials = result.trials()
        objectives = _objectives(result)
        rankings = [{score.config_id: score for score in result.ranking(objective)} for objective in objectives]
        curves = result.recorded(trials)
        members: dict[str, list[Trial]] = {}
        for trial in trials:
            members.setdefault(trial.config_id, []).append(trial)
        configs = [
            ConfigContents(id, own[0].config, sorted(own, key=lambda t: t.seed), [ranking[id] for ranking in rankings])
            for id, own in members.items()
        ]
        row = result.row
        return Contents(row.name, row.task, row.created, result.path, objectives, result.metrics(), configs, curves)


def hyperparameters_of(contents: Contents) -> list[Hyperparameter]:
    """The hyperparameters of a sweep, in the order in which configs name them."""
    names = dict.fromkeys(name for config in contents.configs for name in config.config)
    return [_hyperparameter(name, contents.configs) for name in names]


def mean_curve(curves: Iterable[Curve]) -> Curve:
    """The mean over several curves at each step that all of them have; NaN where one of them is, as in a ranking."""
    by_step = [dict(curve) for curve in curves]
    common = sorted(set(by_step[0]).intersection(*by_step[1:])) if by_step else []
    return [(step, _mean([curve[step] for curve in by_step])) for step in common]


def text_of(value: Any) -> str:
    """A hyperparameter as text with every digit: functions by name, tuples and lists as Python writes them."""
    if isinstance(value, Named):
        return value.name
    if isinstance(value, tuple):
        return "(" + ", ".join(map(text_of, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {text_of(item)}" for name, item in value.items()) + "}"
    return value if isinstance(value, str) else repr(value)


def file_name(text: str) -> str:
    """Text from a record as the name of a file or folder: it can lead nowhere else."""
    return re.sub(r"[^\w-]", "_", text)[:80] or "_"


def check_new_folder(path: str) -> Path:
    """The path; ConfigError where something is there already, which an export would mix with or overwrite."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{path!r} exists and is not an empty folder: pass the path of a new one.")
    return folder


def _objectives(result: Result) -> tuple[Objective, ...]:
    try:
        return result.objectives
    except ConfigError:  # of no known direction, so that nothing can be ranked
        return ()


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if all(map(math.isfinite, values)) else sum(values)


def _hyperparameter(name: str, configs: Sequence[ConfigContents]) -> Hyperparameter:
    found = {each.id: each.config[name] for each in configs if name in each.config}
    kinds = {type(value) for value in found.values()}
    if kinds == {bool}:
        return Hyperparameter(name, "bool", found, False)
    if kinds == {str}:
        return Hyperparameter(name, "text", found, False)
    if kinds <= {int, float} and all(
        math.isfinite(v) if type(v) is float else abs(v) <= LARGEST_WHOLE for v in found.values()
    ):
        return Hyperparameter(name, "int" if kinds == {int} else "float", found, False)
    codes = {id: json.dumps(encode(value), sort_keys=True) for id, value in found.items()}
    texts = {codes[id]: text_of(value) for id, value in found.items()}
    if len(set(texts.values())) < len(texts):  # the string "None" and None, for example
        texts = {code: code for code in texts}
    return Hyperparameter(name, "text", {id: texts[codes[id]] for id in found}, True)
