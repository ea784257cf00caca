"""How a trial stands for a process that wants it trained: one pure function, which every decision about a trial asks.

See docs/record.md for the states and the transactions.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from jsweep.storage.records import Status, Trial

ENDED = frozenset({Status.FINISHED, Status.STOPPED})
"""The states in which a trial has a result."""


class Row(NamedTuple):
    """A row of a trial, without what no decision reads."""

    key: int
    status: Status
    steps: int
    done: int
    owner: str | None
    width: int | None


class TrialState(NamedTuple):
    """A trial's rows: its own, and its extension where it is on its way to more steps."""

    own: Row
    extension: Row | None = None

    @property
    def open(self) -> Row:
        """The row that training goes on in."""
        return self.extension or self.own

    @property
    def recorded(self) -> int:
        """The steps of which there is a record that training can go on from."""
        return self.open.done or self.own.done

    @property
    def width(self) -> int | None:
        """The lanes of the tile that it was trained in last."""
        return self.open.width or self.own.width

    @property
    def idle(self) -> bool:
        """Whether there is nothing to train it for."""
        return self.own.status in ENDED and self.extension is None


class Wanted(NamedTuple):
    """What a process wants of a trial.

    ``steps`` is the length; ``fixed`` says that the task reads it, so that a trial of another length is another trial;
    ``retry`` that a failure does not count.
    """

    steps: int
    fixed: bool = False
    retry: bool = False


class Standing(StrEnum):
    """How a trial stands for a process that wants it."""

    FREE = "free"
    HELD = "held"
    ENDED = "ended"
    GIVEN_UP = "given up"
    GONE = "gone"
    FIXED = "fixed"


def standing(state: TrialState | None, wanted: Wanted, me: str, alive: Callable[[str], bool]) -> Standing:
    """How a trial stands; only a free one may be claimed.

    Args:
        state: its rows as they are now; None where it has none.
        wanted: what is wanted of it.
        me: the name of the process that asks.
        alive: whether the process of that name is running.
    """
    if state is None:
        return Standing.GONE
    own, row = state.own, state.open
    if own.status == Status.STOPPED and state.extension is None:
        return Standing.ENDED  # for good, whatever length is asked for
    if own.status in ENDED and own.steps != wanted.steps and wanted.fixed:
        return Standing.FIXED
    if own.status in ENDED and own.steps >= wanted.steps:
        return Standing.ENDED
    if row.owner is not None and row.owner != me and alive(row.owner):
        return Standing.HELD
    if row.status == Status.FAILED and not wanted.retry:
        return Standing.GIVEN_UP
    return Standing.FREE


def ended_at(states: Mapping[str, TrialState], trials: Iterable[Trial]) -> frozenset[str]:
    """Those of the trials asked for that have ended at their length or a longer one."""
    found = ((trial, states.get(trial.id)) for trial in trials)
    return frozenset(
        trial.id
        for trial, state in found
        if state
        and (state.own.status == Status.STOPPED or (state.own.status in ENDED and state.own.steps >= trial.steps))
    )


def begins_again(state: TrialState, wanted: Wanted) -> bool:
    """Whether what its open row has recorded is no part of what is wanted."""
    row = state.open
    if row.status in ENDED:
        return False
    return row.done > wanted.steps or (wanted.fixed and row.done > 0 and row.steps != wanted.steps)


def recorded_of(state: TrialState, wanted: Wanted) -> int:
    """The steps that a trial has recorded of what is wanted of it."""
    if not begins_again(state, wanted):
        return state.recorded
    return state.own.done if state.extension else 0


def resumes_from(step: int, recorded: int, end: int, evaluate_every: int) -> bool:
    """Whether a trial can go on from a checkpoint at ``step`` without missing an evaluation.

    Args:
        step: the step of the checkpoint.
        recorded: up to where the trial's scores are recorded.
        end: where it ends.
        evaluate_every: steps between evaluations.
    """
    due = min((recorded // evaluate_every + 1) * evaluate_every, end)
    return step <= recorded or step < due
