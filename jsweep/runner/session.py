"""A session: a sweep's result with its task at hand, so that trials can be tested, trained again and read out."""

from collections.abc import Mapping
from typing import Any

from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore, TestScore, score_of_opening
from jsweep.results.result import Result
from jsweep.runner.holdout import test_scores
from jsweep.runner.parameters import state_of
from jsweep.runner.prepare import Prepared
from jsweep.space import format_value
from jsweep.storage import Store, TestOpening, now


class Session(Result):
    """A sweep's result with its task at hand: what `run` returns."""

    def __init__(self, store: Store, name: str, prepared: Prepared):
        super().__init__(store, name, frozenset(trial.id for trial in prepared.trials))
        self.prepared = prepared
        self._own_configs = {trial.config_id: trial.config for trial in prepared.trials}

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
                return score_of_opening(entry, from_ledger=True)
        if ledger and not again:
            shown = ", ".join(f"{name}={format_value(value)}" for name, value in ledger[0].config.items())
            raise ConfigError(
                f"the test split of {self.name!r} was opened on {ledger[0].opened} for another config ({shown}): a second "
                "config chosen on it would no longer be tested; pass again=True (--again) to do so on record."
            )

        width = next(trial.width for trial in self.trials() if trial.id == best.trials[0]) or 1
        scores = test_scores(self.prepared, best, width, self._recorded_curves(best))
        entry = TestOpening(
            config_id=best.config_id,
            config=best.config,
            metric=metric,
            mode="max" if self.higher_is_better(metric) else "min",
            step=max(trial.steps for trial in self.trials() if trial.id in best.trials),
            scores=scores,
            seeds=best.seeds,
            again=bool(ledger),
            opened=now(),
        )
        self._store.record_test(self._row.key, entry)
        return score_of_opening(entry, from_ledger=False)

    def params(self, trial: str) -> Any:
        """A finished trial's parameters at its end: a plain pytree of JAX arrays, as the task's ``init`` made it.

        That is ``state["params"]`` for tasks of `supervised`; for others the whole state. Read from the trial's
        checkpoint where ``checkpoints="all"`` kept it, else trained again from its seed.
        """
        state = self.state(trial)
        return state["params"] if isinstance(state, Mapping) and "params" in state else state

    def state(self, trial: str) -> Any:
        """A finished trial's whole state at its end, the optimizer's included; see `params`."""

        return state_of(self, trial)

    def _recorded_curves(self, best: ConfigScore) -> dict[str, dict[str, list[tuple[int, float]]]]:
        wanted = [metric for metric in self.metrics() if metric.startswith("validation/")]
        curves = {metric: self.curves(metric) for metric in wanted}
        return {trial: {metric: curves[metric][trial] for metric in wanted} for trial in best.trials}
