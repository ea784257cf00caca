"""Several sweeps on one page: the best config of each, with intervals of the differences, and the findings of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.results.comparison import compare
from jsweep.results.ranking import ConfigScore
from jsweep.results.report.axes import rounded
from jsweep.results.report.content import MOST_STEPS, curves_of
from jsweep.results.report.page import SEVERAL, Page, written
from jsweep.results.statistics.intervals import Interval, mean_interval, paired_interval, unpaired_interval
from jsweep.results.summary import counts_of_trials, time_of
from jsweep.space import format_config

if TYPE_CHECKING:
    from jsweep.results.result import Result

MOST_SWEEPS = 20


def page_of_several(results: "Sequence[Result]", metric: Any = None) -> Page:
    """The page of several sweeps by one metric; see `jsweep.report`."""
    plotly = import_optional("plotly.offline", "report").get_plotlyjs()
    import_optional("scipy.stats", "report")
    if not 2 <= len(results) <= MOST_SWEEPS:
        raise ConfigError(f"{len(results)} results are to be put side by side: pass 2 to {MOST_SWEEPS}.")
    title = clean(", ".join(result.label for result in results), 200)
    return Page(title, written(title, content_of_several(results, metric), plotly, layout=SEVERAL))


def content_of_several(results: "Sequence[Result]", metric: Any) -> dict[str, Any]:
    """What the page shows, as JSON; ConfigError where the objectives differ, or a sweep has no config to select."""
    objective = compare(*results, metric=metric).objective
    best = [result.best(objective) for result in results]
    steps, bands = _curves(results, best, objective.metric)
    intervals = [mean_interval(score.values, overlap=score.overlap) for score in best]
    return {
        "title": clean(" and ".join(result.label for result in results), 400),
        "metric": clean(objective.metric, 200),
        "mode": objective.mode,
        "contenders": 0,
        "sweeps": [_described(result, score, best[0]) for result, score in zip(results, best)],
        "configs": {
            "mean": [rounded(score.mean) for score in best],
            "low": [rounded(interval.low) for interval in intervals],
            "high": [rounded(interval.high) for interval in intervals],
            "text": [clean(f"{result.label}: {format_config(s.config)}", 300) for result, s in zip(results, best)],
        },
        "steps": steps,
        "curves": bands,
    }


def difference(score: ConfigScore, first: ConfigScore) -> tuple[Interval, str]:
    """The 95% interval of the difference of two configs' means, and how it was found.

    It is paired over the seeds that both have, where these are two or more, and else Welch's of independent scores.
    """
    own, others = dict(zip(score.seeds, score.values)), dict(zip(first.seeds, first.values))
    shared = sorted(own.keys() & others.keys())
    if len(shared) >= 2:
        found = paired_interval([own[seed] for seed in shared], [others[seed] for seed in shared])
        return found, f"paired over {len(shared)} seeds"
    return unpaired_interval(score.values, first.values), f"unpaired, {len(own)} and {len(others)} seeds"


def _described(result: "Result", score: ConfigScore, first: ConfigScore) -> dict[str, Any]:
    interval, how = difference(score, first)
    findings = result.diagnose(score.metric).findings
    row = result.row
    return {
        "name": clean(result.label, 200),
        "store": clean(result.path, 300),
        "about": f"{counts_of_trials(result.trials())}; {time_of(row.created, row.settings.get('seconds'))}",
        "mean": rounded(score.mean),
        "seeds": len(score.values),
        "config": clean(format_config(score.config), 500),
        "difference": None
        if score is first
        else [rounded(v) for v in (_middle(score, first), interval.low, interval.high)],
        "how": "" if score is first else how,
        "findings": [[clean(each.seen, 2000), clean(each.advice, 2000)] for each in findings],
    }


def _middle(score: ConfigScore, first: ConfigScore) -> float:
    """The mean difference, over the seeds that its interval is of."""
    own, others = dict(zip(score.seeds, score.values)), dict(zip(first.seeds, first.values))
    shared = own.keys() & others.keys()
    if len(shared) >= 2:
        return sum(own[seed] - others[seed] for seed in shared) / len(shared)
    return score.mean - first.mean


def _curves(
    results: "Sequence[Result]", best: Sequence[ConfigScore], metric: str
) -> tuple[list[int], list[list[list[float | None]]]]:
    """The steps of all sweeps, and each best config's mean, lowest and highest at them; None where it has no evaluation."""
    found = [curves_of(result, [score], metric, result.trials()) for result, score in zip(results, best)]
    steps = sorted({step for _, own in found for step in own})
    bands = []
    for (band,), own in found:
        place = {step: index for index, step in enumerate(own)}
        bands.append([[row[place[step]] if step in place else None for step in steps] for row in band])
    assert all(len(own) <= MOST_STEPS for _, own in found)
    return steps, bands
