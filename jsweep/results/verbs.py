"""The verbs that read a record, as functions: open, list, show, best, diagnose, importance, report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, overload

from jsweep.errors import ConfigError, StoreError
from jsweep.results.diagnostics import Diagnosis
from jsweep.results.importance import Importance, Method
from jsweep.results.objective import Objective
from jsweep.results.ranking import At, ConfigScore, Rule, Simplest
from jsweep.results.recorded_sweep import ledger_of
from jsweep.results.report import Page, check_target
from jsweep.results.report.several import page_of_several
from jsweep.results.reports import SweepReport, SweepSummary, TrialReport
from jsweep.results.result import Result
from jsweep.storage import Status, SweepRecord, TestOpening, open_store

Metric: TypeAlias = str | Objective | None


def open(store: str | Path, name: str | None = None) -> Result:
    """Open a sweep of a store to read it; nothing is trained, and the task is not needed.

    ``name`` is the sweep's (default: the latest). Raises StoreError where the store cannot be read or has no sweeps,
    UnknownNameError for a name that it does not have. The result may be used as a context manager, which closes it.
    """
    record = open_store(store, write=False)
    try:
        names = record.names()
        if not names:
            raise StoreError(f"{record.path} has no sweeps yet: make one with jsweep run FILE --store {record.path}.")
        return Result(record, names[-1] if name is None else name)
    except BaseException:
        record.close()
        raise


def list(store: str | Path) -> Sequence[SweepSummary]:
    """The sweeps of a store, oldest first; StoreError where it cannot be read."""
    record = open_store(store, write=False)
    try:
        with record.snapshot():
            return [_summary(record.counts(row.key), ledger_of(record, row), row) for row in record.sweeps()]
    finally:
        record.close()


@overload
def show(
    store: str | Path, sweep: str | None = None, trial: None = None, *, metric: Metric = None, at: At = "last"
) -> SweepReport: ...


@overload
def show(
    store: str | Path, sweep: str | None, trial: str, *, metric: Metric = None, at: At = "last"
) -> TrialReport: ...


def show(
    store: str | Path,
    sweep: str | None = None,
    trial: str | None = None,
    *,
    metric: Metric = None,
    at: At = "last",
) -> SweepReport | TrialReport:
    """Read a sweep (its configs ranked, its trials, how it was run), or one of its trials with every metric by step.

    Args:
        store: The store's file.
        sweep: The sweep's name; default: the latest.
        trial: The beginning of a trial's id; default: the whole sweep.
        metric: What to rank a sweep by; default: its objective.
        at: The evaluation that counts, in steps; see `Result.ranking`.

    Returns:
        A `SweepReport` or, for a trial, a `TrialReport`; both print as tables.

    Raises:
        StoreError: The store cannot be read.
        ConfigError: It has no such sweep or trial, or the sweep cannot be ranked by the metric.
    """
    with open(store, sweep) as result, result.snapshot():
        return _sweep_report(result, metric, at) if trial is None else _trial_report(result, trial)


def best(
    store: str | Path,
    sweep: str | None = None,
    *,
    metric: Metric = None,
    at: At = "last",
    rule: Rule = "mean",
    simplest: Simplest | None = None,
) -> ConfigScore:
    """Select a config of a sweep by a validation metric.

    Args:
        store: The store's file.
        sweep: The sweep's name; default: the latest.
        metric: What to select by; default: the sweep's objective.
        at: The evaluation that counts, in steps; see `Result.ranking`.
        rule: "mean" or "one-standard-error"; see `Result.best`.
        simplest: The order of simplicity that "one-standard-error" needs; see `Result.best`.

    Returns:
        The score of the selected config.

    Raises:
        StoreError: The store cannot be read.
        ConfigError: It has no such sweep, or no config can be selected by the metric.
    """
    with open(store, sweep) as result:
        return result.best(metric, at=at, rule=rule, simplest=simplest)


def diagnose(store: str | Path, sweep: str | None = None, *, metric: Metric = None) -> Diagnosis:
    """What the scores of a sweep say about its space, its length and its seeds.

    Args:
        store: The store's file.
        sweep: The sweep's name; default: the latest.
        metric: The metric to judge by; default: the sweep's objective.

    Returns:
        The findings, each with what to try; see `Result.diagnose`.

    Raises:
        StoreError: The store cannot be read.
        ConfigError: It has no such sweep, or the sweep cannot be ranked by the metric.
        MissingExtraError: SciPy is not installed.
    """
    with open(store, sweep) as result:
        return result.diagnose(metric)


def importance(
    store: str | Path, sweep: str | None = None, *, metric: Metric = None, method: Method | None = None
) -> Importance:
    """How much each hyperparameter of a sweep matters for its scores.

    Args:
        store: The store's file.
        sweep: The sweep's name; default: the latest.
        metric: The metric to judge by; default: the sweep's objective.
        method: "anova" or "ped-anova"; default: the first for a full grid, else the second.

    Returns:
        The importances, largest first; see `Result.importance`.

    Raises:
        StoreError: The store cannot be read.
        ConfigError: It has no such sweep, or its configs cannot be weighed so.
        MissingExtraError: Optuna is needed and not installed.
    """
    with open(store, sweep) as result:
        return result.importance(metric, method=method)


def report(
    store: str | Path | Sequence[Result],
    sweep: str | None = None,
    path: str | Path | None = None,
    *,
    metric: Metric = None,
) -> Page:
    """A sweep, or several side by side, as one HTML file that needs no network.

    Args:
        store: The store's file; or several results, of one store or of several, to put side by side.
        sweep: The sweep's name; default: the latest. Not with several results.
        path: The file to write; default: none.
        metric: The metric to rank by; default: the sweep's objective, which several have to share.

    Returns:
        The page, which shows itself in a notebook; see `Result.report`. That of several sweeps has the best config of each
        with intervals of their differences, their curves together, and the findings of each.

    Raises:
        StoreError: The store cannot be read.
        ConfigError: It has no such sweep, a sweep cannot be ranked by the metric, the file cannot be written, or the
            objectives of several sweeps differ.
        MissingExtraError: Plotly or SciPy is not installed.
    """
    if isinstance(store, str | Path):
        with open(store, sweep) as result:
            return result.report(path, metric=metric)
    if sweep is not None:
        raise ConfigError(f"sweep={sweep!r} does not go with several results, which have names: leave it out.")
    for result in store if path is not None else ():
        check_target(str(path), result.path)
    page = page_of_several(store, metric)
    if path is not None:
        page.save(path)
    return page


def _sweep_report(result: Result, metric: Metric, at: At) -> SweepReport:
    ranking = [*result.ranking(metric, at=at)]
    trials = result.trials()
    known, used = result.environments(), {trial.environment for trial in trials}
    environments = [described for number, described in known.items() if number in used]
    return SweepReport(result.row, ranking, trials, result.ledger(), environments)


def _trial_report(result: Result, start: str) -> TrialReport:
    trial = result.trial(start)
    curves = result.recorded([trial])[trial.id]
    return TrialReport(trial, {metric: dict(curves.get(metric, [])) for metric in result.metrics()})


def _summary(counts: Mapping[Status, int], ledger: Sequence[TestOpening], sweep: SweepRecord) -> SweepSummary:
    finished, stopped, failed = (counts.get(s, 0) for s in (Status.FINISHED, Status.STOPPED, Status.FAILED))
    total, tested = sum(counts.values()), len(ledger)
    return SweepSummary(sweep.name, sweep.task, total, finished, stopped, failed, tested, sweep.created)
