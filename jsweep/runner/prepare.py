"""A sweep checked and analysed before anything is compiled."""

import difflib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from jsweep._runtime.backend import configure
from jsweep._runtime.garbage import collection_paused
from jsweep._runtime.prng import root_key_data
from jsweep.data.splits import check_data, epoch_examples, lost_in_float32
from jsweep.engine.tile import Setting
from jsweep.errors import ConfigError, StoreError
from jsweep.planning import Annotations, Group, RecordedRoles, Role, RoleKind, make_groups, make_trials
from jsweep.planning.grouping import Grouped, Traces
from jsweep.planning.identity import data_hash, test_hash
from jsweep.planning.roles import ENGINE_NAMES
from jsweep.planning.trained_hyperparameters import trained_hyperparameters
from jsweep.results.objective import DEFAULT_METRIC, Objective, check_recorded
from jsweep.runner.clones import with_clones
from jsweep.runner.judge import check_rungs
from jsweep.runner.population import explored_by
from jsweep.runner.sweep import Sweep
from jsweep.search.model_based import Search
from jsweep.search.rules._rule import Rule, as_rule
from jsweep.search.rules.population import Explored
from jsweep.space import Configs
from jsweep.space import configs as checked
from jsweep.storage.records import SweepRecord, Trial

EVALUATIONS = 10  # of the longest trial, where evaluate_every is not given


READ_BY_JSWEEP = (*ENGINE_NAMES, "l2")


@dataclass(frozen=True)
class Prepared:
    """A sweep checked and analysed: its trials, compile groups and roles; nothing is compiled.

    ``data_hash`` is of the training and validation examples, ``test_hash`` of the test examples, None where there are none.
    ``untraceable`` has the error of each trial that cannot be traced, by id.
    """

    sweep: Sweep
    setting: Setting
    trials: tuple[Trial, ...]
    groups: tuple[Group, ...]
    roles: Mapping[str, Role]
    data_hash: str = field(repr=False, default="")
    test_hash: str | None = field(repr=False, default=None)
    untraceable: Mapping[str, Exception] = field(repr=False, default_factory=dict)

    @cached_property
    def explored(self) -> Explored | None:
        """What the rule's copies change; None where it copies nothing. ConfigError where it cannot."""
        configs = self.sweep.configs
        if self.rule is None or self.rule.copying is None or isinstance(configs, Search):
            return None
        return explored_by(self.rule, checked(configs), self.groups, self.roles)

    @property
    def metrics(self) -> list[str]:
        """The names under which scores are recorded: "train/loss", "validation/loss", ..."""
        train = [f"train/{name}" for group in self.groups for name in group.traced.train_metrics]
        return list(dict.fromkeys((*train, *self.validation_metrics)))

    @property
    def validation_metrics(self) -> list[str]:
        """Those that are measured on the validation split."""
        names = [f"validation/{name}" for group in self.groups for name in group.traced.evaluation_metrics]
        return list(dict.fromkeys(names))

    @property
    def objective(self) -> Objective | None:
        """The metric that selects: what was asked for, "validation/loss", or the only validation metric with a direction."""
        if self.sweep.objectives:
            return self.sweep.objectives[0]
        modes = self.sweep.task.modes
        known = [
            Objective(name, mode) for name in self.validation_metrics if (mode := modes.get(name.partition("/")[2]))
        ]
        default = [objective for objective in known if objective.metric == DEFAULT_METRIC] or known
        return default[0] if len(default) == 1 else None

    @property
    def rule(self) -> Rule | None:
        """The rule that stops trials, if there is one."""
        return as_rule(self.sweep.rule) if self.sweep.rule else None

    def group_of(self, trial: str) -> Group:
        """The compile group of a trial, by its id; KeyError for one that is not in the sweep or cannot be traced."""
        for group in self.groups:
            if any(member.id == trial for member in group.trials):
                return group
        raise KeyError(trial)


def prepare(
    sweep: Sweep,
    record: SweepRecord | None = None,
    lengths: Mapping[str, int] | None = None,
    traces: Traces | None = None,
) -> Prepared:
    """Check a sweep and find its compile groups by abstract tracing.

    For a search, configs drawn at random stand for those that it will propose.

    Args:
        sweep: the sweep.
        record: what its store has of it, which is kept: roles, lane types, buckets, and the steps between evaluations.
        lengths: the steps of recorded trials, by id, in place of those that the sweep asks for.
        traces: those of its task made before, to which this adds its own.

    Raises:
        ConfigError: where something about the sweep cannot be used; and whatever the task raises for every config.
        StoreError: where the record's settings are damaged.
    """
    configure()
    task = sweep.task
    check_data(task.data)
    if sentence := lost_in_float32(task.data):
        warnings.warn(sentence, stacklevel=4)
    with collection_paused():
        trials, grouped = group_trials(sweep, record, lengths, traces)
    _warn_of_unused(grouped.roles, _annotations(_configs(sweep, record)))
    _warn_of_trained(grouped.groups)
    prepared = Prepared(
        sweep=sweep,
        setting=setting_of(sweep, trials, record),
        trials=trials,
        groups=grouped.groups,
        roles=grouped.roles,
        data_hash=data_hash(task.data),
        test_hash=test_hash(task.data),
        untraceable=grouped.untraceable,
    )
    for objective in sweep.objectives:
        check_recorded(objective.metric, prepared.metrics, sweep.name or task.name or "sweep")
    _check_rule(prepared)
    return prepared


