"""Statistics of single examples: which of two configs gets more of them right, and what choosing among configs costs."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jsweep._runtime.optional import import_optional
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import UNKNOWN, Interval, check_confidence


@dataclass(frozen=True)
class McNemar:
    """Examples that only one of two configs gets right, and the two-sided p-value of that difference."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Bool[np.ndarray, " examples"], second: Bool[np.ndarray, " examples"]) -> McNemar:
    """McNemar's exact test of whether two configs get different shares of the same examples right.

    Of the examples on which they disagree each wins half where they are equally good; the p-value is that of the binomial
    distribution (McNemar, 1947, "Note on the sampling error of the difference between correlated proportions").

    Args:
        first: whether the first config gets each example right, shape (examples,).
        second: the same of the second, for the same examples.

    Raises:
        ConfigError: the shapes differ, or there are no examples.
    """
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ConfigError(
            f"first has shape {one.shape} and second {other.shape}: pass one value an example, of the same examples."
        )
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    if wins + losses == 0:
        return McNemar(0, 0, 1.0)
    test = import_optional("scipy.stats", "statistics").binomtest
    return McNemar(wins, losses, float(test(wins, wins + losses).pvalue))


@dataclass(frozen=True)
class BiasCorrected:
    """The score to expect of the config that was chosen for its score, and its interval."""

    mean: float
    interval: Interval


def bias_corrected(
    values: Float[np.ndarray, "configs examples"],
    *,
    mode: Mode,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> BiasCorrected:
    """The score to expect of the best of several configs on new examples, by the bootstrap over validation examples.

    Each resample chooses the config with the best mean on the examples drawn, and scores it on those left out, which had no
    part in the choice (Tsamardinos et al., 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate
    cross-validation"). The result is slightly pessimistic. Nothing is trained.

    Args:
        values: each config's value for each example, such as whether it is right; of folds, by the model that has not seen
            it. Shape (configs, examples).
        mode: "max" where larger values are better, "min" where smaller ones are.
        confidence: how often the interval should hold the score, between 0 and 1.
        resamples: how often examples are drawn.
        seed: of the bootstrap's random numbers.

    Returns:
        The mean over resamples, and their percentile interval.

    Raises:
        ConfigError: ``values`` is not of that shape or not finite, or an argument is out of range.
    """
    check_confidence(confidence)
    scores = np.asarray(values, np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise ConfigError(
            f"values has shape {scores.shape}: pass finite values of two or more examples, shape (configs, examples)."
        )
    if mode not in ("min", "max"):
        raise ConfigError(f"mode={mode!r} is not valid: pass 'min' or 'max'.")
    random, found = np.random.default_rng(seed), []
    examples = scores.shape[1]
    for _ in range(resamples):
        counts = np.bincount(random.integers(0, examples, examples), minlength=examples)
        left_out = counts == 0
        if left_out.any():
            drawn = scores @ counts
            found.append(scores[drawn.argmax() if mode == "max" else drawn.argmin(), left_out].mean())
    if not found:
        return BiasCorrected(math.nan, UNKNOWN)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return BiasCorrected(float(np.mean(found)), Interval(float(low), float(high)))
