"""What the checks look at, and what they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from jsweep._runtime.text import clean
from jsweep.results.curves import Curves
from jsweep.results.ranking import ConfigScore
from jsweep.storage import Trial


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about a sweep: what was seen, and what to try. ``check`` is the name of the check."""

    check: str
    seen: str
    advice: str

    def __str__(self) -> str:
        return clean(f"{self.seen} {self.advice}", 2000)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A sweep's scores by one objective.

    ``ranking`` has every config at its last step, best first. ``steps`` are the evaluations of the best config, shape
    (evaluations,); ``curve`` its objective and ``training`` its training loss at each, shape (seeds, evaluations), NaN
    where nothing is recorded. ``outcomes`` has all last scores of each config by its id, under every seed; ``diverged``
    are the ids of configs of which a seed became NaN or infinite. ``confirms`` says whether the sweep trains the best
    configs of another one under fresh seeds.
    """

    ranking: Sequence[ConfigScore]
    outcomes: Mapping[str, object]
    diverged: frozenset[str]
    steps: Int64[np.ndarray, " evaluations"]
    curve: Float64[np.ndarray, "seeds evaluations"]
    training: Float64[np.ndarray, "seeds evaluations"]
    confirms: bool = False

    @property
    def complete(self) -> list[ConfigScore]:
        """The configs that can be selected, best first."""
        return [score for score in self.ranking if score.complete]

    @property
    def best(self) -> ConfigScore:
        """The best config; there is one wherever a check looks."""
        return self.complete[0]

    def numeric(self, least: int) -> Mapping[str, list[float]]:
        """The hyperparameters that are numbers wherever they occur, with their ``least`` or more values, increasing."""
        values: dict[str, set[float]] = {}
        others: set[str] = set()
        for score in self.ranking:
            for name, value in score.config.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    others |= {name} if value is not None else set()
                else:
                    values.setdefault(name, set()).add(value)
        return {n: sorted(found) for n, found in values.items() if n not in others and len(found) >= least}

    def varied(self) -> list[str]:
        """The hyperparameters that have more than one value."""
        names = dict.fromkeys(name for score in self.ranking for name in score.config)
        absent = object()
        return [n for n in names if len({_key(score.config.get(n, absent)) for score in self.ranking}) > 1]


def evidence_of(
    ranking: Sequence[ConfigScore],
    trials: Sequence[Trial],
    curves: Curves,
    training: Curves | None,
    last: Mapping[int, Mapping[str, float]],
    confirms: bool = False,
) -> Evidence:
    """The evidence of a sweep.

    Args:
        ranking: every config at its last step, best first.
        trials: the trials.
        curves: the objective.
        training: the training loss, where it is recorded.
        last: each trial's last scores by metric, by its key in the record.
        confirms: whether the sweep trains the best configs of another one under fresh seeds.
    """
    best = next((score.trials for score in ranking if score.complete), ())
    steps = np.array(sorted({step for trial in best for step, _ in curves[trial]}), np.int64)
    outcomes: dict[str, list[object]] = {}
    for trial in trials:
        outcomes.setdefault(trial.config_id, []).append((trial.seed, *sorted(last.get(trial.key, {}).items())))
    return Evidence(
        ranking,
        {config: tuple(sorted(found, key=repr)) for config, found in outcomes.items()},
        frozenset(trial.config_id for trial in trials if trial.nonfinite is not None),
        steps,
        _rows(curves, best, steps),
        _rows(training, best, steps),
        confirms,
    )


def _rows(curves: Curves | None, trials: Sequence[str], steps: np.ndarray) -> np.ndarray:
    """Trials' values at ``steps``, NaN where there are none."""
    pairs = [dict(curves[trial]) if curves is not None else {} for trial in trials]
    return np.array([[own.get(int(step), np.nan) for step in steps] for own in pairs], np.float64).reshape(
        len(trials), len(steps)
    )


def _key(value: object) -> object:
    return value if isinstance(value, int | float | str | bool) else repr(value)


def gain(values: np.ndarray, mode: str) -> np.ndarray:
    """Scores of which larger ones are better."""
    return values if mode == "max" else -values
