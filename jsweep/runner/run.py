"""Running a sweep: what its store lacks is trained, and a session returned."""

import contextlib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jsweep._runtime.backend import configure
from jsweep._runtime.types import Value
from jsweep.engine.events import Callback
from jsweep.engine.executors.programs import KeptPrograms
from jsweep.engine.executors.remote import Executor
from jsweep.engine.placement import check_mesh, workers_of
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.runner.audience import Audience
from jsweep.runner.compatibility import (
    check_same,
    warn_of_unchecked,
)
from jsweep.runner.halting import Halted, make_limits, requests
from jsweep.runner.prepare import prepare
from jsweep.runner.progress import ProgressMode
from jsweep.runner.remote import Remote, remote_of
from jsweep.runner.searching import parts, proposed
from jsweep.runner.session import Session
from jsweep.runner.sharding import shard_of, share
from jsweep.runner.sweep import Sweep
from jsweep.runner.training import Run
from jsweep.search.model_based import Search
from jsweep.storage import Status, Store, open_store
from jsweep.storage.paths import resolve
from jsweep.storage.standing import ended_at
from jsweep.task.task import Task


def sweep(task: Task, configs: Sequence[Mapping[str, Value]] | Search, **options: Any) -> Session:
    """Train every config under every seed, in one call.

    Args:
        task: the task.
        configs: as `Sweep` takes them.
        options: the other arguments of `Sweep`.

    Returns:
        The session, as of `run`.
    """
    return run(Sweep(task, configs, **options))


def run(
    sweep: Sweep,
    *,
    progress: ProgressMode | None = None,
    callbacks: Sequence[Callback] = (),
    workers: Sequence[jax.Device] | int | None = None,
    executor: Executor | None = None,
    any_environment: bool = False,
    wall_time: float | str | None = None,
    target: float | None = None,
    no_improvement: int | None = None,
    shard: str | tuple[int, int] | None = None,
) -> Session:
    """Train a sweep's trials that are not yet in its store, and return the session.

    If the sweep is already in the store, it is resumed: finished trials stay, running ones continue from their last
    checkpoint, failed ones are tried again, and trials given more steps train the rest. Several processes may run one sweep
    at once; each trial is trained by one of them, and each process returns when all are done. Ctrl-C ends the sweep after
    the current segments with everything recorded; a second one ends it at once. ``wall_time``, ``target``,
    ``no_improvement`` and `jsweep.stop` end it as the first Ctrl-C does, but the session is returned, and a warning says what
    has ended it.

    Args:
        sweep: the sweep.
        progress: "live", "plain" (a line every few seconds) or "off"; None is live on a terminal or in a notebook, else off.
        callbacks: receive each event once it is recorded; see `Callback`.
        workers: the device of each worker (default: every device; on CPU, one worker a core). It changes speed, not results.
            With an executor: how many tiles it is given at once (default: as many as it says that it has workers).
        executor: train in its worker processes: `jsweep.ray`, or a `concurrent.futures.Executor`; see `Executor`. This
            process records and decides, so the record is the same.
        any_environment: resume a sweep that was begun under other versions or on another machine.
        wall_time: how long the sweep may be trained for, compiling included and in all its runs together: seconds, or text
            such as "90s", "10min" or "1h 30min".
        target: the value of the objective that is good enough: training ends once a config has reached it at its end, as
            the mean over its seeds.
        no_improvement: training ends once so many configs have come to their end in this run since the best one did.
        shard: train a fixed share of the trials alone, such as "3/64" or ``(3, 64)`` for the third of 64; see `merge`.

    Returns:
        The sweep's `Session`.

    Raises:
        ConfigError: where something about the sweep cannot be used.
        IncompatibleSweepError: where the store has another sweep of that name, or this one from another environment.
        JsweepError: where an executor's workers died, or cannot train the sweep.
        MissingExtraError: where an executor is passed and cloudpickle is not installed.
        StoreError: where the store cannot be read or written.
    """
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"sweep is a {type(sweep).__name__}: pass a jsweep.Sweep.")
    name, audience = sweep.record_name, Audience(sweep, progress, callbacks)
    limits, mine = make_limits(wall_time, target, no_improvement), shard_of(shard)
    check_mesh(sweep.task, sweep.tile, workers, executor)
    remote = remote_of(executor, sweep.task, workers, any_environment)
    configure()  # before the workers are counted, which starts JAX's backend
    with contextlib.ExitStack() as on_error:
        store = on_error.enter_context(open_store(sweep.store))
        learns = isinstance(sweep.configs, Search)
        record = store.sweep(name)
        kept: KeptPrograms | None = {} if learns else None
        given = _devices(sweep.task, workers, remote)
        run = Run(store, given, remote, audience, any_environment, limits, requests(record), mine, kept)
        if record is None and learns:
            record, _ = run.enter(sweep)  # roles are decided for all that it may propose, not for one batch
        sessions, halted = [], None
        with audience:
            try:
                sessions += [run.train(part) for part in parts(store, sweep, record)]
            except Halted as reason:
                halted = reason
        if len(sessions) == 1 and halted is None and not learns:
            session = sessions[0]
        else:  # of a search others may have trained batches that this process was not given
            row = store.sweep(name)
            session = Session(store, name, share(prepare(proposed(store, sweep, row), row, traces=run.traces), mine))
        warn_of_unchecked(store, session.row, session.prepared)
        on_error.pop_all()
    _warn_of_failures(store, session)
    if halted is not None:
        ended = len(ended_at(store.states(session.row.key), session.prepared.trials))
        warnings.warn(
            f"the run of {name!r} ended early, as {halted}: {ended} of {len(session.prepared.trials)} trials have ended. Run it "
            "again to train the rest.",
            stacklevel=2,
        )
    return session


