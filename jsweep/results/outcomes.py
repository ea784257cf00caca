"""What became of configs, as a search is told: the mean over seeds of each objective."""

import math
import statistics
from collections.abc import Mapping, Sequence

from jsweep.results.objective import Objective
from jsweep.results.result import Result
from jsweep.storage import Outcome, Status, Trial

_UNDER_WAY = (Status.WAITING, Status.RUNNING)


def outcomes(result: Result, objectives: Sequence[Objective]) -> dict[str, Outcome]:
    """The outcome of each config of which no trial is under way, by the config's id.

    A value is NaN where a seed failed or diverged. Of a config that a rule has stopped it is that of the last evaluation
    that all seeds have.
    """
    members: dict[str, list[Trial]] = {}
    for trial in sorted(result.trials(), key=lambda trial: trial.seed):
        members.setdefault(trial.config_id, []).append(trial)
    ended = {name: trials for name, trials in members.items() if not any(t.status in _UNDER_WAY for t in trials)}
    whole = [{score.config_id: score for score in result.ranking(objective)} for objective in objectives]
    curves = [result.curves(objective.metric) for objective in objectives]
    found: dict[str, Outcome] = {}
    for name, trials in ended.items():
        if all(trial.status in (Status.FINISHED, Status.FAILED) for trial in trials):
            scores = [by_config[name] for by_config in whole]
            found[name] = Outcome(tuple(score.mean if score.complete else math.nan for score in scores))
        else:
            found[name] = _stopped([[dict(curve[trial.id]) for trial in trials] for curve in curves])
    return found


def _stopped(curves: Sequence[Sequence[Mapping[int, float]]]) -> Outcome:
    """The outcome from each objective's curves, one a seed."""
    common = set.intersection(*(set(curve) for of_objective in curves for curve in of_objective))
    if not common:
        return Outcome((math.nan,) * len(curves))
    step = max(common)
    values = [[curve[step] for curve in of_objective] for of_objective in curves]
    means = [statistics.mean(own) if all(map(math.isfinite, own)) else math.nan for own in values]
    return Outcome(tuple(means), stopped=step)
