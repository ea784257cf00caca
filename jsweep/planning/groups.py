"""Compile groups: the trials that share one compiled program, cut into tiles of a fixed width."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jsweep.errors import ConfigError
from jsweep.planning.bucketing import RecordedRoles, assign_buckets, rows_of
from jsweep.planning.roles import Role, assign_roles
from jsweep.planning.traced import LaneType, Traced, lane_type, trace
from jsweep.space import config_id, format_value
from jsweep.storage.records import Trial
from jsweep.task.task import Task


@dataclass(frozen=True)
class Tile:
    """Trials that are trained together in a program of ``width`` lanes; the first trial has the first lane."""

    trials: tuple[Trial, ...]
    width: int

    @property
    def lanes(self) -> list[Trial]:
        """The trial in every lane. Empty places hold copies, whose results are dropped: they can do no numerical harm."""
        return [self.trials[i % len(self.trials)] for i in range(self.width)]


@dataclass(frozen=True)
class Group:
    """Trials whose static values are equal.

    ``rows`` are the rows of a batch as compiled. Where it is ``shared`` the trials of a tile are of one seed and see the same
    batches, which are then gathered once for all lanes.
    """

    static: Mapping[str, Any]
    lanes: Mapping[str, LaneType]
    trials: tuple[Trial, ...]
    rows: int
    traced: Traced = field(compare=False, repr=False)
    shared: bool = False

    @property
    def lane_bytes(self) -> int:
        """Bytes of one lane's state."""
        return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.traced.state))

    @property
    def label(self) -> str:
        """The static values in words, or "all" when nothing is compiled in."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.static.items()) or "all"

    def lane_values(self, trials: Sequence[Trial]) -> dict[str, np.ndarray]:
        """What each trial puts in its lane: name -> array of shape (len(trials),)."""
        return {
            name: np.array([lane.encode(_seen_by_task(trial)[name]) for trial in trials], lane.dtype)
            for name, lane in self.lanes.items()
        }

    def tiles(self, width: int) -> list[Tile]:
        """The trials in tiles of at most ``width``, those of like length together, so that few wait for the longest."""
        tiles = []
        for trials in self._that_may_meet():
            longest_first = sorted(trials, key=lambda trial: -trial.steps)
            cuts = range(0, len(longest_first), width)
            tiles += [Tile(tuple(longest_first[k : k + width]), width) for k in cuts]
        return sorted(tiles, key=lambda tile: -tile.trials[0].steps)

    @property
    def most_lanes(self) -> int:
        """The most trials that one tile can hold."""
        return max(len(trials) for trials in self._that_may_meet())

    def _that_may_meet(self) -> list[list[Trial]]:
        """The trials in parts that may share a tile."""
        parts: dict[int | None, list[Trial]] = {}
        for trial in self.trials:
            parts.setdefault(trial.seed if self.shared else None, []).append(trial)
        return list(parts.values())


def make_groups(
    task: Task,
    trials: Sequence[Trial],
    told: Mapping[str, str] | None = None,
    recorded: RecordedRoles | None = None,
    share_batches: bool = False,
) -> tuple[tuple[Group, ...], dict[str, Role], dict[str, Exception]]:
    """Split trials into compile groups by abstract tracing. ``told`` is what the user recorded, ``recorded`` the record.

    With ``share_batches`` the lanes of a tile share their batches, except where batch sizes are lanes.

    Returns the groups, every name's role, and for each trial that cannot be traced its error; where none can be, that is
    raised.
    """
    configs = list({trial.config_id: _seen_by_task(trial) for trial in trials}.values())
    told = dict(told or {})
    roles = assign_roles(task, configs, told)
    roles = assign_buckets(
        task, [(_seen_by_task(trial), trial.steps) for trial in trials], roles, told, recorded or RecordedRoles()
    )
    lanes = {
        name: lane
        for name, role in roles.items()
        if role.kind == "lane"
        and (lane := role.padded or lane_type([config[name] for config in configs if name in config]))
    }
    _check_range(configs, lanes)
    members: dict[Any, list[Trial]] = {}
    for trial in trials:
        members.setdefault(_signature(trial, roles), []).append(trial)
    groups: list[Group] = []
    broken: dict[str, Exception] = {}
    for same in members.values():
        try:
            group = _make_group(task, tuple(same), lanes, roles)
            groups.append(replace(group, shared=share_batches and "batch_size" not in group.lanes))
        except Exception as error:
            broken |= {trial.id: error for trial in same}
    if not groups:
        raise next(iter(broken.values()))
    return tuple(groups), roles, broken


def _check_range(configs: Sequence[Mapping[str, Any]], lanes: Mapping[str, LaneType]) -> None:
    """Raise ConfigError for a number that a lane's type turns into infinity."""
    for name, lane in lanes.items():
        if lane.dtype.kind != "f":
            continue
        most = float(np.finfo(lane.dtype).max)
        for config in configs:
            if name in config and most < abs(config[name]) < math.inf:
                raise ConfigError(
                    f"{name}={config[name]!r} is beyond {lane.dtype}, whose largest number is {most:.3g}."
                )


def _make_group(
    task: Task, trials: tuple[Trial, ...], lanes: Mapping[str, LaneType], roles: Mapping[str, Role]
) -> Group:
    config = _seen_by_task(trials[0])
    static = _compiled_in(config, roles)
    own = {name: _at_tier(lane, roles[name], config[name]) for name, lane in lanes.items() if name in config}
    own = {name: lane for name, lane in own.items() if name not in static}
    tiers = roles["batch_size"].tiers if "batch_size" in config else None
    rows = rows_of(task, config) if tiers is None else tiers[config["batch_size"]]
    traced = trace(task, static, own, rows)
    return Group(static, {n: lane for n, lane in own.items() if n in traced.reads}, trials, rows, traced)


def _compiled_in(config: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if roles[name].compiled_in(value)}


def _at_tier(lane: LaneType, role: Role, value: Any) -> LaneType:
    """A width's lane, padded to what this value is padded to."""
    return lane if role.padded is None or role.tiers is None else replace(lane, most=role.tiers[value])


def _signature(trial: Trial, roles: Mapping[str, Role]) -> Any:
    """Equal for trials of one program: the names that are read, the values compiled in, what sizes are padded to."""
    config = _seen_by_task(trial)
    tiers = {name: tiers[config[name]] for name, role in roles.items() if name in config and (tiers := role.tiers)}
    names = frozenset(name for name in config if roles[name].kind in ("lane", "static"))
    return names, config_id(_compiled_in(config, roles)), config_id(tiers)


def _seen_by_task(trial: Trial) -> dict[str, Any]:
    """A trial's config as the task reads it: with ``steps``, however its length was said."""
    return {**trial.config, "steps": trial.steps}
