"""Commands of a sweep with its task at hand, as functions: ``test``, ``params``, ``replay``, and what ``verify`` needs."""

from dataclasses import replace

from jaxtyping import PyTree

from jsweep.results.objective import Objective
from jsweep.results.ranking import At, Rule, Simplest, TestScore
from jsweep.runner.replay import BatchWith, Replay, replay_many
from jsweep.runner.run import attach
from jsweep.runner.sweep import Sweep
from jsweep.storage import Status
from jsweep.storage.integrity import Verified, sample


def test(
    sweep: Sweep,
    metric: str | Objective | None = None,
    *,
    at: At = "last",
    rule: Rule = "mean",
    simplest: Simplest | None = None,
    again: bool = False,
) -> TestScore:
    """Evaluate the selected config of a recorded sweep on the test split, once.

    Args:
        sweep: the sweep, with the store and name that it was run with.
        metric: as in `Session.test`, as are the others.
        at: see `Session.test`.
        rule: see `Session.test`.
        simplest: see `Session.test`.
        again: see `Session.test`.

    Returns:
        For each metric one value a seed.

    Raises:
        ConfigError: as `Session.test`, and where the store has no such sweep.
    """
    with attach(sweep) as session:
        return session.test(metric, at=at, rule=rule, simplest=simplest, again=again)


def params(sweep: Sweep, trial: str, *, step: int | None = None) -> PyTree:
    """The parameters of a finished trial of a recorded sweep.

    Args:
        sweep: the sweep, with the store and name that it was run with.
        trial: the trial's id, or the beginning of it.
        step: one of its evaluations, in steps (default: the last one).

    Returns:
        A pytree of arrays; see `Session.params`.

    Raises:
        ConfigError: as `Session.params`, and where the store has no such sweep.
    """
    with attach(sweep) as session:
        return session.params(trial, step=step)


def replay(sweep: Sweep, trial: str, *, batch_with: BatchWith = "neighbours") -> Replay:
    """Train a recorded trial again from its seed and compare every score with the record.

    Args:
        sweep: the sweep, with the store and name that it was run with.
        trial: the trial's id, or the beginning of it.
        batch_with: as in `Session.replay`.

    Returns:
        What was found.

    Raises:
        ConfigError: as `Session.replay`, and where the store has no such sweep.
    """
    with attach(sweep) as session:
        return session.replay(trial, batch_with=batch_with)


def verify_against(found: Verified, sweep: Sweep, count: int) -> Verified:
    """Add to ``found`` whether every trial of ``sweep`` is recorded, and what replaying ``count`` of them shows."""
    with attach(sweep) as result:
        rows = result.trials()
        replayed = replay_many(
            result, result.prepared, sample([row.id for row in rows if row.status == Status.FINISHED], count)
        )
    faults = [
        f"trial {trial} is asked for and not recorded" for trial in sorted(result.trial_ids - {r.id for r in rows})
    ]
    faults += [f"trial {row.id} is {row.status}" for row in rows if row.status != Status.FINISHED]
    faults += [str(one) for one in replayed if one.difference is not None]
    return replace(found, replayed=len(replayed), faults=(*found.faults, *faults))
