"""Configs ranked by a metric over their seeds, and one of them selected."""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias

from jsweep._runtime.text import clean
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError, UnknownNameError
from jsweep.results.objective import Objective
from jsweep.space import format_config
from jsweep.storage import Status, TestOpening, Trial
from jsweep.storage.standing import ENDED

At: TypeAlias = Literal["last", "best"] | SupportsIndex
"""The evaluation that counts: the last, each config's best, or the one after that many steps."""

Evaluation: TypeAlias = Literal["last", "best"] | int
"""An `At` that has been checked."""

Rule: TypeAlias = Literal["mean", "one-standard-error"]
Simplest: TypeAlias = Callable[[Mapping[str, Any]], Any] | Sequence[str]
Scores: TypeAlias = Mapping[str, Mapping[int, Mapping[int, float]]]
"""Recorded values: metric -> a trial's key in the record -> step -> value."""

LOSSES = ("train/loss", "validation/loss")


@dataclass(frozen=True)
class ConfigScore:
    """One config's score by one metric: mean and spread over its seeds, and the trials behind it.

    ``values`` are the seeds' scores after ``step`` steps, in order of seed; ``std`` is their sample standard deviation
    (0.0 for one seed). ``complete`` says that every seed has finished, and that at this step both the metric and the
    loss are finite; a config for which it is False is never selected. ``mode`` is "min" or "max". ``stopped``: the sweep's
    rule or the user stopped it before its end, so it is complete only at a step, or at its best one, and not at the last.
    ``copies`` says how often the rule had replaced it by a copy of another; ``config`` is what it trained with on its way to
    ``step``, and `Result.schedule` what it trained with before. ``overlap`` is above 0 where the values are of folds, whose
    trainings share examples: the variance of their mean is ``1/n + overlap`` times that of one value, where overlap is the
    ratio of a fold's validation to its training examples (Nadeau and Bengio, 2003, "Inference for the generalization error").
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
    step: int
    mode: Mode
    stopped: bool = False
    overlap: float = 0.0
    copies: int = 0

    @property
    def runs(self) -> str:
        """What the mean is over, in words: seeds, or folds and seeds."""
        count = len(self.values)
        return f"{count} runs (folds and seeds)" if self.overlap else f"{count} seed{'s' * (count != 1)}"

    @property
    def standard_error(self) -> float:
        """The standard error of the mean over seeds; NaN for one seed."""
        count = len(self.values)
        return self.std * math.sqrt(1 / count + self.overlap) if count > 1 else math.nan

    def __str__(self) -> str:
        spread = f" ± {self.std:.2g}" if len(self.values) > 1 else ""
        where = f"{clean(self.metric)} {self.mean:.5g}{spread} over {self.runs} at step {self.step}"
        copied = f" (last, after {self.copies} cop{'ies' if self.copies > 1 else 'y'})" if self.copies else ""
        return f"{where}: {clean(format_config(self.config), 1000)}{copied}"


@dataclass(frozen=True)
class TestScore:
    """The scores on the test split: for each metric one value a seed; ``from_ledger``: it had been opened before.

    ``metric``, ``mode``, ``rule`` and ``at`` say how validation selected the config; the parameters tested are those after
    ``step`` steps.
    """

    config: Mapping[str, Any]
    scores: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    opened: str
    from_ledger: bool
    metric: str
    mode: str
    rule: str
    at: str
    step: int

    def mean(self, metric: str) -> float:
        """The mean over seeds of ``test/NAME``."""
        if metric not in self.scores:
            raise UnknownNameError(
                f"metric={metric!r} was not measured on the test split: it has {', '.join(self.scores)}."
            )
        return statistics.mean(self.scores[metric])

    def __str__(self) -> str:
        parts = [
            f"{clean(name)} {statistics.mean(values):.5g} ± {spread_of(values):.2g}"
            for name, values in sorted(self.scores.items())
        ]
        source = "from the ledger, opened" if self.from_ledger else "opened"
        return f"{', '.join(parts)} over {len(self.seeds)} model{'s' * (len(self.seeds) != 1)} ({source} {clean(self.opened)})"


@dataclass(frozen=True)
class Selection:
    """How one config is selected: the evaluation, the rule, and the order of simplicity that the rule needs."""

    at: At = "last"
    rule: Rule = "mean"
    simplest: Simplest | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", check_at(self.at))
        if self.rule not in ("mean", "one-standard-error"):
            raise ConfigError(f"rule={self.rule!r} is not valid: pass 'mean' or 'one-standard-error'.")
        if self.rule == "mean" and self.simplest is not None:
            raise ConfigError("simplest= is only used by rule='one-standard-error': pass that rule, or leave it out.")
        if self.rule == "one-standard-error":
            _check_simplest(self.simplest)


def check_at(at: At) -> Evaluation:
    """``at`` as "last", "best" or a whole number of steps; ConfigError for anything else."""
    if isinstance(at, str) and (at == "last" or at == "best"):
        return at
    try:
        step = operator.index(at)
    except TypeError:
        step = -1
    if step < 0 or isinstance(at, bool):
        raise ConfigError(f"at={at!r} is not valid: pass 'last', 'best' or a number of steps.")
    return step


def _check_simplest(simplest: Any) -> None:
    if callable(simplest):
        return
    named = isinstance(simplest, Sequence) and not isinstance(simplest, str) and len(simplest) > 0
    if named and all(isinstance(name, str) for name in simplest):
        return
    raise ConfigError(
        f"simplest={simplest!r} does not order configs: with rule='one-standard-error' pass a function of the config, or "
        "a list of hyperparameters whose smaller values are simpler, as in simplest=['width']."
    )


def rank(
    trials: Sequence[Trial], objective: Objective, at: Literal["best"] | int, scores: Scores, overlap: float = 0.0
) -> list[ConfigScore]:
    """Score every config and order them, best first; incomplete ones come last, and ties keep the order of the trials.

    For what each trial ended with see `jsweep.results.last_ranking`.
    Of the incomplete ones those that a rule stopped come first, by their last step and then by their score.

    Args:
        trials: The trials, in the order of the record.
        objective: The metric, with its direction.
        at: The evaluation that counts; "best" is, for each config, the step at which its mean over seeds is best.
        scores: The recorded values of the metric, and of those of `LOSSES` that are recorded.
        overlap: As in `ConfigScore`.

    Returns:
        A score for each config.
    """
    assert objective.mode is not None
    members: dict[str, list[Trial]] = {}
    for trial in trials:
        members.setdefault(trial.config_id, []).append(trial)
    scored = [_score(sorted(own, key=lambda t: t.seed), objective, at, scores, overlap) for own in members.values()]
    sign = -1 if objective.mode == "max" else 1
    return sorted(scored, key=lambda score: _place(score, sign))


def _place(score: ConfigScore, sign: int) -> tuple[bool, bool, int, float]:
    """What configs are ranked by."""
    shown = score.complete or (score.stopped and math.isfinite(score.mean))
    return not score.complete, not shown, 0 if score.complete else -score.step, sign * score.mean if shown else 0.0


def select(ranking: Sequence[ConfigScore], selection: Selection) -> ConfigScore:
    """The config that ``selection`` chooses from a ranking whose first config is complete.

    The one-standard-error rule takes the simplest of the complete configs whose mean is within one standard error of
    the best mean, the standard error being that of the best config over its seeds; of equally simple ones the best.

    Raises:
        ConfigError: The rule needs a standard error and the best config has one seed, or the configs cannot be ordered.
    """
    best = ranking[0]
    if selection.rule == "mean":
        return best
    if len(best.values) < 2:
        raise ConfigError(
            "rule='one-standard-error' needs the spread over seeds, and the best config has one seed: train with "
            "seeds=3 or more, or pass rule='mean'."
        )
    near = [s for s in ranking if s.complete and abs(s.mean - best.mean) <= best.standard_error]
    simplest = selection.simplest
    key = simplest if callable(simplest) else _by_names(ranking, simplest or ())
    try:
        return min(near, key=lambda score: key(score.config))
    except TypeError as error:
        raise ConfigError(
            f"simplest={simplest!r} gives values that cannot be compared ({error}): pass a function that returns a number."
        ) from error


def diverged_at(trial: Trial, step: int, metric: str, scores: Scores) -> bool:
    """Whether the metric or a loss of a trial, where recorded at ``step``, is NaN or infinite there.

    The loss counts for every metric, as others can hide that a state is NaN: the class that argmax finds in NaN is 0, and
    the accuracy a finite number. No other metric counts but the one that ranks.
    """
    values = (scores.get(name, {}).get(trial.key, {}).get(step, 0.0) for name in (metric, *LOSSES))
    return not all(math.isfinite(value) for value in values)


def _score(
    trials: Sequence[Trial], objective: Objective, at: Literal["best"] | int, scores: Scores, overlap: float
) -> ConfigScore:
    """The score of one config from its trials, in order of seed."""
    steps = _steps(trials, objective, at, scores)
    recorded = scores.get(objective.metric, {})
    values = tuple(recorded.get(t.key, {}).get(step, math.nan) for t, step in zip(trials, steps))
    finite = all(math.isfinite(value) for value in values)
    healthy = not any(diverged_at(trial, step, objective.metric, scores) for trial, step in zip(trials, steps))
    return ConfigScore(
        config_id=trials[0].config_id,
        config=trials[0].config,
        metric=objective.metric,
        mean=mean_of(values) if finite else math.nan,
        std=spread_of(values) if finite else math.nan,
        values=values,
        seeds=tuple(trial.seed for trial in trials),
        trials=tuple(trial.id for trial in trials),
        complete=finite and healthy and all(trial.status in ENDED for trial in trials),
        step=max(steps),
        mode=objective.mode or "min",
        stopped=any(trial.status == Status.STOPPED for trial in trials),
        overlap=overlap,
    )


def _steps(trials: Sequence[Trial], objective: Objective, at: Literal["best"] | int, scores: Scores) -> list[int]:
    """The step each seed is looked at: the same for all, but for the ends of those without a common step."""
    if at != "best":
        return [at] * len(trials)
    curves = [scores.get(objective.metric, {}).get(trial.key, {}) for trial in trials]
    means = {
        step: mean_of([curve[step] for curve in curves])
        for step in sorted(set(curves[0]).intersection(*curves[1:]))
        if not any(diverged_at(trial, step, objective.metric, scores) for trial in trials)
    }
    if not means:
        return [trial.steps for trial in trials]
    return [(max if objective.mode == "max" else min)(means, key=lambda step: means[step])] * len(trials)


def _by_names(ranking: Sequence[ConfigScore], names: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    """An order of configs by the values of ``names``; a config without the name comes before all that have it."""
    known = dict.fromkeys(name for score in ranking for name in score.config)
    for name in names:
        if name not in known:
            raise UnknownNameError(f"simplest names {name!r}, which no config has: it is one of {', '.join(known)}.")
        for score in ranking:
            if isinstance(score.config.get(name), str):
                raise ConfigError(
                    f"simplest names {name!r}, whose values are text such as {score.config[name]!r}: pass a function of "
                    "the config that returns a number."
                )
    return lambda config: [(config.get(name) is not None, *_present(config.get(name))) for name in names]


def _present(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def mean_of(values: Sequence[float]) -> float:
    """The mean of values, whatever their order; of one value, itself."""
    try:
        return math.fsum(values) / len(values)
    except (OverflowError, ValueError):  # the sum is beyond the largest number, or infinities cancel
        return statistics.mean(values)


def spread_of(values: Sequence[float]) -> float:
    """The sample standard deviation; 0.0 for one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def score_of_opening(entry: TestOpening, from_ledger: bool) -> TestScore:
    """An entry of the ledger as a `TestScore`."""
    scores = {name: tuple(values) for name, values in entry.scores.items()}
    return TestScore(
        config=entry.config,
        scores=scores,
        seeds=tuple(entry.seeds),
        opened=entry.opened or "",
        from_ledger=from_ledger,
        metric=entry.metric,
        mode=entry.mode,
        rule=entry.rule,
        at=entry.at,
        step=entry.step,
    )
