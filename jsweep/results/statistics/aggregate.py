"""Scores of several tasks in one figure, with its interval."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from jsweep._runtime.optional import import_optional
from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import Interval, check_confidence

RESAMPLES = 2_000


def interquartile_mean(scores: Float[np.ndarray, "runs tasks"]) -> float:
    """The mean of the middle half of all scores, runs and tasks together.

    It ignores outliers as the median does and uses more of the scores (Agarwal et al., 2021, "Deep reinforcement
    learning at the edge of the statistical precipice").

    Args:
        scores: shape (runs, tasks), each task's scores on a scale that compares with the others'.
    """
    return float(import_optional("scipy.stats", "statistics").trim_mean(scores, 0.25, axis=None))


def stratified_interval(
    scores: Float[np.ndarray, "runs tasks"],
    statistic: Callable[[Float[np.ndarray, "runs tasks"]], float] = interquartile_mean,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a statistic of several tasks; runs are drawn anew within each task.

    Args:
        scores: shape (runs, tasks).
        statistic: a function of such an array (default: `interquartile_mean`).
        confidence: how often the interval should hold the statistic, between 0 and 1.
        seed: of the bootstrap's random numbers.

    Returns:
        The interval, by 2,000 resamples (Agarwal et al., 2021).

    Raises:
        ConfigError: ``scores`` is not two-dimensional, or ``confidence`` is not between 0 and 1.
    """
    check_confidence(confidence)
    if scores.ndim != 2 or not scores.size:
        raise ConfigError(f"scores has shape {scores.shape}: pass an array of shape (runs, tasks).")
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(scores), scores.shape) for _ in range(RESAMPLES))
    found = [statistic(np.take_along_axis(scores, rows, axis=0)) for rows in drawn]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
