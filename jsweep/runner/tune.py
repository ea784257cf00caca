"""Tuning in one call: a search, a rule and a confirmation that fit a given time, with a report of what was done and why."""

import math
import os
import time
import warnings
from dataclasses import dataclass, replace

from jsweep._runtime.durations import duration, seconds_of
from jsweep._runtime.prng import Key
from jsweep.engine.placement import workers_of
from jsweep.errors import ConfigError
from jsweep.planning.grouping import Traces
from jsweep.results.objective import Objective
from jsweep.results.ranking import TestScore
from jsweep.runner.confirm import Confirmation, confirm, confirming
from jsweep.runner.plan import Plan, plan, plan_of
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.progress import ProgressMode
from jsweep.runner.run import run
from jsweep.runner.session import SelectedConfig, Session
from jsweep.runner.sweep import Sweep
from jsweep.search.grid import grid
from jsweep.search.random import random
from jsweep.search.rules import asynchronous_halving, successive_halving
from jsweep.space import Configs, Space
from jsweep.space._space import SpaceLike, as_space
from jsweep.storage import Status, open_store
from jsweep.storage.paths import resolve
from jsweep.task.task import Task

EPOCHS = 20  # of a trial, where nothing is said
SEARCH_SHARE = 0.7  # of the time; the rest is for confirming
PLAN_SHARE = 0.1  # of the time, at most, to find how many configs keep the machine busy
TRIED, MOST = 64, 16384  # configs
OVERPLANNED = (
    4  # times the budget, of configs that a rule is given: plans of tiny tasks are too long, and the clock ends the run
)
FIRST_SHARE = 27  # the rule decides first after 1 / 27 of the longest trial
WAVE = 64  # configs of the rule that train at once
CONFIRMED = ((5, 10), (5, 5), (3, 5), (3, 3), (2, 3))  # configs and fresh seeds, the most wanted first


@dataclass(frozen=True, eq=False)
class Tuned:
    """What `tune` has found; prints as a report of what was done and why.

    Attributes:
        best: the config that was chosen: by fresh seeds, where there was time for them.
        session: the search.
        confirmation: the best configs under fresh seeds; None where there was no time for it.
        report: what was done, a sentence each.
    """

    best: SelectedConfig
    session: Session
    confirmation: Confirmation | None
    report: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*self.report, f"best: {self.best}"])

    def test(self) -> TestScore:
        """The chosen config on the test split, once; see `Session.test`."""
        return self.best.session.test()


def tune(
    task: Task,
    space: SpaceLike,
    *,
    wall_time: float | str,
    steps: int | None = None,
    epochs: float | None = None,
    objective: str | Objective | None = None,
    key: Key = 0,
    store: str | os.PathLike[str] | None = None,
    name: str | None = None,
    progress: ProgressMode | None = None,
) -> Tuned:
    """Find good hyperparameters in a given time, for those who do not want to choose how.

    Random configs train under halving, asynchronous where they are many, for 70% of the time; how many are begun is what
    `plan` says keeps the machine busy for so long. A space of few configs is trained as a whole. Then as many of the best as
    fit the rest of the time are confirmed under fresh seeds, by which one is chosen. Where none came to its end, the best of
    those that came furthest are trained to theirs, which may take longer. With a ``store``, an interrupted call goes on
    where it was.

    Args:
        task: the task.
        space: names and what they take, as `Space` takes them.
        wall_time: the time there is, compiling included: seconds, or text such as "90s" or "10min". It is kept to about
            a segment, and what confirming takes is estimated.
        steps: the longest that a trial trains, in steps.
        epochs: the same in epochs; 20 where neither is given and configs do not say.
        objective: as in `Sweep`.
        key: the root key of configs and training.
        store: as in `Sweep`.
        name: as in `Sweep`.
        progress: as in `run`.

    Returns:
        What was found, with a report.

    Raises:
        ConfigError: for what cannot be used, and where no config is evaluated in the time.
    """
    begun, seconds = time.perf_counter(), seconds_of("wall_time", wall_time)
    space = as_space(space)
    if steps is None and epochs is None and not {"steps", "epochs"} & set(space):
        epochs = EPOCHS
    base = Sweep(task, [{}], steps=steps, epochs=epochs, objective=objective, key=key, store=store, name=name)
    sweep, planned = _course(base, space, SEARCH_SHARE * seconds, begun + PLAN_SHARE * seconds)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the run of .* ended early")  # which the report says
        left = SEARCH_SHARE * seconds - (time.perf_counter() - begun)
        session = run(sweep, progress=progress, wall_time=max(left, 1.0))
    if any(score.complete for score in session.ranking()):
        confirmation = _confirmed(session, seconds - (time.perf_counter() - begun), progress)
        said = _said_of_confirming(confirmation)
    else:
        confirmation, said = _finished(session, wall_time, progress)
    best = session.best() if confirmation is None else confirmation.best
    report = [_said_of(sweep, planned), _said_of_training(session), said]
    report.append(f"time: {duration(time.perf_counter() - begun)} of {duration(seconds)}")
    return Tuned(best, session, confirmation, tuple(report))


