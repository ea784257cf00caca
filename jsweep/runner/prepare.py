"""A sweep checked and analysed before anything is compiled."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jsweep._runtime.backend import configure
from jsweep._runtime.prng import root_key_data
from jsweep.data.splits import check_data, epoch_examples
from jsweep.engine.tile import Setting
from jsweep.planning import Group, RecordedRoles, Role, make_groups, make_trials
from jsweep.planning.identity import data_hash
from jsweep.runner.sweep import Sweep
from jsweep.space import Configs
from jsweep.storage.records import Trial


@dataclass(frozen=True)
class Prepared:
    """A sweep checked and analysed: its trials, compile groups and roles; nothing compiled."""

    sweep: Sweep
    setting: Setting
    trials: tuple[Trial, ...]
    groups: tuple[Group, ...]
    roles: Mapping[str, Role]
    data_hash: str = field(repr=False, default="")
    broken: Mapping[str, Exception] = field(repr=False, default_factory=dict)
    """The trials that cannot be traced, by id, with the error."""

    @property
    def recorded(self) -> RecordedRoles:
        """What shares a program by padding or selection, as the record keeps it."""
        tiers = {name: role.tiers for name, role in self.roles.items() if role.tiers is not None}
        return RecordedRoles(tiers, {name: role.kind for name, role in self.roles.items()})

    @property
    def metrics(self) -> list[str]:
        """The names under which scores will be recorded: "train/loss", "validation/loss", ..."""
        traced = self.groups[0].traced
        return [f"train/{m}" for m in traced.train_metrics] + [f"validation/{m}" for m in traced.evaluation_metrics]


def prepare(sweep: Sweep) -> Prepared:
    """Check a sweep and find its compile groups by abstract tracing. Raises ConfigError for a user's mistake."""
    configure()
    task = sweep.task
    root = root_key_data(sweep.key)
    check_data(task.data)
    trials = make_trials(task, sweep.configs, sweep.seeds, sweep.steps, sweep.epochs, epoch_examples(task.data))
    groups, roles, broken = make_groups(task, trials, _told(sweep), share_batches=sweep.share_batches)
    unread = [name for name, role in roles.items() if role.kind == "unread"]
    if unread:
        warnings.warn(
            f"the task never reads {', '.join(map(repr, unread))}: every value of it trains the same trial; "
            "take it out of the space or read it from the config.",
            stacklevel=4,
        )
    longest = max(trial.steps for trial in trials)
    every = sweep.evaluate_every or max(1, -(-longest // 10))
    setting = Setting(task, root, sweep.pairing, every)
    return Prepared(sweep, setting, trials, groups, roles, data_hash(task.data), broken)


def as_recorded(prepared: Prepared, recorded: RecordedRoles) -> Prepared:
    """The sweep with its compile groups as a record has recorded them, so that what was begun goes on in its programs."""
    mine = prepared.recorded
    same = all(
        {value: recorded.tiers.get(name, {}).get(value) for value in tiers} == tiers
        for name, tiers in mine.tiers.items()
    )
    if same and all(recorded.kinds.get(name, kind) == kind for name, kind in mine.kinds.items()):
        return prepared
    task, trials = prepared.setting.task, prepared.trials
    groups, roles, broken = make_groups(task, trials, _told(prepared.sweep), recorded, prepared.sweep.share_batches)
    return replace(prepared, groups=groups, roles=roles, broken=broken)


def _told(sweep: Sweep) -> Mapping[str, str]:
    return sweep.configs.annotations if isinstance(sweep.configs, Configs) else {}
