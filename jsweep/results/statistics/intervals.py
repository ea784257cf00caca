"""Confidence intervals for a mean and for the mean of paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Real

from jsweep._runtime.optional import import_optional
from jsweep.errors import ConfigError

Values: TypeAlias = Sequence[float] | Real[np.ndarray, " values"]


@dataclass(frozen=True)
class Interval:
    """An interval from ``low`` to ``high``; both are NaN where the values do not determine one."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


UNKNOWN = Interval(math.nan, math.nan)


def mean_interval(values: Values, *, confidence: float = 0.95, overlap: float = 0.0) -> Interval:
    r"""Student's interval for the mean: :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    It is exact for normal values from two on; with the three to ten seeds of most sweeps, bootstrap intervals are too
    short. ``experiments/simulated_sweeps.py`` measures how often each holds the mean.

    Args:
        values: one score a seed, shape (n,).
        confidence: how often the interval should hold the mean, between 0 and 1.
        overlap: of folds, whose trainings share examples, the ratio of a fold's validation to its training examples: the
            variance of the mean is then :math:`(1/n + overlap) s^2` (Nadeau and Bengio, 2003).

    Returns:
        The interval; NaN for fewer than two values, or where one is not finite.

    Raises:
        ConfigError: ``confidence`` is not between 0 and 1.
    """
    checked = _checked(values)
    return _student(checked, confidence, 1 / max(len(checked), 1) + overlap)


def paired_interval(values: Values, others: Values, *, confidence: float = 0.95) -> Interval:
    """Student's interval for the mean of ``values - others``, paired by place (seed by seed).

    Args:
        values: one score a seed, shape (n,).
        others: the scores of another config under the same seeds, shape (n,).
        confidence: how often the interval should hold the mean difference, between 0 and 1.

    Returns:
        The interval; NaN for fewer than two pairs, or where a value is not finite.

    Raises:
        ConfigError: the lengths differ, or ``confidence`` is not between 0 and 1.
    """
    return mean_interval(_paired(values, others), confidence=confidence)


def unpaired_interval(values: Values, others: Values, *, confidence: float = 0.95) -> Interval:
    r"""Welch's interval for the difference of two means of independent scores, whose variances may differ.

    It is :math:`\bar x - \bar y \pm t_\nu \sqrt{s_x^2 / n + s_y^2 / m}` with Welch and Satterthwaite's degrees of freedom
    (Welch, 1947, "The generalization of Student's problem when several different population variances are involved").

    Args:
        values: one score a seed, shape (n,).
        others: the scores of another config under other seeds, shape (m,).
        confidence: how often the interval should hold the difference of the means, between 0 and 1.

    Returns:
        The interval; NaN for fewer than two values on a side, or where one is not finite.

    Raises:
        ConfigError: ``confidence`` is not between 0 and 1.
    """
    check_confidence(confidence)
    sides = _checked(values), _checked(others)
    if any(len(side) < 2 or not np.isfinite(side).all() for side in sides):
        return UNKNOWN
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    difference = float(sides[0].mean() - sides[1].mean())
    if sum(parts) == 0:
        return Interval(difference, difference)
    degrees = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides))
    quantile = import_optional("scipy.stats", "statistics").t.ppf((1 + confidence) / 2, degrees)
    half = float(quantile) * math.sqrt(sum(parts))
    return Interval(difference - half, difference + half)


def corrected_interval(values: Values, others: Values, *, test_fraction: float, confidence: float = 0.95) -> Interval:
    r"""The interval for the mean difference over resamples or folds, which share training examples.

    The variance is :math:`(1/n + \rho / (1 - \rho)) s^2`, where :math:`\rho` is the fraction of the examples that are
    scored in each resample (Nadeau and Bengio, 2003, "Inference for the generalization error").

    Args:
        values: one score a resample or fold, shape (n,).
        others: the scores of another config on the same resamples, shape (n,).
        test_fraction: the fraction of the examples that are scored in each: 1/k for k folds.
        confidence: how often the interval should hold the mean difference, between 0 and 1.

    Returns:
        The interval; NaN for fewer than two pairs, or where a value is not finite.

    Raises:
        ConfigError: the lengths differ, or a fraction is not between 0 and 1.
    """
    if not 0 < test_fraction < 1:
        raise ConfigError(f"test_fraction={test_fraction!r} is not between 0 and 1: pass 1/k for k folds.")
    differences = _paired(values, others)
    return _student(differences, confidence, 1 / max(len(differences), 1) + test_fraction / (1 - test_fraction))


def check_confidence(confidence: float) -> None:
    """Raise ConfigError unless ``confidence`` is between 0 and 1."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence!r} is not between 0 and 1: pass 0.95, for example.")


def _student(values: np.ndarray, confidence: float, factor: float) -> Interval:
    check_confidence(confidence)
    if len(values) < 2 or not np.isfinite(values).all():
        return UNKNOWN
    quantile = import_optional("scipy.stats", "statistics").t.ppf((1 + confidence) / 2, len(values) - 1)
    half = float(quantile * math.sqrt(factor) * values.std(ddof=1))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def _paired(values: Values, others: Values) -> np.ndarray:
    left, right = _checked(values), _checked(others)
    if left.shape != right.shape:
        raise ConfigError(
            f"values has {len(left)} scores and others {len(right)}: pass scores of the same seeds, in the same order."
        )
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, as it should be
        return left - right


def _checked(values: Values) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ConfigError(f"values has shape {array.shape}: pass one score a seed, shape (n,).")
    return array
