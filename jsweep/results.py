"""Results: read from the record, compared and chosen by validation; the test split opened once, on record."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jsweep.errors import UserError
from jsweep.space import format_value
from jsweep.store import CheckpointRow, Store, SweepRow, TestRow, TrialRow, now


@dataclass(frozen=True)
class ConfigScore:
    """One config's score by one metric: mean and spread over its seeds, and the trials behind it.

    ``values`` are the seeds' last scores in order of seed; ``std`` is their sample standard deviation (0.0 for one
    seed). ``sound`` is False where a seed failed, is unfinished, or has a score that is not finite: such a config is
    never chosen.
    """

    config_id: str
    config: Mapping[str, Any]
    metric: str
    mean: float
    std: float
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    trials: tuple[str, ...]
    sound: bool

    def __str__(self) -> str:
        config = ", ".join(f"{name}={format_value(value)}" for name, value in self.config.items())
        return f"{self.metric} {self.mean:.5g} ± {self.std:.2g} over {len(self.values)} seeds at {config}"


@dataclass(frozen=True)
class TestScore:
    """What opening the test split gave: for each metric one value a seed. ``from_ledger``: it had been opened before."""

    config: Mapping[str, Any]
    scores: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    opened: str
    from_ledger: bool

    def mean(self, metric: str) -> float:
        """The mean over seeds of ``test/NAME``."""
        return statistics.fmean(self.scores[metric])

    def __str__(self) -> str:
        parts = [
            f"{name} {statistics.fmean(values):.5g} ± {_spread(values):.2g}"
            for name, values in sorted(self.scores.items())
        ]
        source = "from the ledger, opened" if self.from_ledger else "opened"
        return f"{', '.join(parts)} over {len(self.seeds)} seeds ({source} {self.opened})"


class Result:
    """A sweep's record, as seen by the trials that were asked for."""

    def __init__(self, store: Store, name: str, trial_ids: frozenset[str] | None = None, prepared: Any = None):
        self._store, self._prepared = store, prepared
        row = store.sweep(name)
        if row is None:
            raise UserError(f"no sweep {name!r} in {store.path}: it has {_listed(r.name for r in store.sweeps())}.")
        self._row: SweepRow = row
        self.name = name
        self.trial_ids = trial_ids if trial_ids is not None else frozenset(t.id for t in store.trials(row.key))

    def __repr__(self) -> str:
        states = [trial.status for trial in self.trials()]
        counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        return f"Result({self.name!r}: {counts})"

    @property
    def prepared(self) -> Any:
        """The sweep as it was checked and analysed; None for a result that was read from a record alone."""
        return self._prepared

    @property
    def path(self) -> str:
        """The record's file; ":memory:" for one in memory."""
        return self._store.path

    @property
    def row(self) -> SweepRow:
        """The sweep as recorded."""
        return self._row

    def trials(self) -> list[TrialRow]:
        """The trials that were asked for, in the order they were added to the record."""
        return [trial for trial in self._store.trials(self._row.key) if trial.id in self.trial_ids]

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
        members: dict[str, list[TrialRow]] = {}
        for trial in self.trials():
            members.setdefault(trial.config_id, []).append(trial)
        scored = [_config_score(metric, trials, last) for trials in members.values()]
        sign = -1 if self.higher_is_better(metric) else 1
        return sorted(scored, key=lambda s: (not s.sound, sign * s.mean if s.sound else 0.0))

    def best(self, metric: str = "validation/loss") -> ConfigScore:
        """The config with the best mean over seeds of a validation metric at the end of training.

        Raises UserError for a metric that is not recorded or is not of the validation split, and where no config has
        finite scores under all its seeds.
        """
        if metric.startswith("train/"):
            raise UserError(
                f"metric={metric!r} is measured on the training examples: choose by one of {_listed(self._choosable())}."
            )
        ranking = self.ranking(metric)
        if not ranking or not ranking[0].sound:
            raise UserError(
                f"no config of {self.name!r} has finished with a finite {metric} under all its seeds: the trials of "
                "result.trials() say at which step each went wrong (from the first on by labels that are no class, or inputs "
                "that are not finite; later by too large a learning rate)."
            )
        return ranking[0]

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of this metric is better, as the task said."""
        return metric.split("/", 1)[-1] in self._row.settings.get("higher_is_better", [])

    def test(self, metric: str = "validation/loss", again: bool = False) -> TestScore:
        """Open the test split for the config that is best by ``metric``, once, and enter it in the ledger.

        The config's trials are trained again from their seeds (bit-equal on the same machine, which is checked against
        the record) and evaluated on the test split. A second call answers from the ledger. For another config of the
        sweep it refuses; ``again=True`` overrides, and that is recorded.
        """
        best = self.best(metric)
        ledger = self._store.tests(self._row.key)
        for entry in ledger:
            if entry.config_id == best.config_id:  # seeds added since do not open it again
                return _test_score(entry, from_ledger=True)
        if ledger and not again:
            shown = ", ".join(f"{name}={format_value(value)}" for name, value in ledger[0].config.items())
            raise UserError(
                f"the test split of {self.name!r} was opened on {ledger[0].opened} for another config ({shown}): a second "
                "config chosen on it would no longer be tested; pass again=True (--again) to do so on record."
            )
        if self._prepared is None:
            raise UserError("the task is needed to evaluate it: give the experiment's file, as in jsweep test FILE.")
        from jsweep.engine.replay import test_scores  # the engine, only for this

        width = next(trial.width for trial in self.trials() if trial.id == best.trials[0]) or 1
        scores = test_scores(self._prepared, best, width, self._recorded_curves(best))
        entry = TestRow(best.config_id, best.config, metric, scores, best.seeds, bool(ledger), now())
        self._store.record_test(self._row.key, entry)
        return _test_score(entry, from_ledger=False)

    def params(self, trial: str) -> Any:
        """A finished trial's parameters at its end: a plain pytree of JAX arrays, as the task's ``init`` made it.

        That is ``state["params"]`` for tasks of `supervised`; for others the whole state. Read from the trial's
        checkpoint where ``checkpoints="all"`` kept it, else trained again from its seed.
        """
        state = self.state(trial)
        return state["params"] if isinstance(state, Mapping) and "params" in state else state

    def state(self, trial: str) -> Any:
        """A finished trial's whole state at its end, the optimizer's included; see `params`."""
        if self._prepared is None:
            raise UserError("the task is needed to build the parameters: give the experiment's file.")
        from jsweep.replays import state_of  # the engine, only for this

        return state_of(self, trial)

    def saved(self, trial: str) -> CheckpointRow | None:
        """The checkpoint of a finished trial at its end, if it was kept."""
        rows = self._store.checkpoints(self._row.key)
        return next((row for row in rows if row.finished and row.tile == trial), None)

    def ledger(self) -> list[TestRow]:
        """Every opening of the test split, oldest first."""
        return self._store.tests(self._row.key)

    def _recorded_curves(self, best: ConfigScore) -> dict[str, dict[str, list[tuple[int, float]]]]:
        wanted = [metric for metric in self.metrics() if metric.startswith("validation/")]
        curves = {metric: self.curves(metric) for metric in wanted}
        return {trial: {metric: curves[metric][trial] for metric in wanted} for trial in best.trials}

    def _choosable(self) -> list[str]:
        return [metric for metric in self.metrics() if not metric.startswith("train/")]

    def _check_metric(self, metric: str) -> None:
        if metric not in self.metrics():
            raise UserError(f"metric={metric!r} is not recorded for {self.name!r}: it has {_listed(self.metrics())}.")


def _config_score(metric: str, trials: Sequence[TrialRow], last: Mapping[int, Mapping[str, float]]) -> ConfigScore:
    trials = sorted(trials, key=lambda trial: trial.seed)
    values = tuple(last.get(trial.key, {}).get(metric, math.nan) for trial in trials)
    sound = all(math.isfinite(v) for v in values) and all(
        trial.status == "finished" and trial.nonfinite is None for trial in trials
    )
    return ConfigScore(
        trials[0].config_id,
        trials[0].config,
        metric,
        float(np.mean(values)) if all(math.isfinite(v) for v in values) else math.nan,
        _spread(values) if all(math.isfinite(v) for v in values) else math.nan,
        values,
        tuple(trial.seed for trial in trials),
        tuple(trial.id for trial in trials),
        sound,
    )


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _test_score(entry: TestRow, from_ledger: bool) -> TestScore:
    scores = {name: tuple(values) for name, values in entry.scores.items()}
    return TestScore(entry.config, scores, tuple(entry.seeds), entry.opened, from_ledger)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"
