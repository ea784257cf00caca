"""Commands of a sweep with its task at hand, as functions: ``test`` and ``params``."""

from jaxtyping import PyTree

from jsweep.results.objective import Objective
from jsweep.results.ranking import At, Rule, Simplest, TestScore
from jsweep.runner.run import attach
from jsweep.runner.sweep import Sweep


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