def group_trials(
    sweep: Sweep,
    record: SweepRecord | None,
    lengths: Mapping[str, int] | None = None,
    traces: Traces | None = None,
) -> tuple[tuple[Trial, ...], Grouped]:
    """A sweep's trials, and their compile groups; the arguments are those of `prepare`."""
    task, configs = sweep.task, _configs(sweep, record)
    trials = make_trials(task, configs, sweep.seeds, sweep.steps, sweep.epochs, epoch_examples(task.data))
    if lengths:
        trials = tuple(replace(trial, steps=lengths.get(trial.id, trial.steps)) for trial in trials)
    return trials, make_groups(
        task,
        trials,
        annotations=_annotations(configs),
        recorded=RecordedRoles() if record is None else recorded_roles(record),
        traces=traces,
    )


def setting_of(sweep: Sweep, trials: tuple[Trial, ...], record: SweepRecord | None) -> Setting:
    """What all tiles of a sweep share."""
    root = np.asarray(root_key_data(sweep.key))
    return Setting(sweep.task, root, sweep.pairing, _evaluate_every(sweep, trials, record), tuple(sweep.vary))


def _configs(sweep: Sweep, record: SweepRecord | None) -> Configs:
    return sweep.configs.drawn if isinstance(sweep.configs, Search) else with_clones(checked(sweep.configs), record)


def recorded_roles(record: SweepRecord) -> RecordedRoles:
    """What a record has settled about roles; StoreError where it makes no sense."""
    settings = record.settings
    try:
        roles = {str(name): (str(kind), str(reason)) for name, (kind, reason) in settings["roles"].items()}
        types = {str(name): [str(each) for each in listed] for name, listed in settings["lane_types"].items()}
        buckets = {
            str(name): {int(value): int(size) for value, size in pairs} for name, pairs in settings["buckets"].items()
        }
        programs = frozenset(map(str, settings["programs"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the record's settings of the sweep {record.name!r} are damaged ({type(error).__name__}: {error}): "
            "give this sweep a name of its own (name=..., --name)."
        ) from error
    kept = {name: role for name, role in roles.items() if role[0] in (RoleKind.LANE, RoleKind.STATIC)}
    return RecordedRoles(
        {name: kind for name, (kind, _) in kept.items()},
        {name: why for name, (_, why) in kept.items()},
        types,
        buckets,
        programs,
    )


def _annotations(configs: Configs) -> Annotations:
    conditions = frozenset(name for space in configs.spaces for name in space.conditions)
    return Annotations(configs.annotations, configs.value_kinds, conditions)


def _evaluate_every(sweep: Sweep, trials: tuple[Trial, ...], record: SweepRecord | None) -> int:
    """Steps between evaluations; a record keeps its own, which a longer sweep must not shift, and a rule its rungs."""
    if sweep.evaluate_every is not None:
        return sweep.evaluate_every
    recorded = None if record is None else record.identity.get("evaluate_every")
    if isinstance(recorded, int) and recorded > 0:
        return recorded
    longest = max(trial.steps for trial in trials)
    rungs = sweep.rule.rungs(longest) if isinstance(sweep.rule, Rule) and sweep.rule.rungs else ()
    return math.gcd(*rungs) if rungs else max(1, -(-longest // EVALUATIONS))


def _check_rule(prepared: Prepared) -> None:
    """ConfigError unless the sweep's rule can judge its trials."""
    if prepared.rule is None:
        return
    rule, seeds = prepared.rule, len({trial.seed for trial in prepared.trials})
    if prepared.objective is None or prepared.objective.mode is None:
        raise ConfigError(
            f"rule={rule.name} needs an objective to judge by: pass objective=, one of "
            f"{', '.join(map(repr, prepared.validation_metrics))}."
        )
    if seeds < rule.least_seeds:
        raise ConfigError(
            f"rule={rule.name} can stop nothing with {seeds} seeds: pass seeds={rule.least_seeds} or more."
        )
    _ = prepared.explored
    check_rungs(rule, [trial.steps for trial in prepared.trials], prepared.setting.evaluate_every)


def _meant(name: str) -> str:
    """What a name that nothing reads may be a misspelling of."""
    close = difflib.get_close_matches(name.lower(), READ_BY_JSWEEP, n=1, cutoff=0.7)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != name else ""


def _warn_of_unused(roles: Mapping[str, Role], annotations: Annotations) -> None:
    unused = {n: r for n, r in roles.items() if r.kind == RoleKind.UNUSED and n not in annotations.conditions}
    if not unused:
        return
    reasons = "; ".join(f"{name!r}: {role.reason}{_meant(name)}" for name, role in unused.items())
    warnings.warn(
        f"some hyperparameters have no effect ({reasons}): trials that differ in them alone are the same trial; take them "
        "out of the space, or use them in the task.",
        stacklevel=5,
    )


def _warn_of_trained(groups: Sequence[Group]) -> None:
    found = trained_hyperparameters(groups)
    if not found:
        return
    starts = "; ".join(f"params{path} starts as {start}" for path, start in found.items())
    warnings.warn(
        f"some hyperparameters are trained ({starts}): the optimizer changes what is among the parameters that init returns; "
        "leave out what is to stay as it is, and read it from config in apply. If it is to be learned, filter this warning.",
        stacklevel=5,
    )
