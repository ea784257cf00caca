"""Confirmation: the best configs of a sweep trained under fresh seeds, and chosen from again."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import SupportsIndex

from jsweep.errors import ConfigError
from jsweep.results.contenders import contenders
from jsweep.results.objective import Objective
from jsweep.results.ranking import At, ConfigScore
from jsweep.results.result import CONFIRMS
from jsweep.results.text_table import config_columns, format_table, spread
from jsweep.runner.progress import ProgressMode
from jsweep.runner.run import run
from jsweep.runner.session import SelectedConfig, Session
from jsweep.runner.sweep import Sweep
from jsweep.storage import open_store
from jsweep.storage.paths import resolve
from jsweep.task.config import check_count


@dataclass(frozen=True, eq=False)
class Confirmation:
    """The best configs of a sweep as it scored them, and as fresh seeds do; prints as a table, best by fresh seeds first.

    ``first`` are their scores in the sweep, best first, and ``fresh`` those under the fresh seeds, best first. ``session``
    is the sweep of the fresh seeds; ``session.test()`` tests what it chose.
    """

    first: Sequence[ConfigScore]
    fresh: Sequence[ConfigScore]
    best: SelectedConfig
    session: Session

    @property
    def optimism(self) -> float:
        """By how much the sweep's own choice scored better there than under fresh seeds, in the metric's unit."""
        first = self.first[0]
        again = next((score.mean for score in self.fresh if score.config_id == first.config_id), math.nan)
        return first.mean - again if first.mode == "max" else again - first.mean

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int = 80) -> str:
        """The table, in lines of at most ``width`` characters where a cell allows."""
        first = {score.config_id: (place, score) for place, score in enumerate(self.first, 1)}
        rows = [(place, *first[score.config_id], score) for place, score in enumerate(self.fresh, 1)]
        columns: list[tuple[str, Sequence[object]]] = [
            ("", [now for now, *_ in rows]),
            ("mean", [score.mean for *_, score in rows]),
            ("std", [spread(score.std) for *_, score in rows]),
            ("before", [before for _, before, _, _ in rows]),
            ("mean before", [old.mean for *_, old, _ in rows]),
            *config_columns([score.config for *_, score in rows]).items(),
        ]
        runs = self.best.runs.replace(" seed", " fresh seed")
        title = f"{self.best.metric} ({self.best.mode}) over {runs}"
        table = format_table(title, [name for name, _ in columns], [*zip(*(cells for _, cells in columns))], width)
        better = "better" if self.optimism >= 0 else "worse"
        note = f"the first choice scored {abs(self.optimism):.2g} {better} before than it does under fresh seeds"
        return f"{table}\n{note}{self._told()}"

    def _told(self) -> str:
        """Whether fresh seeds tell the best config from the others, in words."""
        if len(self.fresh) < 2 or len(self.best.values) < 2 or importlib.util.find_spec("scipy") is None:
            return ""
        near, others = len(contenders(self.fresh)) - 1, len(self.fresh) - 1
        if not near:
            return "\nit is better than every other one, at 95% confidence"
        return f"\n{near} of the other {others} cannot be told from the best at 95% confidence"


def confirm(
    session: Session,
    *,
    top: SupportsIndex = 5,
    seeds: SupportsIndex = 10,
    metric: str | Objective | None = None,
    at: At = "last",
    progress: ProgressMode | None = None,
) -> Confirmation:
    """Train the best configs of a sweep under fresh seeds, and choose again by these alone.

    The best of many configs owes its score to luck in part; under seeds that did not choose it, it no longer does. The
    fresh seeds follow the sweep's largest. They are recorded in the same store as a sweep named ``NAME-confirm``, so an
    interrupted confirmation is resumed and a larger one trains only what is new.

    Args:
        session: the sweep, from `run` or `attach`.
        top: how many of its best configs.
        seeds: how many fresh seeds.
        metric: what to choose by; default: the sweep's objective.
        at: the evaluation that counts, in steps; see `Result.ranking`.
        progress: as in `run`.

    Returns:
        A `Confirmation`.

    Raises:
        ConfigError: no config of the sweep is complete, or an argument is out of range.
    """
    count, fresh = check_count("top", top), check_count("seeds", seeds)
    first = [score for score in session.ranking(metric, at=at) if score.complete][:count]
    if not first:
        raise ConfigError(
            f"no config of {session.name!r} is complete, so none can be confirmed: finish the sweep first."
        )
    copied = [score.config_id for score in first if score.copies]
    if copied:
        raise ConfigError(
            f"{len(copied)} of these configs, the first {copied[0]}, trained with changing hyperparameters, which fresh seeds "
            "would not repeat: train the values of session.schedule(config) by js.schedules.table under fresh seeds."
        )
    again = run(confirming(session, first, fresh), progress=progress)
    return Confirmation(first, list(again.ranking(at=at)), again.best(at=at), again)


def recorded_confirmation(sweep: Sweep) -> Sweep:
    """The sweep that `confirm` recorded under the name of ``sweep``; ``sweep`` itself where its store has none.

    The functions and the data are those of ``sweep``, and the configs and seeds those of the record.
    """
    name, file = sweep.record_name, resolve(sweep.store)
    if not name.endswith(CONFIRMS) or file is None or not file.exists():
        return sweep
    with open_store(sweep.store, write=False) as store:
        record = store.sweep(name)
        if record is None or store.sweep(name.removesuffix(CONFIRMS)) is None:
            return sweep
        trials = store.trials(record.key)
    folds, said = sweep.task.data.folds, record.settings["objective"]
    configs = {trial.config_id: trial.config for trial in trials}
    return replace(
        sweep,
        configs=list(configs.values()),
        seeds=sorted({trial.seed // (folds.count if folds else 1) for trial in trials}),
        objective=Objective(said["metric"], said["mode"]),
        evaluate_every=record.identity["evaluate_every"],
        rule=None,
    )


def confirming(session: Session, first: Sequence[ConfigScore], seeds: int) -> Sweep:
    """The sweep of some configs of a session under as many fresh seeds, which follow its largest."""
    folds = session.prepared.sweep.task.data.folds
    begin = 1 + max(trial.seed for trial in session.trials()) // (folds.count if folds else 1)
    return replace(
        session.prepared.sweep,
        configs=[score.config for score in first],
        seeds=range(begin, begin + seeds),
        name=f"{session.name}{CONFIRMS}",
        objective=Objective(first[0].metric, first[0].mode),
        evaluate_every=session.prepared.setting.evaluate_every,
        rule=None,
    )
