"""What rules read of the columns of scores and budgets; see the package for their shapes."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64, UInt32

Scores: TypeAlias = Float64[np.ndarray, "configs evaluations seeds"]
Budgets: TypeAlias = Int64[np.ndarray, "configs evaluations"]
KeyData: TypeAlias = UInt32[np.ndarray, "2"]
Decisions: TypeAlias = Int8[np.ndarray, " configs"]
Sources: TypeAlias = Int64[np.ndarray, " configs"]


def evaluated(scores: Scores) -> Bool[np.ndarray, "configs evaluations"]:
    """Where every seed of a config has been evaluated."""
    return ~np.isnan(scores[:, :, 0] if scores.shape[2] == 1 else scores.sum(axis=2))


def counts(scores: Scores) -> Int64[np.ndarray, " configs"]:
    """How many evaluations each config has, which come in their order."""
    found = np.zeros(len(scores), np.int64)
    rows, start, width = np.flatnonzero(evaluated(scores[:, :1]).all(axis=1)), 1, 1
    while start < scores.shape[1] and len(rows):  # few rows have many
        known = evaluated(scores[rows, start : start + width])
        found[rows] = start + np.where(known.all(axis=1), known.shape[1], np.argmin(known, axis=1))
        rows, start, width = rows[found[rows] == start + width], start + width, 2 * width
    found[rows] = scores.shape[1]
    return found


def reached(scores: Scores, budgets: Budgets) -> Int64[np.ndarray, " configs"]:
    """The steps that each config has trained and been evaluated at; 0 before its first evaluation."""
    count = counts(scores)
    return np.where(count > 0, np.abs(budgets[np.arange(len(budgets)), np.maximum(count - 1, 0)]), 0)


def stopped(budgets: Budgets) -> Bool[np.ndarray, " configs"]:
    """Which configs a rule has stopped."""
    return _last(budgets) < 0


def lengths(budgets: Budgets) -> Int64[np.ndarray, " configs"]:
    """The steps of each config's last evaluation if nothing stops it."""
    return np.abs(_last(budgets))


def _last(budgets: Budgets) -> Int64[np.ndarray, " configs"]:
    """What stands at each config's last evaluation; 0 for one that has none."""
    if not budgets.shape[1]:
        return np.zeros(len(budgets), np.int64)
    last = budgets[:, -1].copy()
    shorter = np.flatnonzero(last == 0)
    backwards = budgets[shorter, ::-1]
    last[shorter] = backwards[np.arange(len(shorter)), np.argmax(backwards != 0, axis=1)]
    return last


def steps_of(budgets: Budgets) -> Int64[np.ndarray, " evaluations"]:
    """The steps of the evaluations of the longest config."""
    for column in range(budgets.shape[1] - 1, -1, -1):
        longest = np.flatnonzero(budgets[:, column])
        if len(longest):
            return np.abs(budgets[longest[0]])
    return np.zeros(0, np.int64)


def means(scores: Float64[np.ndarray, "*rows seeds"]) -> Float64[np.ndarray, "*rows"]:
    """The mean over seeds: NaN where one has not been evaluated, infinite where one is."""
    return (scores / max(1, scores.shape[-1])).sum(axis=-1)  # divided first, as huge scores must not overflow


def column_of(budgets: Budgets, steps: int) -> int | None:
    """The column of the evaluation after ``steps`` steps; None where there is none."""
    found = np.flatnonzero(steps_of(budgets) == steps)
    return int(found[0]) if len(found) else None


def means_after(scores: Scores, budgets: Budgets, steps: int) -> Float64[np.ndarray, " configs"]:
    """Each config's mean over seeds after ``steps`` steps; NaN for those that were not evaluated then."""
    return means_of(np.arange(len(scores)), scores, budgets, steps)


def means_of(
    rows: Int64[np.ndarray, " rows"], scores: Scores, budgets: Budgets, steps: int
) -> Float64[np.ndarray, " rows"]:
    """The same of some configs."""
    column = column_of(budgets, steps)
    if column is None:
        return np.full(len(rows), np.nan)
    return np.where(np.abs(budgets[rows, column]) == steps, means(scores[rows, column]), np.nan)
