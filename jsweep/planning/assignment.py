"""Which names are lanes and of which types, which are static and why, and what sizes are padded to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.planning.lane_types import INT, LaneType, lane_type_named, lane_type_of
from jsweep.planning.roles import kind_of_value
from jsweep.space import ValueKind, config_id, format_value
from jsweep.task.task import Task

Config = Mapping[str, Value]
Signature = tuple[frozenset[str], tuple[tuple[str, LaneType], ...], int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Annotations:
    """What the space says of its names.

    ``roles`` has "lane" or "static" for the names annotated so; ``kinds`` what the space says of each name's values;
    ``conditions`` the names that conditions of the space look at.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, ValueKind] = field(default_factory=dict)
    conditions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RecordedRoles:
    """What the record of a sweep has settled: each name's kind and reason, its lane types, and what sizes are padded to.

    ``programs`` are the digests of the programs that it has.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Assignment:
    """The roles as they stand: lane ``types`` by name, the reasons of names that are ``static``, and ``buckets``.

    A value travels in the first of its name's types that holds it, and is static where none does. ``notes`` are added to the
    reasons of lanes; ``fixed`` names are not to be decided again; ``rows`` are those of a batch where a config does not say.
    """

    types: Mapping[str, tuple[LaneType, ...]]
    static: Mapping[str, str]
    buckets: Mapping[str, Mapping[int, int]]
    notes: Mapping[str, str]
    fixed: frozenset[str]
    rows: int

    def parts(self, config: Config) -> tuple[dict[str, LaneType], dict[str, Value], int]:
        """A config's lanes, its static values, and the rows of a batch as compiled."""
        lanes = {name: lane for name, value in config.items() if (lane := self._lane(name, value)) is not None}
        static = {name: value for name, value in config.items() if name not in lanes}
        size = config.get("batch_size", self.rows)
        rows = self.buckets["batch_size"][_whole(size)] if "batch_size" in lanes else _whole(size)
        return lanes, static, rows

    def _lane(self, name: str, value: Value) -> LaneType | None:
        if name in self.static:
            return None
        types = self.types.get(name, ())
        if name in self.buckets:
            size = self.buckets[name][_whole(value)]
            if is_alone(self.buckets[name], _whole(value)):
                return None
            return replace(types[0], most=size if types[0].most else 0)
        return next((lane for lane in types if lane.holds(value)), None)

    def signature(self, config: Config) -> Signature:
        """Equal for configs of one program, whatever the program reads."""
        lanes, static, rows = self.parts(config)
        return frozenset(config), tuple(sorted(lanes.items())), rows, self.encoded(static)

    def signatures(self, configs: Iterable[Config]) -> Iterator[Signature]:
        """The signature of each config. A float in a lane of floats does not tell two apart, and is most of what differs."""
        floats = {name for name, types in self.types.items() if types and types[0].dtype.kind == "f"}
        floats -= self.static.keys() | self.buckets.keys()
        known: dict[tuple[tuple[str, object], ...], Signature] = {}
        for config in configs:
            told = [(n, None if type(v) is float and n in floats else _told(v)) for n, v in config.items()]
            key = tuple(told)
            if key not in known:
                known[key] = self.signature(config)
            yield known[key]

    def same_program(self, one: Signature, other: Signature, reads: frozenset[str]) -> bool:
        """Whether two signatures differ at most in static values that are not among ``reads``."""
        if one[:3] != other[:3]:
            return False
        return all(a == b or a[0] not in reads for a, b in zip(one[3], other[3], strict=True))

    def encoded(self, static: Config) -> tuple[tuple[str, str], ...]:
        """Static values as text that is equal for equal ones alone."""
        return tuple((name, _encoded(name, value)) for name, value in sorted(static.items()))

    def without(
        self, reasons: Mapping[str, str], padded: Mapping[str, LaneType], configs: Sequence[Config]
    ) -> "Assignment":
        """With some names static, and some widths padded to their widest."""
        buckets = {
            name: dict.fromkeys(sorted({_whole(c[name]) for c in configs if name in c}), lane.most)
            for name, lane in padded.items()
        }
        return replace(
            self,
            static={**self.static, **reasons},
            types={**self.types, **{name: (lane,) for name, lane in padded.items()}},
            buckets={**self.buckets, **buckets},
        )

    def reason(self, name: str) -> str:
        """Why a name is what it is."""
        if name in self.static:
            return self.static[name]
        types, note = self.types.get(name, ()), self.notes.get(name, "")
        if name in self.buckets:
            why = "requested with js.lane" if name in self.fixed and not note else note
            return f"{describe_buckets(self.buckets[name])}{f' ({why})' if why else ''}"
        why = "handed to a select" if types and types[0].names else "traces"
        return f"{why}, {note}" if note else why


