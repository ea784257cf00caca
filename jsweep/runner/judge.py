"""A rule at work on the trials of a sweep: from the scores recorded to who trains on, and how far.

What the judge knows follows from the rule, the key and the scores alone: it asks the rule as if training had just begun,
shows it the scores of those that went on, asks again, and so on. So a resumed run comes to the same decisions as one that
was never interrupted, whatever was recorded in which order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.search.rules._columns import lengths, reached
from jsweep.search.rules._rule import GO, STOP, Rule, check_decisions, check_sources
from jsweep.storage.records import Stop, Trial


@dataclass(frozen=True)
class Rows:
    """The rows that a rule judges: of each, the trials (a config's, by seed) and the steps of their evaluations.

    These are ``every`` so many steps, and at a trial's end.

    They are in the order of the configs' ids, so that decisions do not depend on the order in which configs are listed.
    """

    every: int
    trials: Sequence[Sequence[Trial]]
    budgets: Int64[np.ndarray, "rows evaluations"]
    place: Mapping[str, tuple[int, int]] = field(repr=False)  # of a trial: its row, and its place there


def make_rows(trials: Iterable[Trial], every: int, per: str) -> Rows:
    """The rows of ``trials``, which are evaluated every ``every`` steps and at their end."""
    members: dict[tuple[str, int], list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: (trial.config_id, trial.seed)):
        members.setdefault((trial.config_id, trial.seed if per == "trial" else 0), []).append(trial)
    rows = list(members.values())
    steps = np.array([row[0].steps for row in rows], np.int64)[:, None]
    regular = every * np.arange(1, -(-int(steps.max(initial=0)) // every) + 1, dtype=np.int64)[None]
    budgets = np.where(regular - every < steps, np.minimum(regular, steps), 0)
    return Rows(every, rows, budgets, {t.id: (i, seed) for i, row in enumerate(rows) for seed, t in enumerate(row)})


def check_rungs(rule: Rule, steps: Sequence[int], every: int) -> None:
    """ConfigError unless trials of those ``steps`` are evaluated at each of the rule's rungs, and there is one."""
    if rule.rungs is None:
        return
    rungs = list(rule.rungs(max(steps)))
    if not rungs:
        raise ConfigError(
            f"rule={rule.name} never decides: its first rung is not before the end of the longest trial, at {max(steps)} "
            f"steps; pass a smaller {'first' if rule.copying is None else 'every'}=."
        )
    missed = [rung for rung in rungs if rung % every]
    if missed:
        raise ConfigError(
            f"evaluate_every={every} misses the rung of {rule.name} at {missed[0]} steps: pass "
            f"evaluate_every={int(np.gcd.reduce(rungs))}, or one that divides it."
        )


def trained_share(rule: Rule, rows: Rows, key: UInt32[np.ndarray, "2"]) -> float:
    """The share of all steps that a rule leaves to train where scores do not change their order."""
    judge = Judge(rule, rows, key, "min")
    reached = dict.fromkeys(rows.place, 0)
    while going := judge.advance():
        for trial, until in going.items():
            row = rows.place[trial][0]
            for step in rows.budgets[row][(rows.budgets[row] > reached[trial]) & (rows.budgets[row] <= until)]:
                judge.record(trial, int(step), float(row), finite=True)
        reached |= going
    return sum(reached.values()) / sum(trial.steps for row in rows.trials for trial in row)


class Judge:
    """Asks a rule about the rows of a sweep.

    Args:
        rule: the rule.
        rows: what it judges.
        key: the data of the sweep's root key.
        mode: whether the objective's smallest or largest value is best.
        stops: the trials that are recorded as stopped, with their steps. What is recorded stands.
        copies: the configs that are recorded as replaced by copies, each with its source, by step. So do these.
    """

    def __init__(
        self,
        rule: Rule,
        rows: Rows,
        key: UInt32[np.ndarray, "2"],
        mode: Mode,
        stops: Mapping[str, int] | None = None,
        copies: Mapping[int, Mapping[str, str]] | None = None,
    ):
        self._rule, self._rows, self._key = rule, rows, key
        self._sign = -1.0 if mode == "max" else 1.0
        self._budgets = rows.budgets.copy()
        seeds = max((len(row) for row in rows.trials), default=1)
        self._lengths, self._live = lengths(rows.budgets), np.ones(len(rows.trials), bool)
        self._rungs = None if rule.rungs is None else sorted(rule.rungs(int(self._lengths.max(initial=0))))
        self._known = np.full((*rows.budgets.shape, seeds), np.nan)  # all that was recorded
        self._shown = self._known.copy()  # what the rule may have seen
        self._recorded = {rows.place[trial][0]: step for trial, step in (stops or {}).items() if trial in rows.place}
        self._furthest = np.zeros(len(rows.trials), np.int64)  # the steps recorded of each row
        self._targets: dict[int, int] = {}  # of the rows that go on: the column that each goes to
        self._missing: dict[str, int] = {}  # of their trials that are not there: the steps that each goes to
        self._failed: set[str] = set()
        self._stops: list[Stop] = []
        self._recorded_copies = copies or {}
        self._copies: list[tuple[int, dict[str, str]]] = []
        self.ended = False

    def record(self, trial: str, step: int, value: float, finite: bool) -> None:
        """Enter a trial's objective after ``step`` steps; ``finite`` is False where a loss was not."""
        if trial not in self._rows.place:
            return
        row, seed = self._rows.place[trial]
        column = -(-step // self._rows.every) - 1
        self._known[row, column, seed] = self._sign * value if finite and np.isfinite(value) else np.inf
        self._furthest[row] = max(self._furthest[row], step)
        if self._missing.get(trial) == step:
            del self._missing[trial]

    def fail(self, trial: str) -> None:
        """Enter that a trial has failed, or was stopped by the user: the rest of its scores are not finite."""
        if trial in self._rows.place:
            row, seed = self._rows.place[trial]
            rest = np.isnan(self._known[row, :, seed]) & (self._rows.budgets[row] > 0)
            self._known[row, rest, seed] = np.inf
            self._missing.pop(trial, None)
            self._failed.add(trial)

    def settle(self, configs: Collection[str]) -> None:
        """Enter that these configs were judged before: the rule sees what is recorded of them, and decides about others."""
        rows = np.array(
            [row for row, trials in enumerate(self._rows.trials) if trials[0].config_id in configs], np.int64
        )
        self._shown[rows] = self._known[rows]
        self._live[rows] = False
        at = reached(self._shown[rows], self._budgets[rows])
        self._budgets[rows] *= np.where(self._budgets[rows] > at[:, None], -1, 1)

    def advance(self) -> dict[str, int]:
        """Ask the rule as often as the scores allow; returns the trials that go on, each with the step that it goes to."""
        while not self._missing and not self.ended:
            for row, column in self._targets.items():
                self._shown[row, : column + 1] = self._known[row, : column + 1]
            self._decide()
        return dict(self._missing)

    def stops(self) -> list[Stop]:
        """The trials that were stopped since the last call."""
        found, self._stops = self._stops, []
        return found

    def copies(self) -> list[tuple[int, dict[str, str]]]:
        """What was copied since the last call: the step, and each config that was replaced with its source."""
        found, self._copies = self._copies, []
        return found

    def _decide(self) -> None:
        at = reached(self._shown, self._budgets)
        self._live &= at < self._lengths
        live = self._live.copy()
        asked = self._rule(_read_only(self._shown), _read_only(self._budgets), self._key)
        decisions = check_decisions(self._rule, asked, len(live))
        self._as_recorded(decisions, at, live)
        stops, goes = live & (decisions == STOP), live & (decisions == GO)
        self._stop(np.flatnonzero(stops), at, f"stopped by {self._rule.name}")
        self._copy(goes, at)
        self._send(np.flatnonzero(goes), at)
        if not goes.any() and not stops.any():
            self._stop(np.flatnonzero(live), at, f"not continued by {self._rule.name}")
            self.ended = True

    def _as_recorded(self, decisions: np.ndarray, at: np.ndarray, live: np.ndarray) -> None:
        """Let what is recorded stand, where scores came out otherwise when they were computed again."""
        for row, step in self._recorded.items():
            if live[row] and at[row] == step and decisions[row] == GO:
                decisions[row] = STOP
        went_on = live & (decisions == STOP) & (self._furthest > at)
        decisions[[row for row in np.flatnonzero(went_on) if row not in self._recorded]] = GO

    def _copy(self, goes: Bool[np.ndarray, " rows"], at: Int64[np.ndarray, " rows"]) -> None:
        """Ask the rule which rows go on as copies of others; what is recorded of that stands."""
        copying, step = self._rule.copying, int(at[goes].max(initial=0))
        if copying is None or step == 0:
            return
        pairs = self._recorded_copies.get(step)
        if pairs is None and not (self._furthest[goes] > step).any():
            asked = copying.sources(_read_only(self._shown), _read_only(self._budgets), self._key)
            sources = check_sources(self._rule, asked, at, goes)
            names = [row[0].config_id for row in self._rows.trials]
            pairs = {
                names[row]: names[sources[row]]
                for row in np.flatnonzero(sources != np.arange(len(sources))).tolist()
                if not self._failed.issuperset(trial.id for trial in self._rows.trials[row])
            }
        if pairs:
            self._copies.append((step, dict(pairs)))

    def _stop(self, rows: Int64[np.ndarray, " stopped"], at: np.ndarray, how: str) -> None:
        for row in rows:
            step, self._live[row] = int(at[row]), False
            self._budgets[row, self._budgets[row] > step] *= -1
            self._stops += [Stop(trial.id, step, f"{how} at step {step}") for trial in self._rows.trials[row]]

    def _send(self, rows: Int64[np.ndarray, " rows"], at: np.ndarray) -> None:
        """Send rows to their next evaluations at which the rule decides, or to their ends."""
        steps = [self._next(int(here), int(end)) for here, end in zip(at[rows], self._lengths[rows])]
        columns = [-(-step // self._rows.every) - 1 for step in steps]
        self._targets = dict(zip(rows.tolist(), columns))
        missing = np.isnan(self._known[rows, columns])
        for row, step, lacks in zip(self._targets, steps, missing.tolist()):
            self._missing.update({t.id: step for t, lack in zip(self._rows.trials[row], lacks) if lack})

    def _next(self, at: int, end: int) -> int:
        if self._rungs is None:
            return min(at + self._rows.every, end)
        return next((rung for rung in self._rungs if at < rung < end), end)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
