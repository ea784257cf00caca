"""Rules that keep the best share at each rung: successive halving, Hyperband, and asynchronous halving in waves."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from jsweep._runtime.prng import next_uniform, uniform_stream
from jsweep.search.rules._columns import (
    Budgets,
    Decisions,
    KeyData,
    Scores,
    lengths,
    means_after,
    means_of,
    reached,
    steps_of,
    stopped,
)
from jsweep.search.rules._rule import GO, STOP, WAIT, Rule, whole


def successive_halving(first: int, *, factor: int = 3) -> Rule:
    """Keep the best configs at each rung, a ``factor`` fewer each time (Jamieson and Talwalkar, 2016).

    The rungs are after ``first``, ``first * factor``, ``first * factor**2``, ... steps. Of n configs, rung k (from 0) keeps
    ``floor(n / factor**(k + 1))``, at least one, by their mean over seeds; of equal ones those whose id is smaller. A config
    with a score that is not finite is not kept. (scikit-learn rounds up: of 60, 20 and 7 and 3.) Each batch of a search is
    halved by itself.

    Args:
        first: the steps of the first rung.
        factor: how many times fewer configs, and more steps, each rung has.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    first, factor = whole("successive_halving", "first", first, 1), whole("successive_halving", "factor", factor, 2)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        rungs = _rungs(first, factor, _longest(budgets))
        return _halved(scores, budgets, [(np.arange(len(scores)), rungs)], factor)

    return Rule(f"successive_halving(first={first}, factor={factor})", decide, _rungs_of(first, factor), by_batch=True)


def hyperband(first: int, *, factor: int = 3) -> Rule:
    """Successive halving in brackets that begin at different rungs (Li et al., 2018, JMLR 18; its Table 1).

    With rungs as those of `successive_halving` and the trials' end R as the last, bracket s begins at the rung ``R /
    factor**s`` with a share of the configs in proportion to ``ceil((s_max + 1) / (s + 1) * factor**s)``, and keeps
    ``floor(n / factor**(k + 1))`` of its n. For R = 81 first, factor 3 and 143 configs these are the paper's 81, 27, 9, 3, 1 |
    34, 11, 3, 1 | 15, 5, 1 | 8, 2 | 5. The sweep's key says which config is in which bracket. All brackets run side by side. Each
    batch of a search has brackets of its own, as in BOHB (Falkner et al., 2018, with `jsweep.tpe`).

    Args:
        first: the steps of the first rung.
        factor: how many times fewer configs, and more steps, each rung has.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    first, factor = whole("hyperband", "first", first, 1), whole("hyperband", "factor", factor, 2)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        rungs = _rungs(first, factor, _longest(budgets))
        order = np.argsort(next_uniform(uniform_stream(key, "hyperband"), len(scores)), kind="stable")
        members = np.split(order, np.cumsum(bracket_sizes(len(scores), len(rungs), factor))[:-1])
        brackets = [(np.sort(rows), rungs[skipped:]) for skipped, rows in enumerate(members)]
        return _halved(scores, budgets, brackets, factor)

    return Rule(f"hyperband(first={first}, factor={factor})", decide, _rungs_of(first, factor), by_batch=True)


def asynchronous_halving(first: int, *, factor: int = 3, wave: int = 32) -> Rule:
    """Promote the best share of each rung as configs arrive (ASHA; Li et al., 2020), in waves that do not depend on time.

    In each wave ``wave`` configs train to their next rung. They are taken from the highest rung down: at each, those of the
    best ``floor(n / factor)`` of the n that have reached it that were not promoted before; what is left of the wave are new
    configs. So good configs finish early, and the rule can follow a search that proposes more. The end comes when no
    config can be promoted or begun.

    Args:
        first: the steps of the first rung; the others are as those of `successive_halving`.
        factor: the best 1 / ``factor`` of a rung are promoted.
        wave: configs that train at once; a wave ends with its longest.

    Raises:
        ConfigError: for arguments that are not valid.
    """
    name = "asynchronous_halving"
    first, factor, wave = whole(name, "first", first, 1), whole(name, "factor", factor, 2), whole(name, "wave", wave, 1)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        at, live = reached(scores, budgets), ~stopped(budgets)
        between = live & (at > 0) & (at < lengths(budgets))
        decisions = np.full(len(scores), WAIT)
        rungs = _rungs(first, factor, _longest(budgets))
        taken: list[int] = np.flatnonzero(between & ~np.isin(at, rungs)).tolist()  # on their way to a rung
        for rung in reversed(rungs):
            there = np.flatnonzero(at >= rung)
            values = means_of(there, scores, budgets, rung)
            there, values = there[~np.isnan(values)], values[~np.isnan(values)]
            best = _least(values, len(there) // factor)
            new = between[there[best]] & (at[there[best]] == rung) & np.isfinite(values[best])
            best = best[new]
            taken += there[best[np.argsort(values[best], kind="stable")]].tolist()
        taken += np.flatnonzero(live & (at == 0))[: max(0, wave - len(taken))].tolist()
        decisions[taken[:wave]] = GO
        return decisions

    return Rule(f"{name}(first={first}, factor={factor}, wave={wave})", decide, _rungs_of(first, factor), starts=True)


def _least(values: Float64[np.ndarray, " rows"], count: int) -> Int64[np.ndarray, " least"]:
    """The places of the ``count`` least values, in ascending order; of equal ones the first, as a stable sort has it."""
    if count == 0:
        return np.zeros(0, np.int64)
    last = np.partition(values, count - 1)[count - 1]
    ties = np.flatnonzero(values == last)[: count - int((values < last).sum())]
    return np.sort(np.concatenate([np.flatnonzero(values < last), ties]))


def bracket_sizes(configs: int, rungs: int, factor: int) -> list[int]:
    """How many of ``configs`` each bracket of Hyperband has, that with all ``rungs`` before the trials' end first."""
    weights = [-(-(rungs + 1) * factor**s // (s + 1)) for s in range(rungs, -1, -1)]
    sizes = [configs * weight // sum(weights) for weight in weights]
    remainders = [configs * weight % sum(weights) for weight in weights]
    for bracket in sorted(range(len(weights)), key=lambda b: -remainders[b])[: configs - sum(sizes)]:
        sizes[bracket] += 1
    return sizes


def _halved(
    scores: Scores,
    budgets: Budgets,
    brackets: Sequence[tuple[np.ndarray, Sequence[int]]],
    factor: int,
) -> Decisions:
    """The decisions of brackets, each its configs' rows and its rungs."""
    decisions, at = np.full(len(scores), GO), reached(scores, budgets)
    for rows, rungs in brackets:
        for passed, rung in enumerate(rungs, start=1):
            if not (at[rows] == rung).any():
                continue
            values = means_after(scores, budgets, rung)[rows]
            kept = rows[np.argsort(values, kind="stable")[: max(1, len(rows) // factor**passed)]]
            here = rows[(at[rows] == rung) & ~(np.isin(rows, kept) & np.isfinite(values))]
            decisions[here] = STOP
    return decisions


def _longest(budgets: Budgets) -> int:
    return int(steps_of(budgets).max(initial=0))


def _rungs(first: int, factor: int, steps: int) -> list[int]:
    """The rungs before the end of a trial of ``steps`` steps."""
    found = []
    while first < steps:
        found.append(first)
        first *= factor
    return found


def _rungs_of(first: int, factor: int) -> Callable[[int], Sequence[int]]:
    return lambda steps: _rungs(first, factor, steps)
