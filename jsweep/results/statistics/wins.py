"""How probably one config beats another, and how many seeds it takes to tell."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import UNKNOWN, Interval, Values, check_confidence

Verdict = Literal["not significant", "significant but not meaningful", "significant and meaningful"]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Outperformance:
    """The share of seeds under which one config beats the other, ties counted half, with its bootstrap interval."""

    probability: float
    interval: Interval
    threshold: float

    @property
    def verdict(self) -> Verdict:
        """Significant where the interval lies above 1/2, meaningful where it reaches above ``threshold`` as well."""
        if not self.interval.low > 0.5:
            return "not significant"
        meaningful = self.interval.high > self.threshold
        return "significant and meaningful" if meaningful else "significant but not meaningful"

    def __str__(self) -> str:
        return f"wins with probability {self.probability:.3g} ({self.interval}): {self.verdict}"


def outperformance(
    values: Values,
    others: Values,
    *,
    mode: Mode,
    threshold: float = 0.75,
    confidence: float = 0.95,
    seed: int = 0,
) -> Outperformance:
    """The probability that ``values`` beat ``others``, paired seed by seed.

    The decision is that of Bouthillier et al. (2021), "Accounting for variance in machine learning benchmarks", by a
    percentile bootstrap over the pairs. `seeds_needed` says how many pairs it needs.

    Args:
        values: one score a seed, shape (n,).
        others: the scores of the other config under the same seeds, shape (n,).
        mode: "max" where larger scores are better, "min" where smaller ones are.
        threshold: the probability from which on an improvement is worth having.
        confidence: that of the interval, between 0 and 1.
        seed: of the bootstrap's random numbers.

    Returns:
        The probability, its interval and the verdict; NaN where there are no pairs or a score is NaN.

    Raises:
        ConfigError: the shapes differ, or an argument is out of range.
    """
    check_confidence(confidence)
    left, right = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise ConfigError(
            f"values has shape {left.shape} and others {right.shape}: pass scores of the same seeds, in the same order."
        )
    if mode not in ("min", "max"):
        raise ConfigError(f"mode={mode!r} is not valid: pass 'min' or 'max'.")
    if not 0.5 < threshold < 1:
        raise ConfigError(f"threshold={threshold!r} is not between 0.5 and 1: pass 0.75, for example.")
    if not len(left) or np.isnan(left).any() or np.isnan(right).any():
        return Outperformance(math.nan, UNKNOWN, threshold)
    sign = 1 if mode == "max" else -1
    wins = (np.sign(sign * np.where(left == right, 0, left - right)) + 1) / 2
    drawn = np.random.default_rng(seed).integers(0, len(wins), (RESAMPLES, len(wins)))
    low, high = np.quantile(wins[drawn].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Outperformance(float(wins.mean()), Interval(float(low), float(high)), threshold)


def seeds_needed(threshold: float = 0.75, *, alpha: float = 0.05, beta: float = 0.05) -> int:
    r"""The pairs of scores that `outperformance` needs: 29 at 0.75.

    Noether's (1987) sample size for a probability :math:`\gamma` of outperforming,
    :math:`\left(\frac{z_{1-\alpha} - z_\beta}{\sqrt 6 (1/2 - \gamma)}\right)^2`.

    Args:
        threshold: the probability of outperforming to detect, above 0.5.
        alpha: the accepted rate of false alarms.
        beta: the accepted rate of misses.

    Returns:
        The number of seeds, rounded up.

    Raises:
        ConfigError: an argument is out of range.
    """
    if not (0.5 < threshold < 1 and 0 < alpha < 1 and 0 < beta < 1):
        raise ConfigError(
            f"threshold={threshold!r}, alpha={alpha!r}, beta={beta!r}: pass a threshold between 0.5 and 1, and rates "
            "between 0 and 1."
        )
    normal = import_optional("scipy.stats", "statistics").norm
    return math.ceil(((normal.ppf(1 - alpha) - normal.ppf(beta)) / (math.sqrt(6) * (0.5 - threshold))) ** 2)
