"""From trials to compile groups: every group that will run is traced, and roles are decided from those traces.

Names that can travel in a lane are tried as lanes. What a trace refuses is static, everywhere, and the groups are made again
until all of them trace. A static name that a group's trace did not read cannot have changed that trace, so trials that differ in
it alone share the group; groups whose jaxprs turn out equal are one.
"""

import functools
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.planning.assignment import Annotations, Assignment, RecordedRoles, Signature, first_assignment
from jsweep.planning.bucketing import decide_buckets
from jsweep.planning.groups import Group, seen_by_task
from jsweep.planning.hidden_inputs import check_repeatable
from jsweep.planning.identity import identity_of
from jsweep.planning.lane_types import INT, LaneType, exceeds
from jsweep.planning.numbers import why_not_numbers
from jsweep.planning.padding import why_rows_mix
from jsweep.planning.roles import ENGINE_NAMES, Role, RoleKind, reason_of, user_frame
from jsweep.planning.traced import LaneFunctions, Traced, retracing, trace
from jsweep.space import config_id, format_value
from jsweep.storage.records import Trial
from jsweep.task.task import Task

Config = Mapping[str, Value]
Traces = dict[object, Traced | Exception]
"""Traces of one task, by what they were made of."""

_PATIENCE = 100  # configs that fail, one after another and none of them traced, before the task itself is blamed


@dataclass(frozen=True)
class Grouped:
    """The compile groups, every name's role, and the trials that cannot be traced, by id, with the error of each."""

    groups: tuple[Group, ...]
    roles: Mapping[str, Role]
    untraceable: Mapping[str, Exception]


@dataclass(frozen=True)
class Draft:
    """Configs that share a program, by their positions among all, and its trace."""

    static: Config
    lanes: Mapping[str, LaneType]
    rows: int
    traced: Traced = field(repr=False)
    members: tuple[int, ...]
    varying: frozenset[str] = frozenset()


class _Refused(Exception):
    """Names that cannot be lanes, with the reasons; or, ``padded``, widths that can be if they are padded."""

    def __init__(self, reasons: Mapping[str, str], padded: Mapping[str, LaneType] | None = None):
        super().__init__(reasons)
        self.reasons, self.padded = reasons, padded or {}


def make_groups(
    task: Task,
    trials: Sequence[Trial],
    *,
    annotations: Annotations | None = None,
    recorded: RecordedRoles | None = None,
    traces: Traces | None = None,
) -> Grouped:
    """Split trials into compile groups by abstract tracing; nothing is compiled.

    Args:
        task: the task.
        trials: the trials.
        annotations: what the space says of its names.
        recorded: what the record of the sweep holds, which is kept.
        traces: those made for other trials of the task, to which this adds its own.

    Returns:
        The groups, the roles and what cannot be traced.

    Raises:
        ConfigError: where a name was annotated as a lane and cannot be one, a number does not fit its lane, or the task
            computes something else when it is traced again. Where no trial can be traced, the error of the first one.
    """
    recorded = recorded or RecordedRoles()
    planner = _Planner(task, trials, annotations or Annotations(), recorded)
    planner.traces = {} if traces is None else traces
    with retracing():
        drafts, failed = planner.settle()
        groups = []
        for draft in drafts:
            places = sorted(place for number in draft.members for place in planner.places[number])
            members = tuple(trials[place] for place in places)
            group = Group(draft.static, draft.lanes, members, draft.rows, draft.traced, draft.varying)
            groups += _by_fold_size(task, group)
    untraceable = {trials[place].id: error for number, error in failed.items() for place in planner.places[number]}
    for number, error in failed.items():
        _note_config(error, planner.configs[number])
    if not groups:
        raise next(iter(untraceable.values()))
    check_repeatable(task, groups, recorded.programs)
    return Grouped(tuple(groups), planner.roles(drafts), untraceable)


