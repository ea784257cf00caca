"""What the reading verbs find, as records that print as the command line prints them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsweep._runtime.text import clean
from jsweep.results.incomplete import divergences, failures
from jsweep.results.ranking import ConfigScore
from jsweep.results.summary import counts_of_trials
from jsweep.results.text_table import config_columns, config_lines, format_table, spread
from jsweep.space import format_config
from jsweep.storage import Status, SweepRecord, TestOpening, Trial

WIDTH = 80
TOP = 20
MOST_FIXED = 400  # characters of what every config has in common
ENVIRONMENT = ("jsweep", "jax", "jaxlib", "platform", "device", "cores")


@dataclass(frozen=True)
class SweepSummary:
    """A sweep of a store in a line: ``trials`` is their number, ``tested`` how often its test split was opened."""

    name: str
    task: str
    trials: int
    finished: int
    stopped: int
    failed: int
    tested: int
    created: str


@dataclass(frozen=True, repr=False)
class SweepReport:
    """A sweep: its configs ranked, its trials, the ledger of its test split, and the environments it was run in."""

    sweep: SweepRecord
    ranking: Sequence[ConfigScore]
    trials: Sequence[Trial]
    ledger: Sequence[TestOpening]
    environments: Sequence[Mapping[str, Any]]

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int = WIDTH, top: int = TOP) -> str:
        """The first ``top`` configs and how the sweep was run, in lines of about ``width`` characters."""
        title = f"{clean(self.sweep.name)}: {counts_of_trials(self.trials)}"
        troubles = [divergences(self.trials), failures(self.sweep.name, self.trials)]
        machines = [
            "run with " + ", ".join(f"{name} {clean(found[name])}" for name in ENVIRONMENT if name in found)
            for found in self.environments
        ]
        openings = [
            f"test split opened {clean(entry.opened or '')} by {clean(entry.sweep)} at step {entry.step}, selected by "
            f"{clean(entry.metric)} ({clean(entry.mode)}, {clean(entry.rule)}, at {clean(entry.at)})"
            f"{'' if entry.complete else ', and nothing came of it'}"
            for entry in self.ledger
        ]
        ending = "\n".join([*machines, *openings])
        parts = [
            ranking_text(title, self.ranking, width, top),
            "\n".join(trouble for trouble in troubles if trouble),
            _roles_text(self.sweep.settings, width),
            ending,
        ]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, repr=False)
class TrialReport:
    """A trial: its row, and each metric's values by step."""

    trial: Trial
    curves: Mapping[str, Mapping[int, float]]

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int = WIDTH) -> str:
        """The trial's config, state and scores, in lines of about ``width`` characters."""
        trial = self.trial
        state = f"seed {trial.seed}, {trial.status}, {trial.done} of {trial.steps} steps"
        if trial.nonfinite is not None:
            state += f", NaN or infinite from step {trial.nonfinite}"
        lines = [
            f"trial {clean(trial.id)}: {state}",
            clean(trial.reason, 500) + (" (--traceback shows where)" * (trial.status == Status.FAILED))
            if trial.reason
            else "",
        ]
        steps = sorted({step for curve in self.curves.values() for step in curve})
        rows = [[step, *(curve.get(step, math.nan) for curve in self.curves.values())] for step in steps]
        parts = [
            "\n".join(line for line in [*lines, config_lines(trial.config)] if line),
            format_table("", ["step", *self.curves], rows, width) if rows else "",
        ]
        return "\n\n".join(part for part in parts if part)


def ranking_text(title: str, ranking: Sequence[ConfigScore], width: int = WIDTH, top: int = TOP) -> str:
    """The first ``top`` configs of a ranking as a table, best first, in lines of about ``width`` characters."""
    shown = ranking[:top]
    metric = ranking[0].metric if ranking else "score"
    columns: dict[str, Sequence[object]] = {
        "": range(1, len(shown) + 1),
        f"{metric} mean": [score.mean for score in shown],
        "std": [spread(score.std) for score in shown],
        "seeds": [len(score.values) for score in shown],
    }
    if len({score.step for score in ranking}) > 1:
        columns["step"] = [score.step for score in shown]
    if any(score.copies for score in shown):
        columns["copies"] = [score.copies for score in shown]
    if not all(score.complete for score in shown):
        columns["note"] = [_note(score) for score in shown]
    headings, cells = [*columns], [*columns.values()]
    fixed = _fixed([score.config for score in ranking])
    for name, texts in config_columns([score.config for score in shown]).items():
        if name not in fixed:
            headings.append(name)
            cells.append(texts)
    more = f"... and {len(ranking) - top} more configs (--top N shows more)" if len(ranking) > top else ""
    same = f"in every config: {clean(format_config(fixed), MOST_FIXED)}" if fixed else ""
    last = "hyperparameters of configs with copies are the last ones: Result.schedule(config) has all, step by step"
    table = format_table(title, headings, [*zip(*cells)], width)
    return "\n".join(part for part in [table, more, same, last if "copies" in columns else ""] if part)


def _fixed(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of several configs have in common, by name: no table needs a column of it."""
    if len(configs) < 2:
        return {}
    texts = config_columns(configs)
    everywhere = [name for name in configs[0] if all(name in config for config in configs)]
    return {name: configs[0][name] for name in everywhere if len(set(texts[name])) == 1}


def _note(score: ConfigScore) -> str:
    return "" if score.complete else "stopped" if score.stopped else "incomplete"


def _roles_text(settings: Mapping[str, Any], width: int) -> str:
    """How each hyperparameter was trained, and why; "" where the record does not say."""
    roles = settings.get("roles")
    if not isinstance(roles, Mapping) or not roles:
        return ""
    rows = [[name, *role] for name, role in roles.items() if isinstance(role, list) and len(role) == 2]
    return format_table("", ["name", "is", "because"], rows, width, most=200)
