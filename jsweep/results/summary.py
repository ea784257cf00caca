"""A result in a few lines: for print, and as HTML for notebooks."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jsweep._runtime.text import clean
from jsweep.results.objective import Objective
from jsweep.results.ranking import ConfigScore
from jsweep.results.text_table import config_columns
from jsweep.storage import Trial


@dataclass(frozen=True)
class Summary:
    """What is shown of a result."""

    name: str
    counts: str
    time: str
    objective: Objective | None
    top: Sequence[ConfigScore]
    note: str
    path: str

    def __str__(self) -> str:
        lines = [f"{clean(self.name)}: {self.counts}", self.time]
        if self.top:
            lines.append(self._heading())
            lines += [f"  {_score(score)}  {config}" for score, config in zip(self.top, _configs(self.top))]
        lines += [self.note] if self.note else []
        return "\n".join([*(line for line in lines if line), f"store: {clean(self.path, 500)}"])

    def html(self) -> str:
        """The same as HTML, every text escaped."""
        rows = "".join(
            f"<tr><td>{html.escape(_score(score))}</td><td>{html.escape(config)}</td></tr>"
            for score, config in zip(self.top, _configs(self.top))
        )
        table = (
            f"<table><thead><tr><th>{html.escape(self._heading())}</th><th>config</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
            if self.top
            else ""
        )
        texts = [f"<b>{html.escape(clean(self.name))}</b>: {html.escape(self.counts)}", html.escape(self.time)]
        end = [html.escape(self.note), f"store: <code>{html.escape(clean(self.path, 500))}</code>"]
        return "".join(f"<div>{part}</div>" for part in [*texts, table, *end] if part)

    def _heading(self) -> str:
        runs = max(self.top, key=lambda score: len(score.values)).runs
        goal = f" ({self.objective.mode})" if self.objective else ""
        return f"best by {clean(self.top[0].metric)}{goal}, mean ± std over {runs}:"


def counts_of(states: Counter[str], configs: int) -> str:
    """How many configs and trials there are, and how they stand: "4 configs, 12 trials (10 finished, 2 failed)"."""
    stands = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{plural(configs, 'config')}, {plural(states.total(), 'trial')}" + (f" ({stands})" if stands else "")


def counts_of_trials(trials: Sequence[Trial]) -> str:
    """`counts_of` trials."""
    states = Counter(str(trial.status) for trial in trials)
    return counts_of(states, len({trial.config_id for trial in trials}))


def time_of(created: str, seconds: object) -> str:
    """When a sweep was created, and how long it trained where that is recorded."""
    took = f", trained {seconds:.3g} s" if isinstance(seconds, int | float) else ""
    return f"created {clean(created)}{took}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 trial", "2 trials"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _score(score: ConfigScore) -> str:
    spread = f" ± {score.std:.2g}" if len(score.values) > 1 else ""
    return f"{score.mean:.5g}{spread}"


def _configs(scores: Sequence[ConfigScore]) -> list[str]:
    """The configs in words that tell them apart."""
    columns = config_columns([score.config for score in scores])
    texts = []
    for row, score in enumerate(scores):
        pairs = (f"{clean(name)}={clean(columns[name][row])}" for name in score.config)
        texts.append(clean(", ".join(pairs) or "(no hyperparameters)", 200))
    return texts