def _by_fold_size(task: Task, group: Group) -> list[Group]:
    """A group's trials in groups of folds of equal size, each traced at that size; the group itself without folds."""
    folds = task.data.folds
    if folds is None:
        return [group]
    sizes = [len(rows) for rows in folds.validation]
    found = []
    for size in dict.fromkeys(sizes):
        members = tuple(trial for trial in group.trials if sizes[folds.of(trial.seed)] == size)
        traced = group.traced if size == sizes[0] else trace(task, group.static, group.lanes, group.rows, size)
        found.append(replace(group, trials=members, traced=traced, validation_rows=size))
    return [each for each in found if each.trials]


def _note_config(error: Exception, config: Config) -> None:
    """Say in the traceback which config was traced, and where in the user's code that went wrong."""
    place = user_frame(traceback.extract_tb(error.__traceback__))
    shown = ", ".join(f"{name}={format_value(value)}" for name, value in config.items())
    note = f"jsweep was tracing the task for the config {shown}" + (f"; the error arose in {place}." if place else ".")
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


class _Planner:
    """One planning: the distinct configs, the places of their trials, the assignment as it stands, and the traces so far."""

    def __init__(self, task: Task, trials: Sequence[Trial], annotations: Annotations, recorded: RecordedRoles):
        self.task, self.trials, self.annotations, self.recorded = task, trials, annotations, recorded
        numbers: dict[tuple[str, int], int] = {}
        self.configs: list[Config] = []
        self.places: list[list[int]] = []
        for place, trial in enumerate(trials):
            number = numbers.setdefault((trial.config_id, trial.steps), len(self.configs))
            if number == len(self.configs):
                self.configs.append(seen_by_task(trial))
                self.places.append([])
            self.places[number].append(place)
        self.assignment = first_assignment(task, self.configs, annotations, recorded)
        self.traces: Traces = {}
        self._made: tuple[Assignment, tuple[list[Draft], dict[int, Exception]]] | None = None

    def settle(self) -> tuple[list[Draft], dict[int, Exception]]:
        """Make the groups again until every one of them traces with the same roles."""
        bucketed = False
        while True:
            try:
                drafts, failed = self._drafts()
                self._check_used(drafts)
                if bucketed:
                    self._check_numbers(drafts)
            except _Refused as refused:
                self.assignment = self._without(refused)
                continue
            if self.annotations.roles.get("batch_size") == "lane":
                self._check_padding(drafts)
            if bucketed or not drafts:
                self._check_range()
                return _merged(drafts), failed
            steps = [self.trials[places[0]].steps * len(places) for places in self.places]
            self.assignment = decide_buckets(self.task, self.configs, steps, drafts, self.assignment)
            bucketed = True

    def _drafts(self) -> tuple[list[Draft], dict[int, Exception]]:
        """The groups under the present assignment, made once; _Refused where a lane must go."""
        if self._made is None or self._made[0] != self.assignment:
            self._made = self.assignment, self._make_drafts()
        return self._made[1]

    def _make_drafts(self) -> tuple[list[Draft], dict[int, Exception]]:
        waiting: dict[Signature, list[int]] = {}
        for number, signature in enumerate(self.assignment.signatures(self.configs)):
            waiting.setdefault(signature, []).append(number)
        failed: dict[int, Exception] = {}
        drafts: list[Draft] = []
        while waiting:
            signature, members = next(iter(waiting.items()))
            config = self.configs[members[0]]
            lanes, static, rows = self.assignment.parts(config)
            traced = self._trace_or_refuse(config, lanes, static, rows)
            if isinstance(traced, Exception):
                failed[members.pop(0)] = traced
                if not drafts and len(failed) >= _PATIENCE:
                    number, error = next(iter(failed.items()))
                    _note_config(error, self.configs[number])
                    raise error
                if not members:
                    del waiting[signature]
                continue
            alike = [key for key in waiting if self.assignment.same_program(key, signature, traced.reads)]
            numbers = tuple(sorted(number for key in alike for number in waiting.pop(key)))
            varying = frozenset(name for name in static if name not in traced.reads) if len(alike) > 1 else frozenset()
            drafts.append(Draft(static, lanes, rows, traced, numbers, varying))
        return drafts, failed

    def _trace_or_refuse(
        self, config: Config, lanes: Mapping[str, LaneType], static: Config, rows: int
    ) -> Traced | Exception:
        """The trace of one config's group; an Exception where it fails whatever is a lane; _Refused where a lane is why."""
        together = self._trace(static, lanes, rows)
        if isinstance(together, Traced) or not lanes:
            return together
        alone = self._trace(config, {}, self._rows(config))
        if isinstance(alone, Exception) and not any(lane.most for lane in lanes.values()) and "batch_size" not in lanes:
            return alone  # the task, or this config, is at fault
        reasons, padded = {}, {}
        for name, lane in lanes.items():
            rest = {n: v for n, v in config.items() if n != name}
            found = self._trace(rest, {name: lane}, rows if name == "batch_size" else self._rows(config))
            if isinstance(found, Exception):
                reasons[name] = reason_of(found)
                if self.annotations.roles.get(name) == "lane" and lane.dtype == INT and not lane.most:
                    wide = self._padded(name, rest, config)
                    if wide is not None:
                        padded[name] = wide
                        del reasons[name]
        if not reasons and not padded:
            reasons = self._refused_together(config, lanes, together)
        raise _Refused(reasons, padded)

    def _padded(self, name: str, rest: Config, config: Config) -> LaneType | None:
        """A width as a padded lane, where the task traces with it and masks it in its step."""
        widest = max(int(str(c[name])) for c in self.configs if name in c)
        lane = LaneType(INT, most=widest)
        found = self._trace(rest, {name: lane}, self._rows(config))
        return lane if isinstance(found, Traced) and found.masks else None

    def _refused_together(self, config: Config, lanes: Mapping[str, LaneType], error: Exception) -> dict[str, str]:
        """The names that must go where each traces alone and all together do not."""
        kept: dict[str, LaneType] = {}
        reasons: dict[str, str] = {}
        for name, lane in lanes.items():
            tried = {**kept, name: lane}
            static = {n: v for n, v in config.items() if n not in tried}
            if isinstance(self._trace(static, tried, self._rows(config)), Traced):
                kept = tried
            else:
                reasons[name] = f"does not trace beside {', '.join(kept) or 'the others'}: {reason_of(error)}"
        return reasons or {name: reason_of(error) for name in lanes}

    def _rows(self, config: Config) -> int:
        """The rows of one config's own batches."""
        size = config.get("batch_size", self.task.batch_size)
        assert isinstance(size, int)
        return size

    def _trace(self, static: Config, lanes: Mapping[str, LaneType], rows: int) -> Traced | Exception:
        """A trace that runs under vmap, or the exception that stopped it."""
        found = self._trace_alone(static, lanes, rows)
        return found if isinstance(found, Exception) else found.vmap_error or found

    def _trace_alone(
        self, static: Config, lanes: Mapping[str, LaneType], rows: int, remade: bool = False
    ) -> Traced | Exception:
        key = (self.assignment.encoded(static), tuple(sorted(lanes.items())), rows, remade)
        if key not in self.traces:
            try:
                self.traces[key] = trace(self.task, static, lanes, rows, remade=remade)
            except Exception as error:
                self.traces[key] = error
        return self.traces[key]

    def _check_used(self, drafts: Sequence[Draft]) -> None:
        """Refuse a lane that the task read but on whose tracer nothing depends: a type check has thrown it away."""
        dropped = {
            name: "read by the task, but nothing it computes depends on its traced value"
            for draft in drafts
            for name in draft.lanes
            if name in draft.traced.reads - draft.traced.used
        }
        if dropped:
            raise _Refused(dropped)

    def _check_numbers(self, drafts: Sequence[Draft]) -> None:
        """Refuse lanes with which the task computes something else than with the Python numbers that they stand for."""
        reasons: dict[str, str] = {}
        for draft in drafts:
            alike = functools.partial(self._trace_alone, remade=draft.traced.template.remade)
            reasons |= why_not_numbers(draft, self.configs, alike)
        if reasons:
            raise _Refused(reasons)

    def _check_padding(self, drafts: Sequence[Draft]) -> None:
        """Raise ConfigError where batches are to be padded on request and the rows of a batch see one another."""
        for draft in drafts:
            if "batch_size" in draft.lanes:
                functions = LaneFunctions(self.task, draft.static, draft.lanes, draft.traced.template)
                mixed = why_rows_mix(functions, draft.traced.state, draft.rows)
                if mixed is not None:
                    raise ConfigError(
                        f"'batch_size' is annotated with js.lane, but its batches cannot be padded: {mixed}; leave js.lane out."
                    )

    def _without(self, refused: _Refused) -> Assignment:
        """The assignment with what was refused made static or padded; ConfigError where the user or the record forbids it."""
        for name, reason in refused.reasons.items():
            if self.annotations.roles.get(name) == "lane":
                raise ConfigError(f"{name!r} is annotated with js.lane, but cannot be a lane: {reason}.")
            if self.recorded.kinds.get(name) == "lane":
                raise IncompatibleSweepError(
                    f"{name!r} is a lane in the record, and cannot be one for the configs that were added ({reason}): "
                    "give this sweep a name of its own (name=..., --name)."
                )
        return self.assignment.without(refused.reasons, refused.padded, self.configs)

    def _check_range(self) -> None:
        floats = {lane.dtype for types in self.assignment.types.values() for lane in types if lane.dtype.kind == "f"}
        most = min((float(np.finfo(dtype).max) for dtype in floats), default=math.inf)
        for config in self.configs:
            if not any(isinstance(value, int | float) and abs(value) > most for value in config.values()):
                continue
            lanes, _, _ = self.assignment.parts(config)
            for name, lane in lanes.items():
                if exceeds(lane, config[name]):
                    raise ConfigError(f"{name}={config[name]!r} does not fit {lane.dtype}: give a smaller number.")

    def roles(self, drafts: Sequence[Draft]) -> dict[str, Role]:
        """Every name's role, with the reason."""
        reads = frozenset().union(*(draft.traced.reads for draft in drafts))
        used = frozenset().union(*(draft.traced.used for draft in drafts))
        tells_apart = _tells_apart(drafts)
        found = {}
        for name in dict.fromkeys(name for config in self.configs for name in config):
            is_lane = any(name in draft.lanes for draft in drafts)
            found[name] = self._role(name, is_lane, name in reads, name in used or name in tells_apart)
        return found

    def _role(self, name: str, is_lane: bool, is_read: bool, is_used: bool) -> Role:
        types, buckets = self.assignment.types.get(name, ()), self.assignment.buckets.get(name)
        if name in ENGINE_NAMES and not (is_read and is_used):
            if name == "batch_size":
                kind = RoleKind.LANE if is_lane else RoleKind.STATIC
                return Role(name, kind, self.assignment.reason(name), types, buckets)
            return Role(name, RoleKind.ENGINE, "the length of training")
        if not is_used:
            why = "nothing the task computes depends on it" if is_read else "never read by the task"
            return Role(name, RoleKind.UNUSED, why, types if is_lane else ())
        kind = RoleKind.LANE if is_lane else RoleKind.STATIC
        return Role(name, kind, self.assignment.reason(name), types, buckets)


def _tells_apart(drafts: Sequence[Draft]) -> frozenset[str]:
    """The static names that some group's trace read and whose values do not all share that group."""
    return frozenset(
        name for draft in drafts for name in draft.static if name in draft.traced.reads and name not in draft.varying
    )


def _merged(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts, those whose jaxprs are equal as one, unless functions on the host decide what they compute."""
    if len(drafts) < 2:
        return list(drafts)
    found: dict[object, Draft] = {}
    for draft in drafts:
        lanes = tuple(sorted((name, str(lane)) for name, lane in draft.lanes.items()))
        key = (identity_of(draft.traced).digest, lanes, draft.rows, frozenset(draft.static), draft.traced.names)
        if draft.traced.calls_host:
            key = draft.members
        same = found.get(key)
        if same is None:
            found[key] = draft
            continue
        differing = {n for n, value in draft.static.items() if config_id({n: value}) != config_id({n: same.static[n]})}
        found[key] = replace(
            same,
            members=tuple(sorted((*same.members, *draft.members))),
            varying=same.varying | differing | draft.varying,
        )
    return list(found.values())