def _devices(task: Task, workers: Sequence[jax.Device] | int | None, remote: Remote | None) -> Sequence[jax.Device]:
    """The workers' devices; those of an executor are taken to be like this process's first.

    The width of a tile on CPU depends on the core alone, on accelerators also on how many there are.
    """
    if isinstance(workers, int) and remote is None:
        raise ConfigError(f"workers={workers!r} is a number, which only an executor takes: pass devices.")
    given = workers_of(task) if isinstance(workers, int) or not workers else workers
    return given if remote is None or given[0].platform == "cpu" else [given[0]] * remote.at_once


def attach(sweep: Sweep) -> Session:
    """The session of a sweep that is in its store already; nothing is trained.

    Raises:
        ConfigError: where the store has no sweep of its name.
        IncompatibleSweepError: where it has another sweep of that name.
    """
    with contextlib.ExitStack() as on_error:
        store = on_error.enter_context(open_store(sweep.store, write=_can_write(sweep)))
        record = store.sweep(sweep.record_name)
        if record is None:
            memory = "" if store.file else "; a record in memory is that of its own session alone"
            raise ConfigError(f"{store.path} has no sweep {sweep.record_name!r}: run it first{memory}.")
        # Whatever lengths are asked for now.
        lengths = {trial: state.own.steps for trial, state in store.states(record.key).items()}
        prepared = prepare(proposed(store, sweep, record), record, lengths)
        check_same(store, record, prepared, trains=False)
        warn_of_unchecked(store, record, prepared)
        missing = {trial.config_id for trial in prepared.trials if trial.id not in lengths}
        if missing:
            warnings.warn(
                f"{len(missing)} of the {len({t.config_id for t in prepared.trials})} configs of {record.name!r} are not in "
                f"{store.path}: the session has the others alone. Run the sweep to train them.",
                stacklevel=2,
            )
        on_error.pop_all()
    return Session(store, record.name, prepared)


def _can_write(sweep: Sweep) -> bool:
    """Whether the sweep's store is there and can be written; one that cannot is attached to all the same, to be read."""
    file = resolve(sweep.store)
    return file is None or (file.exists() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _warn_of_failures(store: Store, session: Session) -> None:
    if not store.has_trouble(session.row.key):
        return
    rows = session.trials()
    failed = [trial for trial in rows if trial.status == Status.FAILED]
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(rows)} trials failed, the first ({failed[0].id}) with {failed[0].reason}; see "
            "Result.trial(id).traceback.",
            stacklevel=3,
        )
    stuck = [trial for trial in rows if trial.status == Status.FINISHED and trial.reason]
    if stuck:
        warnings.warn(
            f"{len(stuck)} of {len(rows)} trials could not be trained further and stay as they were, the first "
            f"({stuck[0].id}, at {stuck[0].steps} steps) with {stuck[0].reason}.",
            stacklevel=3,
        )
    diverged = [trial for trial in rows if trial.nonfinite is not None]
    if diverged and len(diverged) == len(rows) and not any(score.complete for score in _ranking(session)):
        first = min(trial.nonfinite or 0 for trial in diverged)
        warnings.warn(
            f"every trial became infinite or NaN, the first at step {first}{_where(session)}: look for labels out of range, "
            "inputs that are not scaled, or learning rates that are too large.",
            stacklevel=3,
        )


def _where(session: Session) -> str:
    """Which metrics were not finite at the trials' last steps, where others were."""
    last = {name: [pairs[-1][1] for _, pairs in session.curves(name).items() if pairs] for name in session.metrics()}
    wrong = [name for name, values in last.items() if values and not all(map(math.isfinite, values))]
    return (
        f" (in {', '.join(wrong)}, not in {', '.join(sorted(last.keys() - set(wrong)))})"
        if len(wrong) < len(last)
        else ""
    )


def _ranking(session: Session) -> Sequence[ConfigScore]:
    return () if session.prepared.objective is None else session.ranking()
