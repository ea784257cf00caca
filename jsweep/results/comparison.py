"""The best configs of several sweeps beside each other, seed by seed."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.results.objective import Objective
from jsweep.results.ranking import At, ConfigScore, Evaluation, check_at
from jsweep.results.result import Result
from jsweep.results.text_table import config_columns, format_table, spread


@dataclass(frozen=True)
class Compared:
    """One sweep's best config beside the first sweep's.

    ``difference`` is the mean, over the ``shared_seeds`` seeds that both have, of this config's score less the first's;
    ``standard_error`` that of the mean difference, NaN for fewer than two shared seeds.
    """

    sweep: str
    config: Mapping[str, Any]
    config_id: str
    step: int
    mean: float
    std: float
    seeds: tuple[int, ...]
    difference: float
    standard_error: float
    shared_seeds: int


@dataclass(frozen=True, repr=False)
class Comparison:
    """The best config of each sweep by ``objective``, compared with the first sweep's; prints as a table."""

    objective: Objective
    at: Evaluation
    rows: tuple[Compared, ...]

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int = 80) -> str:
        """The table, in lines of at most ``width`` characters where a cell allows."""
        metric, rows = self.objective.metric, self.rows
        columns: list[tuple[str, Sequence[object]]] = [
            ("sweep", [row.sweep for row in rows]),
            (f"{metric} mean", [row.mean for row in rows]),
            ("std", [spread(row.std) for row in rows]),
            ("seeds", [len(row.seeds) for row in rows]),
            ("difference", [row.difference for row in rows]),
            ("std. error", [spread(row.standard_error) for row in rows]),
            ("shared seeds", [row.shared_seeds for row in rows]),
        ]
        if self.at == "best":
            columns.insert(4, ("step", [row.step for row in rows]))
        columns += config_columns([row.config for row in rows]).items()
        cells = [*zip(*(column for _, column in columns))]
        when = {"last": "", "best": ", each at its best step"}.get(str(self.at), f" at step {self.at}")
        return format_table(
            f"best by {clean(metric)} ({self.objective.mode}){when}", [name for name, _ in columns], cells, width
        )


def compare(*results: Result, metric: str | Objective | None = None, at: At = "last") -> Comparison:
    """Compare the best configs of sweeps, the first with each of the others, seed by seed.

    Seeds that both sweeps trained are paired: with common initialisation and data order (``pairing="common"``) the
    difference then has less spread than the scores.

    Args:
        *results: The sweeps, or parts of them (``result.where(optimizer="adam")``).
        metric: What to select and compare by; default: the sweeps' objective, which must be the same.
        at: The evaluation that counts, in steps; see `Result.ranking`.

    Returns:
        A `Comparison`, which prints as a table.

    Raises:
        ConfigError: There is nothing to compare, the sweeps' objectives differ, or a sweep has no config to select.
    """
    if not results:
        raise ConfigError(
            "there are no sweeps to compare: pass results, as in js.compare(js.open('sweeps.db', 'digits'))."
        )
    objectives = [result._directions().resolve(metric, result.name) for result in results]
    for result, objective in zip(results, objectives):
        if objective != objectives[0]:
            raise ConfigError(
                f"the sweeps have different objectives, {_said(objectives[0])} of {results[0].name!r} and {_said(objective)} "
                f"of {result.name!r}: pass one with metric= (--metric)."
            )
    scores = [result.best(objectives[0], at=at) for result in results]
    rows = [_compared(result.label, score, scores[0]) for result, score in zip(results, scores)]
    return Comparison(objectives[0], check_at(at), tuple(rows))


def paired_difference(
    values: Mapping[int, float], others: Mapping[int, float], overlap: float = 0.0
) -> tuple[float, float, int]:
    """The mean difference over the seeds that both have, its standard error (NaN for fewer than two), their number.

    ``overlap`` is that of `ConfigScore`.
    """
    shared = sorted(values.keys() & others.keys())
    differences = [values[seed] - others[seed] for seed in shared]
    if not shared or not all(map(math.isfinite, differences)):
        return math.nan, math.nan, len(shared)
    count = len(shared)
    error = statistics.stdev(differences) * math.sqrt(1 / count + overlap) if count > 1 else math.nan
    return statistics.mean(differences), error, len(shared)


def _compared(label: str, score: ConfigScore, first: ConfigScore) -> Compared:
    difference, error, shared = paired_difference(_by_seed(score), _by_seed(first), max(score.overlap, first.overlap))
    return Compared(
        sweep=label,
        config=score.config,
        config_id=score.config_id,
        step=score.step,
        mean=score.mean,
        std=score.std,
        seeds=score.seeds,
        difference=difference,
        standard_error=error,
        shared_seeds=shared,
    )


def _by_seed(score: ConfigScore) -> dict[int, float]:
    return dict(zip(score.seeds, score.values))


def _said(objective: Objective) -> str:
    return f"{objective.metric} ({objective.mode})"
