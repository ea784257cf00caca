"""Rules that look at learning curves: patience, divergence, median stopping and its percentiles."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jsweep.search.rules._columns import (
    Budgets,
    Decisions,
    KeyData,
    Scores,
    column_of,
    counts,
    lengths,
    means,
    reached,
    stopped,
)
from jsweep.search.rules._rule import GO, STOP, WAIT, Rule, number, whole


def patience(evaluations: int, *, least: float = 0.0) -> Rule:
    """Stop a config whose last ``evaluations`` evaluations did not improve on its best before them (Prechelt, 1998).

    It stops where ``min(last) >= min(before) - least``. (Keras's definition. Optuna's `PatientPruner` with patience p looks at
    p + 1 evaluations, and its tolerance has the other sign.) Select with ``at="best"``, as few configs reach their end.

    Args:
        evaluations: how many evaluations to wait for an improvement.
        least: what is an improvement, in units of the objective.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    evaluations, least = whole("patience", "evaluations", evaluations, 1), number("patience", "least", least, 0)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        best = _best_so_far(scores)
        count = counts(scores)
        rows = np.flatnonzero(count > evaluations)
        before = best[rows, count[rows] - evaluations - 1]
        decisions = np.full(len(scores), GO)
        decisions[rows[~(best[rows, count[rows] - 1] < before - least)]] = STOP
        return decisions

    return Rule(f"patience(evaluations={evaluations}, least={least:g})", decide)


def divergence() -> Rule:
    """Stop a config as soon as a score or a loss of one of its seeds is infinite or NaN: it will never be selected."""

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        return np.where(np.isinf(_latest(means(scores), counts(scores))), STOP, GO)

    return Rule("divergence()", decide)


def median_stopping(*, startup: int = 8, warmup: int = 0) -> Rule:
    """Stop what is worse at its best than the median of the completed configs' running averages (Golovin et al., 2017).

    That is Vizier's definition: after s steps a config is stopped if its best mean over seeds so far is greater than the
    median, over the configs that have trained to their end, of their averages over the evaluations up to s. For "the
    median of the values at this step" see ``percentile(50)``. Which configs are completed does not depend on time: first
    ``startup`` configs train to their end; then as many as have begun so far begin together, and so on.

    Args:
        startup: configs that train to their end before any is judged.
        warmup: steps before which none is stopped.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    return _against_completed("median_stopping", _running_average, 50.0, startup, warmup)


def percentile(q: float, *, startup: int = 8, warmup: int = 0) -> Rule:
    """Stop what is not among the best ``q`` percent of the completed configs after the same number of steps.

    A config is stopped if its best mean over seeds so far is greater than the ``q``-th percentile (linearly interpolated)
    of the completed configs' values at this step: Optuna's `PercentilePruner`, and `MedianPruner` with ``q=50``. Completed
    configs that are not finite there do not count. `median_stopping` says which configs are completed.

    Args:
        q: the percent that goes on, of completed configs: 25 is stricter than 50.
        startup: configs that train to their end before any is judged.
        warmup: steps before which none is stopped.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    q = number("percentile", "q", q, 0, 100)
    return _against_completed("percentile", lambda curves: curves, q, startup, warmup)


_Curves = Float64[np.ndarray, "configs evaluations"]


def _against_completed(name: str, reference: Callable[[_Curves], _Curves], q: float, startup: int, warmup: int) -> Rule:
    """A rule that compares a config's best so far with a percentile of what ``reference`` makes of completed curves."""
    startup, warmup = whole(name, "startup", startup, 1), whole(name, "warmup", warmup, 0)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        at, ended = reached(scores, budgets), stopped(budgets)
        completed = ~ended & (at == lengths(budgets))
        running = ~ended & ~completed & (at > 0)
        decisions = np.where(at > 0, GO, WAIT)
        if not running.any():
            waiting = np.flatnonzero(~ended & (at == 0))
            decisions[waiting[: max(startup, int((at > 0).sum()))]] = GO
        if completed.any():
            curves, best = reference(means(scores[completed])), _best_so_far(scores)
            for steps in np.unique(at[running & (at >= max(1, warmup))]):
                column = column_of(budgets, int(steps))
                if column is not None:
                    values = curves[np.abs(budgets[completed, column]) == steps, column]
                    here = running & (at == steps)
                    decisions[here] = np.where(_is_worse(best[here, column], values, q), STOP, GO)
        return decisions

    shown = f"q={q:g}, " if name == "percentile" else ""
    return Rule(f"{name}({shown}startup={startup}, warmup={warmup})", decide, starts=True)


def _is_worse(
    best: Float64[np.ndarray, " running"], values: Float64[np.ndarray, " completed"], q: float
) -> Bool[np.ndarray, " running"]:
    values = values[np.isfinite(values)]
    return np.isinf(best) | (best > np.percentile(values, q)) if len(values) else np.isinf(best)


def _running_average(curves: _Curves) -> _Curves:
    return np.cumsum(curves, axis=1) / np.arange(1, curves.shape[1] + 1)


def _best_so_far(scores: Scores) -> _Curves:
    """The least mean over seeds up to each evaluation; infinite before the first."""
    curves = means(scores)
    return np.minimum.accumulate(np.where(np.isnan(curves), np.inf, curves), axis=1)


def _latest(curves: _Curves, count: Int64[np.ndarray, " configs"]) -> Float64[np.ndarray, " configs"]:
    """The value at each config's last evaluation; NaN before the first."""
    return np.where(count > 0, curves[np.arange(len(curves)), np.maximum(count - 1, 0)], np.nan)
