"""What a store holds of a sweep: its trials, curves, tables and looks at test splits; nothing is ranked here."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jsweep._runtime.types import Value
from jsweep.errors import UnknownNameError
from jsweep.results.curves import Curves, curves_of
from jsweep.results.dataset import dataset_of
from jsweep.results.lineage import Lineage, lineage_of
from jsweep.results.moment import of_one_moment
from jsweep.results.objective import Directions, Objective, check_recorded, directions_of
from jsweep.results.summary import counts_of_trials
from jsweep.results.table import Table, table_of
from jsweep.storage import Checkpoint, Store, SweepRecord, TestOpening, Trial
from jsweep.storage.standing import ENDED, TrialState

if TYPE_CHECKING:
    import xarray

_OF_A_SESSION = ("test", "params", "state", "prepared")


class RecordedSweep:
    """A sweep as its store holds it, restricted to ``trial_ids`` (None: all of its trials)."""

    def __init__(self, store: Store, name: str, trial_ids: frozenset[str] | None = None):
        self._store = store
        row = store.sweep(name)
        if row is None:
            known = ", ".join(store.names()) or "none"
            raise UnknownNameError(f"no sweep {name!r} in {store.path}: it has {known}.")
        self._row: SweepRecord = row
        self.name = name
        self.label = name  # with what it was narrowed to
        # Configs by id in place of those read from the store, whose functions are only names: set by a Session.
        self._own_configs: Mapping[str, Mapping[str, Value]] = {}
        self._ids = trial_ids

    @property
    def trial_ids(self) -> frozenset[str]:
        """The ids of the trials."""
        return frozenset(self._store.ids(self._row.key)) if self._ids is None else self._ids

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}: {counts_of_trials(self.trials())})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_A_SESSION:
            raise AttributeError(f"{name} needs the task, which a record does not have: use js.attach(sweep).{name}.")
        raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}.")

    def close(self) -> None:
        """Close the store; results narrowed from this one share it."""
        self._store.close()

    @property
    def path(self) -> str:
        """The store as the user wrote it; ":memory:" for one in memory."""
        return self._store.path

    @property
    def folder(self) -> Path:
        """The folder of the store's checkpoints."""
        return self._store.folder

    @property
    def row(self) -> SweepRecord:
        """The sweep as recorded."""
        return self._row

    @property
    def objective(self) -> Objective:
        """The sweep's objective, with its direction; ConfigError where that is not known."""
        return self._directions().resolve(None, self.name)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives of the sweep, with their directions; ConfigError where one is not known."""
        directions = self._directions()
        several = directions.objectives or (directions.objective,)
        return tuple(directions.resolve(objective, self.name) for objective in several)

    def trials(self) -> list[Trial]:
        """The trials, in the order in which they were added to the store, each with the config that it trained with last."""
        return self._own(self._as_trained(self.sweep_trials()))

    def sweep_trials(self) -> list[Trial]:
        """All trials of the sweep, each with the config that it began with."""
        return self._store.trials(self._row.key)

    def lineage(self) -> Lineage:
        """Which configs went on from copies of others, by a rule such as `jsweep.rules.population_based_training`."""
        copies = self._store.copies(self._row.key)
        configs = {trial.config_id: trial.config for trial in self.sweep_trials()} if copies else {}
        return lineage_of({**configs, **self._own_configs}, copies)

    def states(self) -> dict[str, TrialState]:
        """How the trials stand, by id; cheaper to read than `trials`."""
        states = self._store.states(self._row.key)
        return {trial: state for trial, state in states.items() if self._ids is None or trial in self._ids}

    def trial(self, start: str) -> Trial:
        """The trial whose id begins with ``start``; UnknownNameError unless there is exactly one."""
        found = self._own(self._as_trained(self._store.trials_starting(self._row.key, start)))
        if len(found) != 1:
            raise UnknownNameError(
                f"{start!r} matches {len(found)} trials of {self.name!r}: pass more of an id, as in "
                f"jsweep show {shlex.quote(self.name)} --json."
            )
        return found[0]

    def environments(self) -> dict[int, dict[str, Any]]:
        """Where trials were trained (versions, device, flags), by the number in a trial's ``environment``."""
        return self._store.environments()

    def metrics(self) -> list[str]:
        """The recorded metrics: "validation/loss", "train/loss", ..."""
        return self._store.metrics(self._row.key)

    def ledger(self) -> list[TestOpening]:
        """Every look at the sweep's test split, by whichever sweep of the store, oldest first."""
        return ledger_of(self._store, self._row)

    def saved(self, trial: str) -> Checkpoint | None:
        """The checkpoint of a finished trial at its end, if it was kept."""
        return self._store.final_checkpoint(self._row.key, trial)

    def snapshot(self) -> AbstractContextManager[None]:
        """While the block runs, all answers are of one moment of the record, whatever is written meanwhile."""
        return self._store.snapshot()

    @of_one_moment
    def curves(self, metric: str) -> Curves:
        """A metric of every trial at every evaluation: arrays of shape (trials, evaluations), and pairs by trial id."""
        check_recorded(metric, self.metrics(), self.name)
        scores = self._store.scores(self._row.key, metric)
        return curves_of(metric, {trial.id: scores.get(trial.key, []) for trial in self.trials()})

    @of_one_moment
    def recorded(self, trials: Iterable[Trial]) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """All scores of some trials: trial -> metric -> (step, value) pairs."""
        return {trial.id: self._store.curves(trial.key) for trial in trials}

    @of_one_moment
    def to_xarray(self) -> "xarray.Dataset":
        """Every metric's curves as an xarray Dataset with the dimensions config, seed and step; see `dataset_of`."""
        return dataset_of(self.trials(), self.metrics(), {m: self.curves(m) for m in self.metrics()})

    @of_one_moment
    def table(self) -> Table:
        """A row a trial: ids, seed, hyperparameters, status, steps and every metric after the last step recorded."""
        trials, metrics = self.trials(), self.metrics()
        if all(trial.status in ENDED for trial in trials):
            last = self._store.last_scores(self._row.key)
            found = {metric: {key: own[metric] for key, own in last.items() if metric in own} for metric in metrics}
        else:
            curves = {metric: self._store.scores(self._row.key, metric) for metric in metrics}
            found = {metric: {key: own[-1][1] for key, own in by.items()} for metric, by in curves.items()}
        return table_of(trials, found)

    def _own(self, trials: Sequence[Trial]) -> list[Trial]:
        return [trial for trial in trials if self._ids is None or trial.id in self._ids]

    def _as_trained(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Trials with what they trained with last, as far as they have trained."""
        lineage = self.lineage()
        if not lineage.copies:
            return trials
        return [
            replace(trial, config=lineage.trained(trial.config_id, trial.done))
            if lineage.changed(trial.config_id, trial.done)
            else trial
            for trial in trials
        ]

    def _directions(self) -> Directions:
        return directions_of(self.metrics(), self._row.settings)


def ledger_of(store: Store, row: SweepRecord) -> list[TestOpening]:
    """Every look at the test split of a sweep, by whichever sweep of the store, oldest first."""
    data = row.identity.get("test")
    return store.tests(data) if isinstance(data, str) else []
