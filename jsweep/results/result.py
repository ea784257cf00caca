"""Results: read from the record, compared and chosen by validation; the test split opened once, on record."""

from pathlib import Path
from typing import Any, Self

from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore, _config_score
from jsweep.storage import Checkpoint, Store, SweepRecord, TestOpening, Trial


class Result:
    """A sweep's record, as seen by the trials that were asked for."""

    def __init__(self, store: Store, name: str, trial_ids: frozenset[str] | None = None):
        self._store = store
        row = store.sweep(name)
        if row is None:
            raise ConfigError(f"no sweep {name!r} in {store.path}: it has {_listed(r.name for r in store.sweeps())}.")
        self._row: SweepRecord = row
        self.name = name
        self.trial_ids = trial_ids if trial_ids is not None else frozenset(t.id for t in store.trials(row.key))

    def __repr__(self) -> str:
        states = [trial.status for trial in self.trials()]
        counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        return f"Result({self.name!r}: {counts})"

    def close(self) -> None:
        """Close the store; the result cannot be read afterwards."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def trials(self) -> list[Trial]:
        """The trials that were asked for, in the order they were added to the record."""
        return [trial for trial in self._store.trials(self._row.key) if trial.id in self.trial_ids]

    def trial(self, start: str) -> Trial:
        """The trial whose id begins with ``start``; ConfigError unless there is exactly one."""
        matching = [row for row in self.trials() if row.id.startswith(start)]
        if len(matching) != 1:
            raise ConfigError(
                f"{start!r} matches {len(matching)} trials of {self.name!r}: give an id from jsweep show --json."
            )
        return matching[0]

    def environments(self) -> dict[int, dict[str, Any]]:
        """Where trials were trained (versions, device, flags), by the number in a trial's ``environment``."""
        return self._store.environments()

    def metrics(self) -> list[str]:
        """The names a config can be chosen by and the training metrics: "validation/loss", "train/loss", ..."""
        return self._store.metrics(self._row.key)

    def curves(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """For each trial's id the recorded (step, value) pairs, in order of step."""
        self._check_metric(metric)
        scores = self._store.scores(self._row.key, metric)
        return {trial.id: scores.get(trial.key, []) for trial in self.trials()}

    def ranking(self, metric: str = "validation/loss") -> list[ConfigScore]:
        """Every config's score, best first; unsound ones come last. Ties keep the order of the record."""
        self._check_metric(metric)
        last = self._store.last_scores(self._row.key)
        members: dict[str, list[Trial]] = {}
        for trial in self.trials():
            members.setdefault(trial.config_id, []).append(trial)
        scored = [_config_score(metric, trials, last) for trials in members.values()]
        sign = -1 if self.higher_is_better(metric) else 1
        return sorted(scored, key=lambda s: (not s.complete, sign * s.mean if s.complete else 0.0))

    def best(self, metric: str = "validation/loss") -> ConfigScore:
        """The config with the best mean over seeds of a validation metric at the end of training.

        Raises ConfigError for a metric that is not recorded or is not of the validation split, and where no config has
        finite scores under all its seeds.
        """
        if metric.startswith("train/"):
            raise ConfigError(
                f"metric={metric!r} is measured on the training examples: choose by one of {_listed(self._choosable())}."
            )
        ranking = self.ranking(metric)
        if not ranking or not ranking[0].complete:
            raise ConfigError(
                f"no config of {self.name!r} has finished with a finite {metric} under all its seeds: the trials of "
                "result.trials() say at which step each went wrong (from the first on by labels that are no class, or inputs "
                "that are not finite; later by too large a learning rate)."
            )
        return ranking[0]

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of this metric is better, as the task said."""
        return metric.split("/", 1)[-1] in self._row.settings.get("higher_is_better", [])

    def saved(self, trial: str) -> Checkpoint | None:
        """The checkpoint of a finished trial at its end, if it was kept."""
        rows = self._store.checkpoints(self._row.key)
        return next((row for row in rows if row.finished and row.tile == trial), None)

    def ledger(self) -> list[TestOpening]:
        """Every opening of the test split, oldest first."""
        return self._store.tests(self._row.key)

    def _choosable(self) -> list[str]:
        return [metric for metric in self.metrics() if not metric.startswith("train/")]

    def _check_metric(self, metric: str) -> None:
        if metric not in self.metrics():
            raise ConfigError(f"metric={metric!r} is not recorded for {self.name!r}: it has {_listed(self.metrics())}.")


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"
