"""Sentences about trials that failed, diverged or have not finished: which, how many, and what to do."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence

from jsweep._runtime.text import clean
from jsweep.results.objective import Objective
from jsweep.results.ranking import LOSSES, Evaluation, Scores
from jsweep.storage import Status, Trial


def why_nothing_is_complete(
    sweep: str, trials: Sequence[Trial], objective: Objective, at: Evaluation, scores: Scores
) -> str:
    """The message of the error that no config can be selected.

    ``scores`` holds the whole curves of the metric and the losses.
    """
    causes = [
        failures(sweep, trials),
        _divergences(trials, objective.metric, at, scores),
        _stopped(trials),
        _unfinished(trials),
    ]
    if not trials:
        causes.append("it has no trials")
    elif not any(causes):
        causes.append("some of each config's seeds have no score at that step")
    where = "" if at == "last" else " at any step" if at == "best" else f" at step {at}"
    return (
        f"no config of {sweep!r} has finished with a finite {objective.metric}{where} under all its seeds: "
        f"{'; '.join(cause for cause in causes if cause)}."
    )


Recorded = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""By trial and metric the pairs of step and value."""


def divergences(trials: Sequence[Trial], recorded: Callable[[Sequence[Trial]], Recorded] | None = None) -> str:
    """How many trials had a state or a metric that was NaN or infinite, with the first of them; "" where none did.

    ``recorded`` reads scores, from which the metrics of the first are named.
    """
    found = [trial for trial in trials if trial.nonfinite is not None and trial.status != Status.FAILED]
    if not found:
        return ""
    first = min(found, key=lambda trial: trial.nonfinite or 0)
    curves = {} if recorded is None else recorded([first])[first.id]
    metrics = [name for name, pairs in curves.items() if not all(math.isfinite(value) for _, value in pairs)]
    where = f" in {clean(', '.join(metrics))}" if metrics else ", in the state or in a metric"
    return f"{_count(found)} became NaN or infinite, the first ({clean(first.id)}){where} at step {first.nonfinite}"


def failures(sweep: str, trials: Sequence[Trial]) -> str:
    """How many trials failed by an exception, with the first and how to see its traceback; "" where none did."""
    failed = [trial for trial in trials if trial.status == Status.FAILED]
    if not failed:
        return ""
    reason = clean(failed[0].reason or "an unknown error", 300).rstrip(".")
    command = f"jsweep show {shlex.quote(clean(sweep))} {clean(failed[0].id)} --traceback"
    return f"{_count(failed)} failed, the first with {reason}; see {command}"


def _divergences(trials: Sequence[Trial], metric: str, at: Evaluation, scores: Scores) -> str:
    firsts = [_first_nonfinite(trial, metric, at, scores) for trial in trials if trial.status != Status.FAILED]
    steps = [step for step in firsts if step is not None]
    if not steps:
        return ""
    number = f"{len(steps)} trial{'s' * (len(steps) != 1)}"
    return (
        f"{number} became NaN or infinite, the first at step {min(steps)} (look for labels out of range, inputs that are "
        "not finite or not scaled, or a learning rate that is too large)"
    )


def _stopped(trials: Sequence[Trial]) -> str:
    stopped = [trial for trial in trials if trial.status == Status.STOPPED]
    if not stopped:
        return ""
    were = "was" if len(stopped) == 1 else "were"
    return f"{_count(stopped)} {were} stopped by the sweep's rule or the user (at='best' selects among these, too)"


def _unfinished(trials: Sequence[Trial]) -> str:
    left = [trial for trial in trials if trial.status in (Status.WAITING, Status.RUNNING)]
    if not left:
        return ""
    return f"{_count(left)} {'has' if len(left) == 1 else 'have'} not finished (run the sweep again to resume it)"


def _first_nonfinite(trial: Trial, metric: str, at: Evaluation, scores: Scores) -> int | None:
    """The first step at which the metric or a loss was not finite, as exactly as the record says."""
    curve = {
        step: all(math.isfinite(scores.get(name, {}).get(trial.key, {}).get(step, 0.0)) for name in (metric, *LOSSES))
        for step in sorted({s for name in (metric, *LOSSES) for s in scores.get(name, {}).get(trial.key, {})})
    }
    last = trial.steps if at == "last" else None if at == "best" else at
    wrong = [step for step, finite in curve.items() if not finite]
    if not wrong or (last is not None and curve.get(last, True)):  # finite again where it is looked at
        return None
    before = max((step for step in curve if step < wrong[0]), default=0)
    exact = trial.nonfinite  # within a segment, where a training metric showed it
    return exact if exact is not None and before < exact <= wrong[0] else wrong[0]


def _count(trials: Sequence[Trial]) -> str:
    return f"{len(trials)} trial{'s' * (len(trials) != 1)}"
