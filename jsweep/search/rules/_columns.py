"""What rules read of the columns of scores and budgets; see the package for their shapes."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64, UInt32

Scores: TypeAlias = Float64[np.ndarray, "configs evaluations seeds"]
Budgets: TypeAlias = Int64[np.ndarray, "configs evaluations"]
KeyData: TypeAlias = UInt32[np.ndarray, "2"]
Decisions: TypeAlias = Int8[np.ndarray, " configs"]


def evaluated(scores: Scores) -> Bool[np.ndarray, "configs evaluations"]:
    """Where every seed of a config has been evaluated."""
    return ~np.isnan(scores).any(axis=2)


def reached(scores: Scores, budgets: Budgets) -> Int64[np.ndarray, " configs"]:
    """The steps that each config has trained and been evaluated at; 0 before its first evaluation."""
    return np.where(evaluated(scores), np.abs(budgets), 0).max(axis=1, initial=0)


def stopped(budgets: Budgets) -> Bool[np.ndarray, " configs"]:
    """Which configs a rule has stopped."""
    return (budgets < 0).any(axis=1)


def lengths(budgets: Budgets) -> Int64[np.ndarray, " configs"]:
    """The steps of each config's last evaluation if nothing stops it."""
    return np.abs(budgets).max(axis=1, initial=0)


def means(scores: Float64[np.ndarray, "*rows seeds"]) -> Float64[np.ndarray, "*rows"]:
    """The mean over seeds: NaN where one has not been evaluated, infinite where one is."""
    return (scores / max(1, scores.shape[-1])).sum(axis=-1)  # divided first, as huge scores must not overflow


def column_of(budgets: Budgets, steps: int) -> int | None:
    """The column of the evaluation after ``steps`` steps; None where there is none."""
    if not len(budgets):
        return None
    longest = np.abs(budgets[np.argmax(lengths(budgets))])
    found = np.flatnonzero(longest == steps)
    return int(found[0]) if len(found) else None


def means_after(scores: Scores, budgets: Budgets, steps: int) -> Float64[np.ndarray, " configs"]:
    """Each config's mean over seeds after ``steps`` steps; NaN for those that were not evaluated then."""
    column = column_of(budgets, steps)
    if column is None:
        return np.full(len(scores), np.nan)
    return np.where(np.abs(budgets[:, column]) == steps, means(scores[:, column]), np.nan)
