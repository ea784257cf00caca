"""Whether a recorded sweep is the one that is to be resumed: same data, settings, computation and environment."""

import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from jsweep._runtime.environment import describe_environment
from jsweep.data.loader import Batches
from jsweep.errors import IncompatibleSweepError
from jsweep.planning import Group
from jsweep.planning.host_code import code_hash
from jsweep.planning.identity import FunctionIdentity, ProgramIdentity
from jsweep.planning.lane_types import kind_of_lane
from jsweep.runner.prepare import Prepared, recorded_roles
from jsweep.storage import Store, SweepRecord, Trial
from jsweep.storage.records import JsonObject

# What of the environment results depend on; the rest (Python, number of cores) is recorded for the reader.
DECISIVE = ("jax", "jaxlib", "optax", "numpy", "platform", "device", "processor", "reductions_flag", "x64")
DECISIVE += ("matmul_precision", "flags")
_HARMLESS_FLAGS = ("--xla_force_host_platform_device_count", "--xla_cpu_experimental_ynn_fusion_type")
# What a jaxpr depends on beside the task.
TRACED_BY = ("jax", "x64", "flags")

_OWN_NAME = "give this sweep a name of its own (name=..., --name)"


def open_sweep(store: Store, prepared: Prepared) -> SweepRecord:
    """The sweep's record, new or found; IncompatibleSweepError where what is found is another sweep."""
    sweep = prepared.sweep
    name = sweep.record_name
    identity = _identity(prepared)
    found = store.sweep(name)
    if found is None:
        found = store.add_sweep(name, sweep.task.name or "task", identity, _settings(prepared))
    changed = [key for key in identity if _differs(key, found.identity.get(key), identity[key])]
    if changed:
        shown = ", ".join(f"{_WORDS.get(k, k)}{_values(k, found.identity.get(k), identity[k])}" for k in changed)
        raise IncompatibleSweepError(
            f"the sweep {name!r} in {store.path} was made with other {shown}: to keep both, {_OWN_NAME}; to resume the old "
            f"one, restore what changed; to begin again, jsweep drop {name}."
        )
    check_programs(store, found, prepared)
    return found


def _identity(prepared: Prepared) -> dict[str, Any]:
    sweep, task = prepared.sweep, prepared.sweep.task
    return {
        "task": task.name or "task",
        "data": prepared.data_hash,
        "loader": _loader(task.data.train),
        "key": [int(word) for word in prepared.setting.root],
        "pairing": sweep.pairing,
        "share_batches": sweep.share_batches,
        "evaluate_every": prepared.setting.evaluate_every,
        "batch_size": task.batch_size,
    }


def _loader(train: PyTree | Batches) -> dict[str, str] | None:
    """The code that batches come from, and the Python whose bytecode it is; of the batches themselves a hash sees a few."""
    if not isinstance(train, Batches):
        return None
    python = _decisive("python", platform.python_version())
    return {"python": str(python), "code": code_hash(train.make, with_state=False)}


def _differs(key: str, before: Any, now: Any) -> bool:
    if key == "loader" and before and now and before.get("python") != now["python"]:
        return False  # the same code has other bytecode
    return before != now


_WORDS = {"key": "root key", "loader": "code of the loader of its batches"}


def _values(key: str, before: object, now: object) -> str:
    return "" if key in ("data", "key", "loader") else f" ({before!r}, now {now!r})"


