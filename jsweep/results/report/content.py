"""What the page shows, as JSON."""

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jsweep._runtime.text import clean
from jsweep.errors import JsweepError
from jsweep.results.contenders import contenders
from jsweep.results.importance import SAID
from jsweep.results.lineage import Lineage
from jsweep.results.ranking import ConfigScore, score_of_opening
from jsweep.results.report.axes import axes_of, rounded
from jsweep.results.statistics.intervals import mean_interval
from jsweep.results.summary import counts_of_trials, time_of
from jsweep.space import format_config
from jsweep.storage import TestOpening, Trial

if TYPE_CHECKING:
    from jsweep.results.result import Result

Trained: TypeAlias = tuple[int, int, Mapping[str, Any]]
"""The first and the last step of a stretch of training, and what it trained with."""

MOST_CONFIGS = 20_000  # in the charts and the table
MOST_CURVES = 200  # configs whose curves are kept
MOST_STEPS = 200  # evaluations of a curve
MOST_LINES = 100  # configs of a population
MOST_REPLAYED = 3
MOST_EFFECTS = 12
ENVIRONMENT = ("jsweep", "jax", "jaxlib", "numpy", "python", "platform", "device", "processor", "cores", "flags")


def content_of(result: "Result", metric: Any) -> dict[str, Any]:
    """Everything that the page of a sweep shows, by one metric (None: the sweep's objective)."""
    diagnosis, ranking, trials = result.diagnose(metric), list(result.ranking(metric)), result.trials()
    places = kept_places(len(ranking))
    kept = [ranking[place] for place in places]
    complete = [score for score in ranking if score.complete]
    curves, steps = curves_of(result, kept[:MOST_CURVES], diagnosis.metric, trials)
    return {
        "title": clean(result.label, 200),
        "subtitle": f"{counts_of_trials(trials)}; {time_of(result.row.created, result.row.settings.get('seconds'))}",
        "metric": clean(diagnosis.metric, 200),
        "mode": ranking[0].mode if ranking else "min",
        "findings": [[clean(f.check), clean(f.seen, 2000), clean(f.advice, 2000)] for f in diagnosis.findings],
        "best": clean(str(complete[0]), 2000) if complete else None,
        "contenders": len(contenders(ranking)) if complete else 0,
        "configs": _columns(kept) | {"rank": [place + 1 for place in places]},
        "axes": axes_of(kept),
        "steps": steps,
        "curves": curves,
        "ladder": ladder_of(ranking),
        "lineage": _lineage(result.lineage(), ranking),
        "importance": _importance(result, metric),
        "environments": _environments(result, trials),
        "replay": _replay(result, complete),
        "ledger": [_opening(entry) for entry in result.ledger()],
        "notes": _notes(ranking, len(kept), steps),
    }


def kept_places(count: int, most: int = MOST_CONFIGS) -> list[int]:
    """The ranks, from 0, of the configs shown: all, or the best half of ``most`` and as many of the others, evenly spaced."""
    if count <= most:
        return [*range(count)]
    half = most // 2
    return [*range(half), *np.linspace(half, count - 1, most - half).round().astype(int).tolist()]


