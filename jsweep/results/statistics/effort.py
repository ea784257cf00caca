"""What a search of a given size may be expected to find."""

import numpy as np
from jaxtyping import Float64

from jsweep._runtime.optional import import_optional
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import Values


def expected_best(values: Values, *, mode: Mode, unbiased: bool = True) -> Float64[np.ndarray, " budgets"]:
    r"""The expected best score of n randomly chosen configs, for n = 1, ..., m.

    With the scores sorted from worst to best as :math:`v_1, ..., v_m`, the unbiased estimate is
    :math:`\sum_i v_i \binom{i-1}{n-1} / \binom{m}{n}` (Tang et al., 2020, "Showing your work doesn't always work"); the
    other is :math:`\sum_i v_i [(i/m)^n - ((i-1)/m)^n]`, which draws with replacement and is too pessimistic for large n
    (Dodge et al., 2019, "Show your work").

    Args:
        values: the validation scores of m configs of a random search, shape (m,).
        mode: "max" where larger scores are better, "min" where smaller ones are.
        unbiased: whether to draw without replacement.

    Returns:
        The expectations, shape (m,); the first is the mean. NaN where a score is NaN.

    Raises:
        ConfigError: ``values`` is empty or not one-dimensional, or ``mode`` is neither.
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ConfigError(f"values has shape {scores.shape}: pass one score a config, shape (m,).")
    if mode not in ("min", "max"):
        raise ConfigError(f"mode={mode!r} is not valid: pass 'min' or 'max'.")
    if np.isnan(scores).any():
        return np.full(len(scores), np.nan)
    ordered = np.sort(scores) if mode == "max" else np.sort(scores)[::-1]
    return _weights(len(scores), unbiased) @ ordered


def _weights(count: int, unbiased: bool) -> np.ndarray:
    """The probability that the best of n draws is the i-th from the worst: a row for each n, a column for each i."""
    budget, rank = np.arange(1, count + 1)[:, None], np.arange(1, count + 1)
    if not unbiased:
        return (rank / count) ** budget - ((rank - 1) / count) ** budget
    log_gamma = import_optional("scipy.special", "statistics").gammaln
    possible = rank >= budget
    above = np.where(possible, rank - budget, 0)
    log_ways = log_gamma(rank) - log_gamma(budget) - log_gamma(above + 1)  # of i - 1 things, n - 1
    log_all = log_gamma(count + 1) - log_gamma(budget + 1) - log_gamma(count - budget + 1)  # of m things, n
    return np.where(possible, np.exp(log_ways - log_all), 0.0)
