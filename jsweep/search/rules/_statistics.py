"""Wilcoxon pruning: stop what is significantly worse than the best config over the same seeds."""

import functools
import math

import numpy as np
from jaxtyping import Float64

from jsweep.search.rules._columns import Budgets, Decisions, KeyData, Scores, column_of, means, reached
from jsweep.search.rules._rule import GO, STOP, Rule, number, whole


def wilcoxon(*, threshold: float = 0.1, warmup: int = 0) -> Rule:
    """Stop a config that a signed-rank test over seeds calls worse than the best one (Wilcoxon, 1945; exact).

    At each evaluation the scores of a config and of the best one after the same steps are compared seed by seed; it is
    stopped where the one-sided p-value is below ``threshold`` and its mean is worse. With n seeds p is at least ``2**-n``: 0.1
    needs 4 seeds. Differences of 0 count half for either side (Pratt's "zsplit"), as in Optuna's `WilcoxonPruner`, which
    pairs instances of a problem.

    Args:
        threshold: the p-value below which a config is stopped.
        warmup: steps before which none is stopped.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    threshold, warmup = number("wilcoxon", "threshold", threshold, 1e-6, 1), whole("wilcoxon", "warmup", warmup, 0)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        at, decisions = reached(scores, budgets), np.full(len(scores), GO)
        for steps in np.unique(at[at >= max(1, warmup)]):
            column = column_of(budgets, int(steps))
            if column is None:
                continue
            here = np.where((np.abs(budgets[:, column]) == steps)[:, None], scores[:, column], np.nan)
            average = means(here)
            best = int(np.nanargmin(average))
            if not math.isfinite(average[best]):
                continue
            for row in np.flatnonzero((at == steps) & (average > average[best])):
                if signed_rank_p(here[row] - here[best]) < threshold:
                    decisions[row] = STOP
        return decisions

    least = math.floor(-math.log2(threshold)) + 1
    return Rule(f"wilcoxon(threshold={threshold:g}, warmup={warmup})", decide, least_seeds=least)


def signed_rank_p(differences: Float64[np.ndarray, " pairs"]) -> float:
    """The exact p-value of Wilcoxon's signed-rank test that ``differences`` tend to be greater than 0."""
    sizes = np.abs(differences)
    _, place, count = np.unique(sizes, return_inverse=True, return_counts=True)
    ranks = (2 * np.cumsum(count) - count + 1)[place]  # twice the average rank of equal sizes
    zeros = sizes == 0
    positive = int(ranks[differences > 0].sum())
    signed = tuple(sorted(int(rank) for rank in ranks[~zeros]))
    return float(_distribution(signed)[positive:].sum())


@functools.lru_cache(maxsize=256)
def _distribution(ranks: tuple[int, ...]) -> Float64[np.ndarray, " sums"]:
    """The probability of each sum of those ``ranks`` that a fair coin picks."""
    found = np.ones(1)
    for rank in ranks:
        longer = np.zeros(len(found) + rank)
        longer[: len(found)] += found / 2
        longer[rank:] += found / 2
        found = longer
    return found
