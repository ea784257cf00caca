"""Configs ranked by a metric: mean and spread over seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jsweep.space import format_value
from jsweep.storage import TestOpening, Trial


@dataclass(frozen=True)
class ConfigScore:
    """One config's score by one metric: mean and spread over its seeds, and the trials behind it.

    ``values`` are the seeds' last scores in order of seed; ``std`` is their sample standard deviation (0.0 for one
    seed). ``complete`` is False where a seed failed, is unfinished, or has a score that is not finite: such a config is
    never chosen.
    """

    config_id: str
    config: Mapping[str, Any]
    metric: str
    mean: float
    std: float
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    trials: tuple[str, ...]
    complete: bool

    def __str__(self) -> str:
        config = ", ".join(f"{name}={format_value(value)}" for name, value in self.config.items())
        return f"{self.metric} {self.mean:.5g} ± {self.std:.2g} over {len(self.values)} seeds at {config}"


@dataclass(frozen=True)
class TestScore:
    """What opening the test split gave: for each metric one value a seed. ``from_ledger``: it had been opened before."""

    config: Mapping[str, Any]
    scores: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    opened: str
    from_ledger: bool

    def mean(self, metric: str) -> float:
        """The mean over seeds of ``test/NAME``."""
        return statistics.fmean(self.scores[metric])

    def __str__(self) -> str:
        parts = [
            f"{name} {statistics.fmean(values):.5g} ± {_spread(values):.2g}"
            for name, values in sorted(self.scores.items())
        ]
        source = "from the ledger, opened" if self.from_ledger else "opened"
        return f"{', '.join(parts)} over {len(self.seeds)} seeds ({source} {self.opened})"


def _config_score(metric: str, trials: Sequence[Trial], last: Mapping[int, Mapping[str, float]]) -> ConfigScore:
    trials = sorted(trials, key=lambda trial: trial.seed)
    values = tuple(last.get(trial.key, {}).get(metric, math.nan) for trial in trials)
    complete = all(math.isfinite(v) for v in values) and all(
        trial.status == "finished" and trial.nonfinite is None for trial in trials
    )
    return ConfigScore(
        trials[0].config_id,
        trials[0].config,
        metric,
        float(np.mean(values)) if all(math.isfinite(v) for v in values) else math.nan,
        _spread(values) if all(math.isfinite(v) for v in values) else math.nan,
        values,
        tuple(trial.seed for trial in trials),
        tuple(trial.id for trial in trials),
        complete,
    )


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _test_score(entry: TestOpening, from_ledger: bool) -> TestScore:
    scores = {name: tuple(values) for name, values in entry.scores.items()}
    return TestScore(entry.config, scores, tuple(entry.seeds), entry.opened, from_ledger)