def curves_of(
    result: "Result", scores: Sequence[ConfigScore], metric: str, trials: Sequence[Trial]
) -> tuple[list[list[list[float | None]]], list[int]]:
    """Mean, lowest and highest over seeds of each config at each evaluation, None where a seed has no finite value."""
    wanted = {trial for score in scores for trial in score.trials}
    recorded = result.recorded(trial for trial in trials if trial.id in wanted)
    pairs = {trial: dict(curves.get(metric, ())) for trial, curves in recorded.items()}
    steps = sorted({step for curve in pairs.values() for step in curve})
    if len(steps) > MOST_STEPS:
        steps = [steps[i] for i in np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    return [_band([pairs[trial] for trial in score.trials], steps) for score in scores], steps


def ladder_of(ranking: Sequence[ConfigScore]) -> list[list[int]]:
    """For each step at which the rule stopped a config or one ended: the step, and how many configs reached it."""
    if not any(score.stopped for score in ranking):
        return []
    ends = np.array([score.step for score in ranking if score.stopped or score.complete])
    return [[int(step), int((ends >= step).sum())] for step in np.unique(ends)]


def _lineage(lineage: Lineage, ranking: Sequence[ConfigScore]) -> dict[str, Any]:
    """What configs trained with from step to step, by hyperparameter: of all as [steps, values] with gaps, and of the best."""
    changed = {name for copies in lineage.copies.values() for copy in copies for name in copy.values}
    names = [
        name for name in dict.fromkeys(name for own in lineage.configs.values() for name in own) if name in changed
    ]
    if not ranking or not names:
        return {"names": [], "all": [], "best": [], "copies": 0}
    best, shown = ranking[0], ranking[:MOST_LINES]
    own = [_stretches(lineage, score) for score in shown]
    back = [(each.begin, each.end, each.config) for each in lineage.path(best.config_id, best.step)]
    return {
        "names": [clean(name, 200) for name in names],
        "all": [_line([stretch for stretches in own for stretch in (*stretches, None)], name) for name in names],
        "best": [_line(back, name) for name in names],
        "copies": sum(map(len, lineage.copies.values())),
    }


def _stretches(lineage: Lineage, score: ConfigScore) -> list[Trained]:
    copies = sorted(copy.step for copy in lineage.copies.get(score.config_id, ()))
    return [(a, b, lineage.trained(score.config_id, b)) for a, b in itertools.pairwise([0, *copies, score.step])]


def _line(stretches: Sequence[Trained | None], name: str) -> list[list[float | None]]:
    """Steps and values of a line that keeps its value over each stretch; None is a gap."""
    points: list[tuple[float | None, float | None]] = []
    for stretch in stretches:
        value = None if stretch is None else stretch[2].get(name)
        if stretch is None or not isinstance(value, int | float):
            points.append((None, None))
        else:
            points += [(stretch[0], rounded(value)), (stretch[1], rounded(value))]
    return [[step for step, _ in points], [value for _, value in points]]


def _importance(result: "Result", metric: Any) -> dict[str, Any]:
    """The largest effects as [name, share, whether it is of one hyperparameter], and what to know of them."""
    try:
        found = result.importance(metric)
    except JsweepError as error:  # too few configs, none that differ, or Optuna is not installed
        return {"title": "", "effects": [], "notes": [clean(error, 500)]}
    shares = [(name, share, True) for name, share in found.main.items()]
    shares += [(f"{one} x {other}", share, False) for (one, other), share in found.pairs.items()]
    known = sorted((each for each in shares if math.isfinite(each[1])), key=lambda each: -each[1])[:MOST_EFFECTS]
    title = f"{'share of the variance' if found.method == 'anova' else 'importance'} ({SAID[found.method]})"
    notes = [clean(note, 500) for note in found.notes]
    if len(shares) > len(known):
        notes.append(f"The largest {len(known)} of {len(shares)} effects are shown.")
    return {
        "title": title,
        "effects": [[clean(n, 200), rounded(share), one] for n, share, one in known],
        "notes": notes,
    }


def _band(curves: Sequence[Mapping[int, float]], steps: Sequence[int]) -> list[list[float | None]]:
    values = np.array([[curve.get(step, np.nan) for step in steps] for curve in curves]).reshape(
        len(curves), len(steps)
    )
    values[~np.isfinite(values)] = np.nan
    with np.errstate(over="ignore"):
        rows = (values.mean(axis=0), values.min(axis=0), values.max(axis=0))
    return [[rounded(value) for value in row] for row in rows]


def _columns(scores: Sequence[ConfigScore]) -> dict[str, list[Any]]:
    intervals = [mean_interval(score.values, overlap=score.overlap) for score in scores[:MOST_CURVES]]
    return {
        "id": [clean(score.config_id[:10]) for score in scores],
        "mean": [rounded(score.mean) for score in scores],
        "std": [rounded(score.std) if len(score.values) > 1 else None for score in scores],
        "seeds": [len(score.values) for score in scores],
        "step": [score.step for score in scores],
        "state": [0 if score.complete else 1 if score.stopped else 2 for score in scores],
        "low": [rounded(interval.low) for interval in intervals],
        "high": [rounded(interval.high) for interval in intervals],
        "text": [clean(format_config(score.config), 300) for score in scores[:MOST_CURVES]],
    }


def _environments(result: "Result", trials: Sequence[Trial]) -> list[list[list[str]]]:
    used = {trial.environment for trial in trials}
    found = [described for number, described in result.environments().items() if number in used]
    return [[[name, clean(str(each[name]), 500)] for name in ENVIRONMENT if each.get(name)] for each in found]


def _replay(result: "Result", complete: Sequence[ConfigScore]) -> list[str]:
    store = shlex.quote(clean(result.path, 500))
    trials = complete[0].trials[:MOST_REPLAYED] if complete else ()
    return [f"jsweep replay {clean(trial)} FILE.py --store {store}" for trial in trials]


def _opening(entry: TestOpening) -> list[str]:
    chosen = f"{entry.metric} ({entry.mode}, {entry.rule}, at {entry.at})"
    outcome = str(score_of_opening(entry, True)).partition(" (")[0] if entry.complete else "nothing came of it"
    cells = (entry.opened or "", entry.sweep, chosen, format_config(entry.config), str(entry.step), outcome)
    return [clean(cell, 500) for cell in cells]


def _notes(ranking: Sequence[ConfigScore], kept: int, steps: Sequence[int]) -> list[str]:
    configs, complete = len(ranking), sum(score.complete for score in ranking)
    early = sum(score.stopped and not score.complete and math.isfinite(score.mean) for score in ranking)
    notes = ["Numbers are rounded to five significant digits."]
    if early:
        notes.append(
            f"The {early:,} of {configs:,} configs that were stopped early are shown in grey at their last scores, which are not "
            "those that they would have ended with."
        )
    if complete + early < configs:
        notes.append(
            f"The charts of hyperparameters leave out {configs - complete - early:,} of {configs:,} configs, which failed, "
            "diverged, were never begun or have not finished."
        )
    if kept < configs:
        notes.append(
            f"Of {configs:,} configs the charts and the table have {kept:,}: the best {MOST_CONFIGS // 2:,}, and as "
            "many of the others, evenly spaced by rank. Findings, best config and rivals are those of all."
        )
    if kept > MOST_CURVES:
        notes.append(f"Curves and intervals are those of the best {MOST_CURVES} configs.")
    if len(steps) == MOST_STEPS:
        notes.append(f"A curve has at most {MOST_STEPS} evaluations, evenly spaced.")
    return notes
