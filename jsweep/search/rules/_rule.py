"""The rule as a value: its function, its name in the record, the steps at which it decides, and what combines rules."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64

from jsweep.errors import ConfigError
from jsweep.search.rules._columns import Budgets, Decisions, KeyData, Scores, Sources

GO, WAIT, STOP = np.int8(1), np.int8(0), np.int8(-1)

Decide: TypeAlias = Callable[[Scores, Budgets, KeyData], Decisions]
"""What a rule computes; see `jsweep.rules`."""


@dataclass(frozen=True)
class Copying:
    """How configs go on from copies of others' states.

    Attributes:
        sources: a pure function ``(scores, budgets, key) -> int64 (configs,)`` of the same columns: the row that each goes
            on from, its own where it goes on as it is. What is copied must not be replaced at the same evaluation.
        factors: what a copy's hyperparameters are multiplied by, each equally likely.
        resample: the probability that one is drawn anew from its distribution instead.
        names: the hyperparameters that change; None for all that are drawn from a distribution of floats.
    """

    sources: Callable[[Scores, Budgets, KeyData], Sources]
    factors: tuple[float, ...]
    resample: float
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """A rule, called as ``rule(scores, budgets, key)``; made by the functions of `jsweep.rules`.

    Attributes:
        name: the rule with its arguments, as it is recorded; a sweep is resumed under the rule of the same name.
        decide: the pure function.
        rungs: the steps at which it decides about configs of at most so many steps; None for every evaluation.
        per: what a row stands for: a config, judged over its seeds, or a single trial.
        starts: whether it decides when configs begin, so that not all do at once.
        least_seeds: with fewer it could never stop anything.
        by_batch: whether it judges each batch of a search by itself; others judge it beside the configs of those before.
        parts: the rules that it combines.
        copying: how those that go on are replaced by copies; None where it copies nothing.
    """

    name: str
    decide: Decide
    rungs: Callable[[int], Sequence[int]] | None = None
    per: Literal["config", "trial"] = "config"
    starts: bool = False
    least_seeds: int = 1
    by_batch: bool = False
    parts: tuple["Rule", ...] = ()
    copying: Copying | None = None

    def __call__(self, scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        return self.decide(scores, budgets, key)

    def __repr__(self) -> str:
        return self.name


def as_rule(rule: Rule | Decide) -> Rule:
    """A rule, or the user's function as one; ConfigError for anything else."""
    if isinstance(rule, Rule):
        return rule
    if not callable(rule):
        raise ConfigError(
            f"rule={rule!r} is not a rule: pass one of js.rules, such as js.rules.successive_halving(27), or a function "
            "(scores, budgets, key) -> decisions."
        )
    return Rule(getattr(rule, "__qualname__", type(rule).__qualname__), rule)


def any_of(*rules: Rule | Decide) -> Rule:
    """Stops what any of ``rules`` stops; of the rest waits what any of them makes wait."""
    return _combined("any_of", rules, lambda decisions: decisions.min(axis=0))


def all_of(*rules: Rule | Decide) -> Rule:
    """Stops what all of ``rules`` stop at the same evaluation; of the rest waits what any of them makes wait."""

    def combine(decisions: np.ndarray) -> np.ndarray:
        waiting = (decisions == WAIT).any(axis=0)
        return np.where((decisions == STOP).all(axis=0), STOP, np.where(waiting, WAIT, GO))

    return _combined("all_of", rules, combine)


def per_trial(rule: Rule | Decide) -> Rule:
    """``rule`` with a row for each trial, so that a config's seeds are judged and stopped one by one."""
    made = as_rule(rule)
    if made.copying is not None:
        raise ConfigError(f"per_trial got {made.name}, which copies configs seed by seed: pass it without per_trial.")
    return replace(made, per="trial", name=f"per_trial({made.name})")


def _combined(name: str, rules: Sequence[Rule | Decide], combine: Callable[[np.ndarray], np.ndarray]) -> Rule:
    parts = tuple(as_rule(rule) for rule in rules)
    if not parts:
        raise ConfigError(f"{name}() combines no rules: pass one or more.")
    if any(part.per == "trial" for part in parts):
        raise ConfigError(
            f"{name} got a rule per trial: combine rules first, as in js.rules.per_trial(js.rules.{name}(...))."
        )
    copies = [part.name for part in parts if part.copying is not None]
    if copies:
        raise ConfigError(f"{name} got {copies[0]}, which replaces configs and stops none: pass it as the only rule.")
    starting = [part.name for part in parts if part.starts]
    if len(starting) > 1:
        raise ConfigError(
            f"{name} got {' and '.join(starting)}, which both decide when configs begin: leave out one of them."
        )
    rungs = None if any(part.rungs is None for part in parts) else _union(parts)

    def decide(scores: Scores, budgets: Budgets, key: KeyData) -> Decisions:
        decisions = np.stack([check_decisions(part, part(scores, budgets, key), len(scores)) for part in parts])
        return combine(decisions).astype(np.int8)

    return Rule(
        name=f"{name}({', '.join(part.name for part in parts)})",
        decide=decide,
        rungs=rungs,
        starts=bool(starting),
        least_seeds=max(part.least_seeds for part in parts),
        by_batch=any(part.by_batch for part in parts),
        parts=parts,
    )


def _union(parts: Sequence[Rule]) -> Callable[[int], Sequence[int]]:
    return lambda steps: sorted({rung for part in parts for rung in (part.rungs or (lambda _: ()))(steps)})


def check_decisions(rule: Rule, decisions: object, configs: int) -> Decisions:
    """A rule's decisions as int8; ConfigError unless there is one of `GO`, `WAIT` and `STOP` for each config."""
    found = np.asarray(decisions)
    if found.shape != (configs,) or not np.isin(found, (GO, WAIT, STOP)).all():
        raise ConfigError(
            f"the rule {rule.name} returned {decisions!r}: return an array of shape ({configs},) of js.rules.GO, "
            "js.rules.WAIT and js.rules.STOP."
        )
    return found.astype(np.int8)


def check_sources(rule: Rule, sources: object, at: Int64[np.ndarray, " configs"], goes: np.ndarray) -> Sources:
    """A rule's sources as int64; ConfigError unless each is a row that goes on, from the same step and as it is.

    Args:
        rule: the rule.
        sources: what it returned.
        at: the steps that each row has trained.
        goes: which rows go on; the sources of others are ignored.
    """
    found, own = np.asarray(sources), np.arange(len(at))
    if found.shape != at.shape or found.dtype.kind not in "iu" or not np.isin(found, own).all():
        raise ConfigError(
            f"the rule {rule.name} returned the sources {sources!r}: return an array of shape ({len(at)},) of rows."
        )
    found = np.where(goes, found, own).astype(np.int64)
    wrong = np.flatnonzero((found[found] != found) | ~goes[found] & (found != own) | (at[found] != at))
    if len(wrong):
        raise ConfigError(
            f"the rule {rule.name} copies row {found[wrong[0]]} to row {wrong[0]}: copy from a row that goes on at the same "
            "step and is not replaced itself."
        )
    return found


def whole(rule: str, name: str, value: object, least: int) -> int:
    """An argument as a whole number; ConfigError where it is none of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{rule}({name}={value!r}) is not valid: pass a whole number of at least {least}.")
    return int(value)


def number(rule: str, name: str, value: object, low: float, high: float = math.inf) -> float:
    """An argument as a number from ``low`` to ``high``; ConfigError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value <= high:
        allowed = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
        raise ConfigError(f"{rule}({name}={value!r}) is not valid: pass a number {allowed}.")
    return float(value)