def check_programs(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Raise IncompatibleSweepError where trials were trained by a program that computes something else now.

    Trials whose traces cannot be compared are passed over; see `warn_of_unchecked`.
    """
    for trial, group, comparable in _changed_programs(store, record, prepared):
        if comparable:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained by another task: "
                f"{_difference(group, trial, record)}. To keep both, {_OWN_NAME}; to resume the old one, restore what "
                f"changed; to begin again, jsweep drop {record.name}."
            )


def warn_of_unchecked(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Warn where nobody can tell whether the task still computes what trials were trained by."""
    unchecked = [trial for trial, _, comparable in _changed_programs(store, record, prepared) if not comparable]
    if not unchecked:
        return
    before, now = store.environments().get(unchecked[0].environment or 0, {}), describe_environment()
    changed = ", ".join(f"{n} {before.get(n)}, now {now[n]}" for n in (*TRACED_BY, "python") if before.get(n) != now[n])
    warnings.warn(
        f"{len(unchecked)} trials of {record.name!r} were trained under another environment ({changed}), so whether the "
        "task still computes what they did cannot be told: their scores are those of the record.",
        stacklevel=3,
    )


def _changed_programs(
    store: Store, record: SweepRecord, prepared: Prepared
) -> Iterator[tuple[Trial, Group | None, bool]]:
    """The recorded trials whose program is another now (None: it cannot be traced), and whether the two can be compared.

    Another version of JAX may trace the same function to other operations, and another Python has other bytecode.
    """
    now, known = describe_environment(), store.environments()
    groups: dict[str, Group | None] = dict.fromkeys(prepared.untraceable)
    groups |= {trial.id: group for group in prepared.groups for trial in group.trials}
    for trial in store.trials(record.key):
        if trial.program is None or trial.id not in groups:
            continue
        group, before = groups[trial.id], known.get(trial.environment or 0)
        if group is None or trial.program != group.identity.digest:
            names = (*TRACED_BY, *(("python",) if group is None or group.traced.calls_host else ()))
            yield trial, group, before is not None and not _changed(before, now, names)


def _difference(group: Group | None, trial: Trial, record: SweepRecord) -> str:
    if group is None:
        return f"trial {trial.id}, which is recorded, cannot be traced now"
    before = record.settings.get("programs", {}).get(trial.program)
    try:
        parts = [FunctionIdentity(str(digest), tuple(map(str, marks))) for digest, marks in before]
        found = group.identity.difference(ProgramIdentity(*parts))
    except (TypeError, ValueError):
        found = None
    return f"what it computes has changed in {found}" if found else "what it computes has changed"


def keep_settings(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Record what was decided about names, values and programs that the sweep did not have before."""
    known, now = record.settings, _settings(prepared)
    types = recorded_roles(record).types
    settings = {
        **known,
        "objective": now["objective"],
        "metrics": _union(known.get("metrics", []), now["metrics"]),
        "modes": {**known.get("modes", {}), **now["modes"]},
        "roles": {**now["roles"], **known.get("roles", {})},
        "lane_types": {n: _union(types.get(n, []), mine) for n, mine in {**types, **now["lane_types"]}.items()},
        "buckets": {**known.get("buckets", {}), **now["buckets"]},
        "programs": {**known.get("programs", {}), **now["programs"]},
    }
    if settings != known:
        store.set_settings(record.key, settings)


def _union(before: Sequence[str], now: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*before, *now)))


def _settings(prepared: Prepared) -> dict[str, Any]:
    objective = prepared.objective
    roles = prepared.roles.values()
    return {
        "metrics": prepared.metrics,
        "objective": None if objective is None else {"metric": objective.metric, "mode": objective.mode},
        "modes": dict(prepared.sweep.task.modes),
        "roles": {role.name: [str(role.kind), role.reason] for role in roles},
        "lane_types": {r.name: _union([], [kind_of_lane(lane) for lane in r.types]) for r in roles if r.types},
        "buckets": {r.name: sorted(map(list, r.buckets.items())) for r in roles if r.buckets is not None},
        "programs": {group.identity.digest: _programs(group.identity) for group in prepared.groups},
    }


def _programs(identity: ProgramIdentity) -> list[list[Any]]:
    return [[part.digest, list(part.marks)] for part in (identity.init, identity.step, identity.evaluate)]


def check_environment(store: Store, record: SweepRecord) -> None:
    """Raise IncompatibleSweepError where trials of the sweep were trained under other versions or on another device."""
    now = describe_environment()
    known = store.environments()
    for number in {t.environment for t in store.trials(record.key) if t.done and t.environment in known}:
        assert number is not None
        changed = _changed(known[number], now)
        if changed:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained elsewhere ({changed}), so new trials would not be "
                "comparable bit for bit: restore that environment; or resume here on record with any_environment=True "
                f"(--any-environment); or {_OWN_NAME}."
            )


def _changed(before: JsonObject, now: Mapping[str, Any], names: Sequence[str] = DECISIVE) -> str:
    changed = [name for name in names if _decisive(name, before.get(name)) != _decisive(name, now[name])]
    return ", ".join(f"{name} {before.get(name)}, now {now[name]}" for name in changed)


def _decisive(name: str, value: object) -> object:
    """What results depend on: of XLA's flags not the number of devices, nor that for reductions, which is kept apart.

    Of Python its version without the last number, with which bytecode does not change.
    """
    if name == "python":
        return str(value).rpartition(".")[0]
    if name != "flags":
        return value
    return sorted(flag for flag in str(value or "").split() if not flag.startswith(_HARMLESS_FLAGS))


def extensions(store: Store, record: SweepRecord, prepared: Prepared) -> dict[str, int]:
    """The recorded trials that are to train longer than they were, with their steps.

    Raises:
        IncompatibleSweepError: where fewer steps are asked for, and where the task reads ``config["steps"]``, so that a
            longer trial would have gone another way from its start.
    """
    wanted = {trial.id: trial for trial in prepared.trials}
    longer: dict[str, int] = {}
    read_length = {t.id for group in prepared.groups if "steps" in group.traced.reads for t in group.trials}
    for known in store.trials(record.key):
        trial = wanted.get(known.id)
        if trial is None or trial.steps == known.steps:
            continue
        if trial.steps < known.steps:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} has trial {known.id} at {known.steps} steps, and {trial.steps} "
                f"are asked for: ask for as many or more, or {_OWN_NAME}."
            )
        if known.done and known.id in read_length:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained for {known.steps} steps and its task reads "
                f"config['steps'], so {trial.steps} steps make other trials from the first step on: {_OWN_NAME}."
            )
        longer[known.id] = trial.steps
    return longer