def _course(base: Sweep, space: Space, budget: float, until: float) -> tuple[Sweep, Plan]:
    """The sweep that takes up ``budget`` seconds, with its plan, as far as can be found before ``until``."""
    recorded = _recorded(base)
    if recorded is not None:
        count, ruled = recorded
        prepared = prepare(replace(base, configs=_drawn(space, count, base.key)))
        sweep = _with_rule(prepared) if ruled else prepared.sweep
        return sweep, plan(sweep)
    traces: Traces = {}
    count = TRIED
    while True:
        prepared = prepare(replace(base, configs=_drawn(space, count, base.key)), traces=traces)
        is_all = len(prepared.sweep.configs) < count
        planned = plan_of(prepared, workers_of(base.task))
        if is_all and planned.seconds <= budget:
            return prepared.sweep, planned
        sweep = _with_rule(prepared)
        planned = plan_of(prepare(sweep, traces=traces), workers_of(base.task))
        wanted = (OVERPLANNED if sweep.rule is not None else 1) * budget
        if is_all or planned.seconds >= wanted or count == MOST or time.perf_counter() > until:
            return sweep, planned
        count = min(MOST, math.ceil(1.2 * count * wanted / planned.seconds))


def _recorded(sweep: Sweep) -> tuple[int, bool] | None:
    """How many configs an earlier call has begun, and whether under a rule; None where there was none."""
    file = resolve(sweep.store)
    if file is None or not file.exists():
        return None
    with open_store(sweep.store, write=False) as store:
        record = store.sweep(sweep.record_name)
        trials = [] if record is None else store.trials(record.key)
    if record is None or not trials:
        return None
    return len({trial.config_id for trial in trials}), record.identity.get("rule") is not None


def _drawn(space: Space, count: int, key: Key) -> Configs:
    """Random configs; all of the space where it has fewer."""
    try:
        return random(space, count, key=key)
    except ConfigError:
        return grid(space)


def _with_rule(prepared: Prepared) -> Sweep:
    """A sweep under halving; as it is where its trials are too short for that.

    Asynchronous halving, which has results early, takes none of a few configs to the end; successive halving takes one.
    """
    longest = max(trial.steps for trial in prepared.trials)
    if longest < 2:
        return prepared.sweep
    first = -(-longest // FIRST_SHARE)
    few = len(prepared.sweep.configs) < 3 * FIRST_SHARE
    rule = successive_halving(first) if few else asynchronous_halving(first, wave=WAVE)
    return replace(prepared.sweep, rule=rule, evaluate_every=first)


def _confirmed(session: Session, left: float, progress: ProgressMode | None) -> Confirmation | None:
    """As many of the best configs under as many fresh seeds as fit the time that is left."""
    begun = time.perf_counter()
    complete = [score for score in session.ranking() if score.complete]
    for top, seeds in CONFIRMED:
        planned = plan(confirming(session, complete[:top], seeds))
        if planned.seconds <= left - (time.perf_counter() - begun):
            return confirm(session, top=top, seeds=seeds, progress=progress)
    return None


def _finished(session: Session, wall_time: float | str, progress: ProgressMode | None) -> tuple[Confirmation, str]:
    """The most promising of the configs that came furthest, trained to their ends however long that takes, and a sentence."""
    step = max(trial.done for trial in session.trials())
    if step == 0:
        raise ConfigError(
            f"no config of {session.name!r} was evaluated in {SEARCH_SHARE:.0%} of wall_time={wall_time!r}, the share for "
            "searching: pass a longer one, or fewer static values, whose programs are compiled one by one."
        )
    known = [score for score in session.ranking(at=step) if score.values and math.isfinite(score.mean)]
    if not known:
        raise ConfigError(
            f"every config of {session.name!r} became infinite or NaN: widen the space, or scale the inputs."
        )
    first = sorted(known, key=lambda score: -score.mean if score.mode == "max" else score.mean)[: CONFIRMED[-1][0]]
    again = run(confirming(session, first, 1), progress=progress)
    return Confirmation(first, list(again.ranking()), again.best(), again), (
        f"no config was trained to its end in time: the best {len(first)} at step {step} then were, under a fresh seed"
    )


def _said_of(sweep: Sweep, planned: Plan) -> str:
    count, programs = len(sweep.configs), f"{planned.programs} program{'s' * (planned.programs != 1)}"
    how = f"{count} configs" if sweep.rule is None else f"up to {count} configs under {sweep.rule!r}"
    return f"search: {how}, for which the plan says {duration(planned.seconds)} in {programs}"


def _said_of_training(session: Session) -> str:
    trials = session.trials()
    ended = sum(trial.status == Status.FINISHED for trial in trials)
    begun = sum(trial.done > 0 for trial in trials)
    share = sum(trial.done for trial in trials) / sum(trial.steps for trial in trials)
    return f"trained: {begun} of {len(trials)} configs, {ended} of them to the end; {share:.0%} of all steps"


def _said_of_confirming(confirmation: Confirmation | None) -> str:
    if confirmation is None:
        top, seeds = CONFIRMED[-1]
        return f"not confirmed: there was no time to train {top} configs under {seeds} fresh seeds, so luck may have chosen"
    seeds = len(confirmation.best.values)
    return (
        f"confirmed: the best {len(confirmation.fresh)} under {seeds} fresh seeds; the first choice scored "
        f"{confirmation.optimism:+.2g} better before"
    )
