"""Trials trained again and held against their record, bit for bit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from jsweep.errors import IncompatibleSweepError
from jsweep.storage.records import Score

Curves: TypeAlias = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""Recorded scores: trial -> metric -> (step, value) pairs."""

Retrained: TypeAlias = Mapping[str, Mapping[int, Score]]
"""Scores of trials that were trained again: trial -> step -> score."""


def evaluated(recorded: Curves) -> dict[str, frozenset[int]]:
    """The steps after which each trial was evaluated."""
    return {
        trial: frozenset(step for curve in curves.values() for step, _ in curve) for trial, curves in recorded.items()
    }


def compared(
    curves: Mapping[str, Sequence[tuple[int, float]]], scores: Mapping[int, Score], until: int | None = None
) -> Iterator[tuple[str, int, float, float]]:
    """Each recorded score of a trial beside its value now, as (metric, step, recorded, now).

    Args:
        curves: the recorded (step, value) pairs by metric.
        scores: the scores of the trial trained again, by step.
        until: the last step to compare; None for all. A score that is missing now counts as NaN.
    """
    for metric, curve in curves.items():
        for step, value in curve:
            if until is None or step <= until:
                again = scores.get(step)
                yield metric, step, value, math.nan if again is None else again.metrics.get(metric, math.nan)


def is_same(before: float, now: float) -> bool:
    """Whether two scores are equal; NaN equals NaN."""
    return before == now or (math.isnan(before) and math.isnan(now))


def check_equal(recorded: Curves, scores: Retrained, until: Mapping[str, int]) -> None:
    """Raise IncompatibleSweepError where a trial came out otherwise than it is recorded, up to the step ``until`` of each."""
    for trial, curves in recorded.items():
        for metric, step, before, now in compared(curves, scores[trial], until[trial]):
            if not is_same(before, now):
                raise IncompatibleSweepError(
                    f"trial {trial} trained again gives {metric} {now!r} at step {step}, and the record says {before!r}: it "
                    "was recorded on another machine, with another version or task, or its batches now come in another "
                    "order; run the sweep here under another name, or open its record where it was made."
                )
