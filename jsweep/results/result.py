"""A sweep's result: its configs ranked, selected, compared and reported on; nothing here trains."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from jsweep.errors import ConfigError, UnknownNameError
from jsweep.results.contenders import contenders
from jsweep.results.curves import curves_of
from jsweep.results.diagnostics import Diagnosis, diagnose
from jsweep.results.diagnostics.evidence import evidence_of
from jsweep.results.filters import matching
from jsweep.results.importance import Importance, Method, common_step, importance_of
from jsweep.results.incomplete import divergences, why_nothing_is_complete
from jsweep.results.last_ranking import LastRanking, rank_last
from jsweep.results.lineage import Lineage, lineage_of
from jsweep.results.moment import of_one_moment
from jsweep.results.objective import Objective
from jsweep.results.pareto import ParetoPoint, front
from jsweep.results.ranking import (
    LOSSES,
    At,
    ConfigScore,
    Evaluation,
    Rule,
    Scores,
    Selection,
    Simplest,
    check_at,
    rank,
    select,
)
from jsweep.results.recorded_sweep import RecordedSweep
from jsweep.results.report import Page, check_target, page_of
from jsweep.results.summary import Summary, counts_of, plural, time_of
from jsweep.storage import Trial
from jsweep.storage.finals import Finals
from jsweep.storage.rows import load_config

CONFIRMS = "-confirm"  # ends the name of a sweep that trains the best configs of another one under fresh seeds


class Result(RecordedSweep):
    """A sweep as its store holds it, ranked and judged, restricted to ``trial_ids`` (None: all of its trials)."""

    def __str__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    @of_one_moment
    def schedule(self, config: str | ConfigScore) -> dict[str, Float64[np.ndarray, " steps"]]:
        """What led to a config's last state, step by step: followed back through the copies that it went on from.

        Training with `jsweep.schedules.table` of a hyperparameter's values repeats it, in so far as the optimizer's state
        does not hold more of the hyperparameter than its effect.

        Args:
            config: The beginning of its id, or its score.

        Returns:
            For each hyperparameter that is a number, its value at each step.

        Raises:
            UnknownNameError: Not exactly one config has such an id.
        """
        trials = self.config(config.config_id if isinstance(config, ConfigScore) else config).trials()
        step = config.step if isinstance(config, ConfigScore) else max(trial.done for trial in trials)
        lineage = self.lineage()
        if not lineage.copies:
            lineage = lineage_of({trials[0].config_id: trials[0].config}, [])
        return lineage.schedule(trials[0].config_id, step)

    def where(self, **filters: Any) -> "Result":
        """The result of the configs that match every filter.

        A filter is a value that the hyperparameter equals, a list (set, range) of such values, or a predicate: a
        function of the value that returns whether it matches. A function that is itself one of the values recorded
        stands for that value. Configs without the hyperparameter do not match.

        Args:
            **filters: A filter by hyperparameter, as in ``where(optimizer="adam", width=lambda w: w > 32)``.

        Returns:
            A `Result` on the same store.

        Raises:
            UnknownNameError: No config has a hyperparameter of that name.
            ConfigError: No config matches.
        """
        kept = matching(self.trials(), filters, self.name)
        return self._narrowed(kept, ", ".join(f"{name}={_shown(value)}" for name, value in filters.items()))

    def config(self, start: str) -> "Result":
        """The result of the one config whose id begins with ``start``; UnknownNameError unless there is exactly one."""
        kept = [trial for trial in self.trials() if trial.config_id.startswith(start)]
        count = len({trial.config_id for trial in kept})
        if count != 1:
            raise UnknownNameError(
                f"{start!r} matches {count} configs of {self.name!r}: pass more of an id, as in "
                f"jsweep show {shlex.quote(self.name)} --json."
            )
        return self._narrowed(kept, start)

    @of_one_moment
    def ranking(self, metric: str | Objective | None = None, *, at: At = "last") -> Sequence[ConfigScore]:
        """Score every config by a metric, best first; incomplete ones come last, and ties keep the order of the store.

        Args:
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.
            at: The evaluation that counts, in steps: "last" (each trial's end), a step at which every seed was
                evaluated, or "best": for each config the step at which the mean over its seeds is best.

        Returns:
            The score of each config.

        Raises:
            ConfigError: The metric is not recorded, its direction is not known, or nothing was evaluated at that step.
        """
        ranked = self._ranking(self._directions().resolve(metric, self.name), check_at(at))
        return ranked.detached() if isinstance(ranked, LastRanking) else ranked

    @of_one_moment
    def pareto(self, *objectives: str | Objective, at: At = "last") -> list[ParetoPoint]:
        """The configs of which no other is better by one objective and as good by all, by their means over seeds.

        Args:
            *objectives: Two or more metrics, each a name or an `Objective`; default: those of the sweep.
            at: The evaluation that counts, in steps; see `ranking`.

        Returns:
            The Pareto front, the best by the first objective first; configs that `best` could not select are left out.

        Raises:
            ConfigError: There are fewer than two objectives, and as `ranking`.
        """
        wanted = objectives or self._directions().objectives
        if len(wanted) < 2:
            raise ConfigError(
                f"pareto weighs {len(wanted)} objectives: pass two or more, as in "
                "pareto('validation/accuracy', js.minimize('validation/norm')), or give the sweep objective=[...]."
            )
        return front([list(self.ranking(objective, at=at)) for objective in wanted])

    @of_one_moment
    def best(
        self,
        metric: str | Objective | None = None,
        *,
        at: At = "last",
        rule: Rule = "mean",
        simplest: Simplest | None = None,
    ) -> ConfigScore:
        """Select a config by a validation metric.

        A config can be selected where every seed has finished and has, at the step looked at, a finite metric and a
        finite loss. A metric that was not finite before, or another that is not finite there, does not count. One that the
        sweep's rule or the user stopped can be selected at a step or at its best one, but not at the last, which it did not
        reach.

        Args:
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.
            at: The evaluation that counts, in steps; see `ranking`.
            rule: "mean" selects the config with the best mean over seeds; "one-standard-error" the simplest config whose
                mean is within one standard error of it.
            simplest: With "one-standard-error", what is simple: a function of the config, smallest first, or the names
                of hyperparameters whose smaller values are simpler, most important first.

        Returns:
            The score of the selected config.

        Raises:
            ConfigError: The metric is not recorded, is measured on the training examples, or has no known direction; or
                no config can be selected, and why.
        """
        selection = Selection(at, rule, simplest)
        objective = self._directions().resolve(metric, self.name)
        if objective.metric.startswith("train/"):
            choosable = ", ".join(name for name in self.metrics() if not name.startswith("train/")) or "none"
            raise ConfigError(
                f"metric={objective.metric!r} is measured on the training examples: select by one of {choosable}."
            )
        looks_at_all = selection.rule != "mean"
        ranking = (self.ranking if looks_at_all else self._ranking)(objective, at=check_at(selection.at))
        if not ranking or not ranking[0].complete:
            trials = self.trials()
            scores = self._curves_of(objective.metric, trials)
            raise ConfigError(why_nothing_is_complete(self.name, trials, objective, check_at(at), scores))
        return select(ranking, selection)

    def contenders(
        self, metric: str | Objective | None = None, *, at: At = "last", confidence: float = 0.95
    ) -> list[ConfigScore]:
        """The best config and those that its seeds cannot tell from it, best first.

        Args:
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.
            at: The evaluation that counts, in steps; see `ranking`.
            confidence: How often the set should hold the truly best config, between 0 and 1.

        Returns:
            The contenders' scores, by paired t-tests with Bonferroni's correction.

        Raises:
            ConfigError: As `ranking`; or no config is complete.
            MissingExtraError: SciPy is not installed.
        """
        return contenders(list(self.ranking(metric, at=at)), confidence)

    @of_one_moment
    def diagnose(self, metric: str | Objective | None = None) -> Diagnosis:
        """What the scores say about the sweep itself: edges of the space, divergence, too short training, too few seeds.

        Args:
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.

        Returns:
            The findings, each with what to try; prints as a list.

        Raises:
            ConfigError: As `ranking`.
            MissingExtraError: SciPy is not installed.
        """
        objective = self._directions().resolve(metric, self.name)
        ranking, trials, last = list(self.ranking(objective)), self.trials(), self._store.last_scores(self._row.key)
        best = next((score.trials for score in ranking if score.complete), ())
        recorded = self.recorded(trial for trial in trials if trial.id in best)  # no check looks at other curves
        of = lambda metric: curves_of(metric, {trial: own.get(metric, []) for trial, own in recorded.items()})
        training = of("train/loss") if "train/loss" in self.metrics() else None
        confirms = self.name.endswith(CONFIRMS) and self.name.removesuffix(CONFIRMS) in self._store.names()
        evidence = evidence_of(ranking, trials, of(objective.metric), training, last, confirms)
        return Diagnosis(objective.metric, diagnose(evidence))

    @of_one_moment
    def importance(self, metric: str | Objective | None = None, *, method: Method | None = None) -> Importance:
        """How much each hyperparameter matters for the score.

        Over a full grid it is the fraction of the variance of the configs' means that each hyperparameter explains by
        itself, and each pair together ("anova", exact: `statistics.variance_shares`). Levels with configs that did not
        complete are left out, and named. Other configs are weighed by "ped-anova" (Watanabe, Bansal and Hutter, 2023,
        "PED-ANOVA"): how far the distribution of each hyperparameter among the best tenth is from that among all.

        Under a rule that has stopped more than a tenth of the configs, the scores are those at the last step that nine tenths
        of them reached, and a note says so. Both are about the values that were tried: a wider range makes a hyperparameter
        more important, and one bad value can be most of the variance. Narrow the result (``result.where(...)``) to ask about a
        part of the space.

        Args:
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.
            method: "anova" or "ped-anova"; default: the first for a full grid, else the second.

        Returns:
            The importances, largest first; prints as a table.

        Raises:
            ConfigError: As `ranking`; or no hyperparameter differs, too few configs are complete, or "anova" is asked
                of configs that are not a grid.
            MissingExtraError: "ped-anova" is needed and Optuna is not installed.
        """
        ranking = list(self.ranking(metric))
        step = common_step(ranking)
        ranking = ranking if step is None else list(self.ranking(metric, at=step))
        return importance_of(ranking, self.trials(), method, self.name, step)

    @of_one_moment
    def report(self, path: str | Path | None = None, *, metric: str | Objective | None = None) -> Page:
        """The sweep as a page: findings, the best config and its rivals, curves, charts, a table of configs, the ledger.

        Args:
            path: The HTML file to write; default: none. It needs no network.
            metric: The metric's name, or an `Objective`, which says its direction; default: the sweep's objective.

        Returns:
            The page, which shows itself in a notebook, and is written by `Page.save`.

        Raises:
            ConfigError: As `ranking`; or the file cannot be written.
            MissingExtraError: Plotly or SciPy is not installed.
        """
        if path is not None:
            check_target(path, self.path)
        page = page_of(self, metric)
        if path is not None:
            page.save(path)
        return page

    def _ranking(self, objective: Objective, at: Evaluation) -> LastRanking | list[ConfigScore]:
        """As `ranking`; by the last evaluation, what the configs are is read when their scores are looked at."""
        if at == "last":
            return self._ranked_last(objective, self._finals(objective.metric))
        trials, lineage = self.trials(), self.lineage()
        ranked = rank(
            self._with_own_configs(trials), objective, at, self._scores(objective.metric, at, trials), self._overlap
        )
        return [_as_trained_to(lineage, score) for score in ranked] if lineage.copies else ranked

    def _ranked_last(self, objective: Objective, finals: Finals) -> LastRanking | list[ConfigScore]:
        ranked = rank_last(finals, objective, self._overlap, self._store.labels, self._config_of)
        lineage = self.lineage()
        return [_as_trained_to(lineage, score) for score in ranked] if lineage.copies else ranked

    @property
    def _overlap(self) -> float:
        return float(self._row.settings.get("fold_overlap", 0.0))

    def _finals(self, metric: str) -> Finals:
        return self._store.finals(self._row.key, metric, LOSSES, self._ids)

    def _config_of(self, config_id: str, text: str) -> Mapping[str, Any]:
        """A config from its JSON, with its functions where a session has them."""
        own = self._own_configs.get(config_id)
        return load_config(text) if own is None else own

    def _with_own_configs(self, trials: Sequence[Trial]) -> list[Trial]:
        own = self._own_configs
        return [
            replace(t, config=own[t.config_id]) if own.get(t.config_id, t.config) != t.config else t for t in trials
        ]

    def _scores(self, metric: str, at: Literal["best"] | int, trials: Sequence[Trial]) -> Scores:
        """The curves of the metric and the losses; ConfigError where nothing was evaluated at that step."""
        scores = self._curves_of(metric, trials)
        steps = sorted({step for curve in scores[metric].values() for step in curve})
        if at != "best" and at not in steps:
            shown = ", ".join(map(str, steps[:12])) + (f", ... {steps[-1]}" if len(steps) > 12 else "")
            raise ConfigError(
                f"at={at} is not a step of an evaluation of {self.name!r}: pass one of {shown or 'none'}."
            )
        return scores

    def _curves_of(self, metric: str, trials: Sequence[Trial]) -> Scores:
        names = dict.fromkeys((metric, *(name for name in LOSSES if name in self.metrics())))
        keys = {trial.key for trial in trials}
        read = {name: self._store.scores(self._row.key, name) for name in names}
        return {name: {key: dict(pairs) for key, pairs in by.items() if key in keys} for name, by in read.items()}

    def _narrowed(self, trials: Sequence[Trial], label: str) -> "Result":
        narrowed = Result(self._store, self.name, frozenset(trial.id for trial in trials))
        narrowed.label = f"{self.label} ({label})"
        narrowed._own_configs = self._own_configs
        return narrowed

    @of_one_moment
    def _summary(self) -> Summary:
        top, note, objective, finals = [], "", None, None
        try:
            objective = self.objective
            finals = self._finals(objective.metric)
            top = [score for score in self._ranked_last(objective, finals)[:3] if score.complete]
            note = "" if top else f"no config has finished with a finite {objective.metric} under all its seeds"
        except ConfigError as error:
            note = str(error)
        finals = finals or self._finals("")
        beside = sum(self._store.counts(self._row.key).values()) - len(finals.keys) if self.label == self.name else 0
        notes = [
            note,
            divergences(self._own(self._store.diverged(self._row.key)), self.recorded),
            f"the record has {plural(beside, 'more trial')} of this sweep" if beside else "",
        ]
        time = time_of(self._row.created, self._row.settings.get("seconds"))
        shown = "\n".join(note for note in notes if note)
        counts = counts_of(finals.counts(), int(finals.configs.max(initial=-1)) + 1)
        return Summary(self.label, counts, time, objective, top, shown, self.path)


def _as_trained_to(lineage: Lineage, score: ConfigScore) -> ConfigScore:
    """A score with what its config trained with on its way to the step looked at."""
    copies = lineage.changed(score.config_id, score.step)
    return replace(score, config=lineage.trained(score.config_id, score.step), copies=copies)


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or str(value)
