"""A session: a sweep's result with its task at hand, so that trials can be tested, trained again and read out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import jax
import numpy as np
from jaxtyping import Float, PyTree

from jsweep._runtime.environment import describe_environment
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.results.objective import Objective
from jsweep.results.ranking import At, ConfigScore, Rule, Simplest, TestScore, score_of_opening
from jsweep.results.result import Result
from jsweep.runner.compatibility import environment_changes
from jsweep.runner.descent import followed_curves, trained
from jsweep.runner.examples import example_values
from jsweep.runner.holdout import evaluate_on_test, train_selected
from jsweep.runner.looks import Looks, look_of
from jsweep.runner.parameters import saved_state, trained_again, whole_state
from jsweep.runner.prepare import Prepared
from jsweep.storage import Store, TestOpening
from jsweep.storage.standing import ENDED


@dataclass(frozen=True)
class SelectedConfig(ConfigScore):
    """The config that was selected, whose parameters are at hand: what `Session.best` returns.

    ``config`` holds functions as they are, so that it can be trained again as it stands.
    """

    session: "Session" = field(repr=False, compare=False, kw_only=True)

    def params(self, seed: int | None = None) -> PyTree:
        """The parameters of one of its seeds (default: the first) after ``step`` steps; see `Session.params`."""
        return self.session.params(self._trial(seed), step=self.step)

    def state(self, seed: int | None = None) -> PyTree:
        """The whole state of one of its seeds (default: the first) after ``step`` steps; see `Session.state`."""
        return self.session.state(self._trial(seed), step=self.step)

    def _trial(self, seed: int | None) -> str:
        if seed is None:
            return self.trials[0]
        if seed not in self.seeds:
            raise ConfigError(f"seed={seed!r} is not one of the seeds {', '.join(map(str, self.seeds))}.")
        return self.trials[self.seeds.index(seed)]


class Session(Result):
    """A sweep's result with its task at hand: what `run` returns."""

    def __init__(self, store: Store, name: str, prepared: Prepared):
        super().__init__(store, name, frozenset(trial.id for trial in prepared.trials))
        self.prepared = prepared
        self._own_configs = {t.config_id: t.config for t in prepared.trials}

    def best(
        self,
        metric: str | Objective | None = None,
        *,
        at: At = "last",
        rule: Rule = "mean",
        simplest: Simplest | None = None,
    ) -> SelectedConfig:
        """The best config by a validation metric, with its parameters at hand.

        Args:
            metric: as in `Result.best`, as are the others.
            at: see `Result.best`.
            rule: see `Result.best`.
            simplest: see `Result.best`.

        Returns:
            The config's score, and its parameters by `SelectedConfig.params`.

        Raises:
            ConfigError: where nothing can be selected.
        """
        score = super().best(metric, at=at, rule=rule, simplest=simplest)
        given = {each.name: getattr(score, each.name) for each in fields(score)}
        return SelectedConfig(**given, session=self)

    def test(
        self,
        metric: str | Objective | None = None,
        *,
        at: At = "last",
        rule: Rule = "mean",
        simplest: Simplest | None = None,
        again: bool = False,
    ) -> TestScore:
        """Evaluate the selected config on the test split, once, and enter that in the ledger.

        The config's trials are trained again from their seeds, which is checked against the record bit for bit, up to the
        step that was selected; the look is entered before it happens. A second call is answered from the ledger, which
        belongs to the store: another sweep in it, or a new one after `jsweep.drop`, does not open the same split anew.

        Args:
            metric: what to select by (default: the sweep's objective); so are ``at``, ``rule`` and ``simplest``, as in
                `Result.best`.
            at: see `Result.best`.
            rule: see `Result.best`.
            simplest: see `Result.best`.
            again: test although the split was opened for another config, step or sweep; that is recorded.

        Returns:
            For each metric one value a seed.

        Raises:
            ConfigError: where nothing can be selected, there is no test split, or it was opened for another choice.
            IncompatibleSweepError: where the trials come out otherwise than they are recorded.
        """
        if self.prepared.test_hash is None:
            raise ConfigError("the data has no test split: make it with jsweep.split(..., test=0.2).")
        with self.snapshot():
            best = self.best(metric, at=at, rule=rule, simplest=simplest)
            rows = [trial for trial in self.trials() if trial.id in best.trials]
            recorded, lineage = followed_curves(self, rows, dict.fromkeys(best.trials, best.step)), self.lineage()
        asked = TestOpening(
            data=self.prepared.test_hash,
            look=look_of(self.row, [str(row.program) for row in rows], best.config_id, best.step),
            sweep=self.name,
            config_id=best.config_id,
            config=best.config,
            metric=best.metric,
            mode=best.mode,
            rule=rule,
            at=str(at),
            step=best.step,
            seeds=best.seeds,
        )
        widths = {row.id: row.width or 1 for row in rows}
        with Looks(self._store) as looks:
            known = looks.reserve(asked, again)
            if known is not None:
                return score_of_opening(known, from_ledger=True)
            trained = train_selected(self.prepared, best, widths, recorded, lineage)
            looks.open()
            entry = looks.complete(evaluate_on_test(self.prepared, best, trained), best.seeds)
        return score_of_opening(entry, from_ledger=False)

    def examples(
        self, metric: str | Objective | None = None, *, config: str | None = None, at: At = "last"
    ) -> Float[np.ndarray, "runs examples"]:
        """What a config scores on each validation example: which it gets right, say, with "validation/accuracy".

        Its trials are read from their checkpoints, or trained again, as for `state`. `statistics.mcnemar` compares two
        configs by this, and `statistics.bias_corrected` says what choosing among several costs.

        Args:
            metric: the metric's name (default: the sweep's objective).
            config: the config's id, or the beginning of it; default: the best config.
            at: the evaluation, as in `Result.best`.

        Returns:
            Values of shape (runs, examples), in the order of ``data.validation``. A run is a seed; where there are folds,
            each example's value is that of the model that was not trained on it, in the order of the first
            ``data.folds.examples``.

        Raises:
            ConfigError: where there is no such config, or the metric is not the mean of a value for each example.
            IncompatibleSweepError: where the trials come out otherwise than they are recorded.
        """
        if config is None:
            return example_values(self, self.best(metric, at=at))
        found = [score for score in self.ranking(metric, at=at) if score.config_id.startswith(config)]
        if len(found) != 1 or not found[0].complete:
            raise ConfigError(
                f"config={config!r} is the id of {len(found)} configs of {self.name!r}: pass that of one that is complete."
                if len(found) != 1
                else f"the config {config!r} of {self.name!r} is not complete: finish the sweep first."
            )
        return example_values(self, found[0])

    def params(self, trial: str, *, step: int | None = None) -> PyTree:
        """A finished trial's parameters: a plain pytree of JAX arrays, as the task's ``init`` made it.

        That is ``state["params"]`` for tasks of `supervised`; for others the whole state. A model's state, such as
        batch statistics, is not among them: `state` has both.

        Args:
            trial: its id, or the beginning of it.
            step: one of the trial's evaluations, in steps (default: the last one).

        Raises:
            ConfigError: for a trial that has not finished, or a step at which it was not evaluated.
            IncompatibleSweepError: where the trial, trained again, comes out otherwise than it is recorded.
        """
        return parameters_of(self.state(trial, step=step))

    def state(self, trial: str, *, step: int | None = None) -> PyTree:
        """A finished trial's whole state, the optimizer's included; the arguments are those of `params`.

        It is read from the trial's checkpoint where ``checkpoints="all"`` kept it, else trained again from its seed and
        checked against the record bit for bit.

        Raises:
            ConfigError: for a trial that has not finished, or a step at which it was not evaluated.
            IncompatibleSweepError: where the trial comes out otherwise than it is recorded.
        """
        row = self.trial(trial)
        if row.status not in ENDED or not row.done:
            raise ConfigError(f"trial {row.id} is {row.status}: its parameters are available when it has finished.")
        wanted = row.done if step is None else step
        saved = self.saved(row.id)
        arrays = None
        if saved is not None and saved.step == wanted:
            arrays = saved_state(self.prepared, self.folder, saved)
        if arrays is None:
            recorded = followed_curves(self, [row], {row.id: wanted})
            try:
                arrays = trained_again(self.prepared, row, wanted, recorded, self.lineage())
            except IncompatibleSweepError as error:
                raise self._elsewhere(row.environment, error) from error
        return whole_state(self.prepared, trained(self.lineage(), row, wanted), arrays)

    def _elsewhere(self, environment: int | None, error: IncompatibleSweepError) -> IncompatibleSweepError:
        """The error, with what this environment differs in from that of the trial, where it does."""
        known = {} if environment is None else self.environments().get(environment, {})
        changed = environment_changes(known, describe_environment()) if known else ""
        return IncompatibleSweepError(f"{error} It was trained elsewhere ({changed}).") if changed else error


def parameters_of(state: PyTree, with_model_state: bool = False) -> PyTree:
    """The parameters in a state of `supervised`; of another the whole state.

    Args:
        state: the state.
        with_model_state: whether the model's state, where it has one, goes along under "model_state".
    """
    if not isinstance(state, Mapping) or "params" not in state:
        return state
    if with_model_state and jax.tree.leaves(_model_state(state)):
        return {"params": state["params"], "model_state": _model_state(state)}
    return state["params"]


def _model_state(state: PyTree) -> PyTree:
    """What training has changed of a model beside its parameters; None where there is nothing."""
    found = state.get("model_state") if isinstance(state, Mapping) else None
    # The adapters of model libraries keep this beside a static part and keys, which no training changes.
    return found.get("state") if isinstance(found, Mapping) and "static" in found else found