def first_assignment(
    task: Task, configs: Sequence[Config], annotations: Annotations, recorded: RecordedRoles
) -> Assignment:
    """Every name that could be a lane as one, but for what the user or the record has settled."""
    types: dict[str, tuple[LaneType, ...]] = {}
    static: dict[str, str] = {}
    buckets: dict[str, Mapping[int, int]] = {}
    names = dict.fromkeys(name for config in configs for name in config)
    for name in names:
        values = [config[name] for config in configs if name in config]
        if recorded.kinds.get(name) == "static" and name not in recorded.buckets:
            static[name] = recorded.reasons.get(name, "as recorded")
        elif annotations.roles.get(name) == "static":
            static[name] = "requested with js.static"
        elif name in recorded.buckets:
            buckets[name] = grown(recorded.buckets[name], sorted({_whole(value) for value in values}))
            types[name] = (LaneType(INT, most=0 if name == "batch_size" else 1),)
        elif name == "batch_size":
            _assign_batch_size(task, values, annotations, static, buckets)
            types[name] = (LaneType(INT),)
        else:
            types[name] = _lane_types(values, annotations.kinds.get(name), recorded.types.get(name, ()))
            if not types[name]:
                static[name] = _why_not(name, values, annotations)
    fixed = frozenset(names) & (recorded.kinds.keys() | recorded.buckets.keys() | annotations.roles.keys())
    return Assignment(types, static, buckets, {}, fixed, task.batch_size)


def _assign_batch_size(
    task: Task,
    values: Sequence[Value],
    annotations: Annotations,
    static: dict[str, str],
    buckets: dict[str, Mapping[int, int]],
) -> None:
    if annotations.roles.get("batch_size") != "lane":
        static["batch_size"] = "the number of rows of a batch"
        return
    if task.per_example is None:
        raise ConfigError(
            "'batch_size' is annotated with js.lane, and the task's step does not ignore padded rows: leave js.lane out."
        )
    sizes = sorted({_whole(value) for value in values})
    buckets["batch_size"] = dict.fromkeys(sizes, sizes[-1])


def _lane_types(values: Sequence[Value], kind: ValueKind | None, recorded: Sequence[str]) -> tuple[LaneType, ...]:
    """The types of a name's lane: those of the record first, so that what was begun goes on in its programs."""
    names = () if kind is None else kind.names
    own = lane_type_of(values) if kind is None else lane_type_named(kind.type, (*names, *values))
    found = [lane_type_named(each, (*names, *values)) for each in recorded]
    return tuple(dict.fromkeys(lane for lane in (*found, own) if lane is not None))


def _why_not(name: str, values: Sequence[Value], annotations: Annotations) -> str:
    odd = next((value for value in values if not isinstance(value, bool | int | float | str)), None)
    kind = kind_of_value(odd) if any(value is odd for value in values) else "not all numbers"
    if annotations.roles.get(name) == "lane":
        raise ConfigError(f"{name!r} is annotated with js.lane, but its values are not all numbers, or all strings.")
    return f"its values are {kind}"


def grown(buckets: Mapping[int, int], values: Sequence[int]) -> dict[int, int]:
    """A record's buckets with values it has not: in the narrowest program that takes them, else in one of their own."""
    found = dict(buckets)
    shared = sorted({size for value, size in buckets.items() if not is_alone(buckets, value)})
    new = [v for v in values if v not in buckets]
    beyond = [v for v in new if not shared or v > shared[-1]]
    for value in new:
        found[value] = max(beyond) if value in beyond else next(size for size in shared if size >= value)
    return found


def is_alone(buckets: Mapping[int, int], value: int) -> bool:
    """Whether a size shares its bucket with no other."""
    return list(buckets.values()).count(buckets[value]) == 1


def describe_buckets(buckets: Mapping[int, int]) -> str:
    """What is padded to what, in words."""
    parts: dict[int, list[int]] = {}
    for value, size in sorted(buckets.items()):
        parts.setdefault(size, []).append(value)
    shared = [f"{', '.join(map(str, part))} padded to {size}" for size, part in parts.items() if len(part) > 1]
    single = [format_value(size) for size, part in parts.items() if len(part) == 1]
    apart = f"; {', '.join(single)} static" if single and shared else ""
    return f"{'; '.join(shared)} and masked{apart}" if shared else "the number of rows of a batch"


def _told(value: Value) -> tuple[object, type]:
    """Equal for equal values alone."""
    scalar = isinstance(value, bool | int | str)
    return value if scalar else config_id({"": value}), type(value)


def _whole(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{value!r} is not a whole number, which a size must be: correct it in the space.")
    return value


def _encoded(name: str, value: Value) -> str:
    if isinstance(value, bool | int | float | str):
        return _encoded_scalar(name, value, type(value))
    return config_id({name: value})


@cache
def _encoded_scalar(name: str, value: bool | int | float | str, kind: type) -> str:
    return config_id({name: value})
