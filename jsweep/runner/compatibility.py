"""Whether a recorded sweep is the one that is to be resumed: same data, settings, computation and environment."""

import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from jsweep._runtime.environment import describe_environment
from jsweep.data.loader import Batches
from jsweep.data.splits import Folds
from jsweep.errors import IncompatibleSweepError
from jsweep.planning import Group
from jsweep.planning.host_code import code_hash
from jsweep.planning.identity import FunctionIdentity, ProgramIdentity
from jsweep.planning.lane_types import kind_of_lane
from jsweep.planning.trials import seed_list
from jsweep.runner.judged import goes_on, parts_of
from jsweep.runner.prepare import Prepared
from jsweep.runner.searching import Proposed, describe_search
from jsweep.search.model_based import Search
from jsweep.space import config_id
from jsweep.storage import Store, SweepRecord, Trial
from jsweep.storage.records import JsonObject
from jsweep.storage.rows import dump
from jsweep.storage.standing import ENDED

# What of the environment results depend on; the rest (Python, number of cores) is recorded for the reader.
DECISIVE = ("jax", "jaxlib", "optax", "numpy", "platform", "device", "processor", "reductions_flag", "x64")
DECISIVE += ("matmul_precision", "flags")
_HARMLESS_FLAGS = ("--xla_force_host_platform_device_count", "--xla_cpu_experimental_ynn_fusion_type")
# What a jaxpr depends on beside the task.
TRACED_BY = ("jax", "x64", "flags")

_OWN_NAME = "give this sweep a name of its own (name=..., --name)"


def enter_sweep(store: Store, prepared: Prepared, known: SweepRecord | None) -> SweepRecord | None:
    """Record what was decided about a sweep, as a new one or beside what the record has of it.

    Args:
        store: the store.
        prepared: the sweep, prepared with ``known``.
        known: the sweep as recorded; None where it was not.

    Returns:
        The sweep as recorded now; None where another process has changed it since, so that it is to be prepared again.
    """
    if known is not None:
        return store.merge_settings(known, lambda settings: _merged(settings, prepared))
    identity, settings = _identity(prepared), _settings(prepared)
    found = store.add_sweep(prepared.sweep.record_name, str(identity["task"]), identity, settings)
    return found if (dump(found.identity), dump(found.settings)) == (dump(identity), dump(settings)) else None


def check_same(store: Store, known: SweepRecord, prepared: Prepared, *, trains: bool = True) -> None:
    """Raise IncompatibleSweepError where what is recorded under the sweep's name is another sweep.

    Where nothing is trained, all that a rule has judged part by part may be there together.
    """
    identity = _identity(prepared)
    changed = [key for key in identity if _differs(key, known.identity.get(key), identity[key])]
    if "judged" in changed and goes_on(known, prepared, trains):
        changed.remove("judged")
    if "data" in changed and "test" in changed:
        changed.remove("test")  # one word for both
    if changed:
        shown = ", ".join(f"{_WORDS.get(k, k)}{_values(k, known.identity.get(k), identity[k])}" for k in changed)
        raise IncompatibleSweepError(
            f"the sweep {known.name!r} in {store.path} was made with other {shown}: to keep both, {_OWN_NAME}; to resume the "
            f"old one, restore what changed; to begin again, jsweep drop {known.name} --store {store.path}."
        )
    check_programs(store, known, prepared)


def _identity(prepared: Prepared) -> dict[str, Any]:
    sweep, task = prepared.sweep, prepared.sweep.task
    return {
        "task": task.name or "task",
        "data": prepared.data_hash,
        "test": prepared.test_hash,
        "loader": _loader(task.data.train),
        "key": [int(word) for word in prepared.setting.root],
        "pairing": sweep.pairing,
        "vary": list(sweep.vary),
        "evaluate_every": prepared.setting.evaluate_every,
        "batch_size": task.batch_size,
        "mesh": task.mesh and {name: int(size) for name, size in task.mesh.shape.items()},
        "rule": prepared.rule and prepared.rule.name,
        "judged": prepared.rule and config_id(_judged(prepared)),
    }


def _judged(prepared: Prepared) -> dict[str, Any]:
    """What a rule's decisions follow from, beside the scores: of a search its seeds and steps, as it proposes the configs."""
    sweep = prepared.sweep
    if isinstance(sweep.configs, Search | Proposed):
        return {"seeds": seed_list(sweep.seeds), "steps": sweep.steps, "epochs": sweep.epochs}
    return {trial.id: trial.steps for trial in prepared.trials} | _explored(prepared)


def _explored(prepared: Prepared) -> dict[str, str]:
    """What the rule's copies change, within what: their values follow from it."""
    explored = prepared.explored
    return {} if explored is None else {f"explored {name}": str(explored.space[name]) for name in explored.names}


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


_WORDS = {
    "key": "root key",
    "judged": "configs, seeds or steps for its rule to judge (new configs come after those that are recorded)",
    "test": "test examples",
    "loader": "code of the loader of its batches",
}


def _values(key: str, before: object, now: object) -> str:
    return "" if key in ("judged", "data", "test", "key", "loader") else f" ({before!r}, now {now!r})"


def check_programs(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Raise IncompatibleSweepError where trials were trained by a program that computes something else now.

    Trials whose traces cannot be compared are passed over; see `warn_of_unchecked`.
    """
    for trial, group, comparable in _changed_programs(store, record, prepared):
        if comparable:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained by another task: "
                f"{_difference(group, trial, record)}. To keep both, {_OWN_NAME}; to resume the old one, restore what "
                f"changed; to begin again, jsweep drop {record.name} --store {store.path}."
            )


def warn_of_unchecked(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Warn where nobody can tell whether the task still computes what trials were trained by."""
    trials = store.trials(record.key) if prepared.untraceable else []
    lost = [t for t in trials if t.id in prepared.untraceable and t.program is not None and t.reason is None]
    unchecked = [trial for trial, _, comparable in _changed_programs(store, record, prepared) if not comparable]
    for found, why in (
        (lost, lambda: f"cannot be traced now ({prepared.untraceable[lost[0].id]})"),
        (unchecked, lambda: f"were trained under another environment ({_environments(store, unchecked[0])})"),
    ):
        if found:
            warnings.warn(
                f"{len(found)} trials of {record.name!r} {why()}, so whether the task still computes what they did cannot be "
                "told: their scores are those of the record.",
                stacklevel=3,
            )


def _environments(store: Store, trial: Trial) -> str:
    before, now = store.environments().get(trial.environment or 0, {}), describe_environment()
    return ", ".join(f"{n} {before.get(n)}, now {now[n]}" for n in (*TRACED_BY, "python") if before.get(n) != now[n])


def _changed_programs(store: Store, record: SweepRecord, prepared: Prepared) -> Iterator[tuple[Trial, Group, bool]]:
    """The recorded trials whose program is another now, and whether the two can be compared.

    Another version of JAX may trace the same function to other operations, and another Python has other bytecode.
    """
    if len(prepared.groups) == 1 and store.programs(record.key) <= {prepared.groups[0].identity.digest}:
        return
    now, known = describe_environment(), store.environments()
    groups = {trial.id: group for group in prepared.groups for trial in group.trials}
    digests = {
        trial.id: digest for group in prepared.groups for digest in [group.identity.digest] for trial in group.trials
    }
    changed = {
        trial
        for trial, program in store.program_of(record.key).items()
        if trial in groups and program != digests[trial]
    }
    for trial in store.trials(record.key) if changed else ():
        if trial.id not in changed:
            continue
        group, before = groups[trial.id], known.get(trial.environment or 0)
        names = (*TRACED_BY, *(("python",) if group.traced.calls_host else ()))
        yield trial, group, before is not None and not environment_changes(before, now, names)


def _difference(group: Group, trial: Trial, record: SweepRecord) -> str:
    before = record.settings.get("programs", {}).get(trial.program)
    try:
        parts = [FunctionIdentity(str(digest), tuple(map(str, marks))) for digest, marks in before]
        found = group.identity.difference(ProgramIdentity(*parts))
    except (TypeError, ValueError):
        found = None
    return f"what it computes has changed in {found}" if found else "what it computes has changed"


def _merged(known: JsonObject, prepared: Prepared) -> JsonObject:
    """Settings with what was decided about names, values and programs that they did not have; what they have stays."""
    now = _settings(prepared)
    types = dict(known.get("lane_types", {}))
    buckets = dict(known.get("buckets", {}))
    return {
        **known,
        "objective": now["objective"],
        "objectives": now["objectives"],
        "metrics": _union(known.get("metrics", []), now["metrics"]),
        "modes": {**known.get("modes", {}), **now["modes"]},
        "roles": {**now["roles"], **known.get("roles", {})},
        "lane_types": {n: _union(types.get(n, []), mine) for n, mine in {**types, **now["lane_types"]}.items()},
        "buckets": {n: _by_value(pairs, buckets.get(n, [])) for n, pairs in {**buckets, **now["buckets"]}.items()},
        "programs": {**known.get("programs", {}), **now["programs"]},
        **(
            {"judged_parts": max(known["judged_parts"], now["judged_parts"], key=len)}
            if "judged_parts" in known
            else {}
        ),
    }


def _by_value(now: Sequence[Sequence[int]], known: Sequence[Sequence[int]]) -> list[list[int]]:
    """(value, size) pairs in order, of which those known stay."""
    return sorted([value, size] for value, size in {pair[0]: pair[1] for pair in (*now, *known)}.items())


def _union(before: Sequence[str], now: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*before, *now)))


def _settings(prepared: Prepared) -> dict[str, Any]:
    objective = prepared.objective
    roles = prepared.roles.values()
    return {
        "metrics": prepared.metrics,
        "objective": None if objective is None else {"metric": objective.metric, "mode": objective.mode},
        "objectives": [[each.metric, each.mode] for each in prepared.sweep.objectives],
        "modes": dict(prepared.sweep.task.modes),
        "roles": {role.name: [str(role.kind), role.reason] for role in roles},
        "lane_types": {r.name: _union([], [kind_of_lane(lane) for lane in r.types]) for r in roles if r.types},
        "buckets": {r.name: sorted(map(list, r.buckets.items())) for r in roles if r.buckets is not None},
        "programs": {group.identity.digest: _programs(group.identity) for group in prepared.groups},
        **describe_search(prepared),
        **({"judged_parts": [list(part) for part in parts]} if (parts := parts_of(prepared)) else {}),
        **_folds(prepared.sweep.task.data.folds),
    }


def _folds(folds: Folds | None) -> dict[str, float]:
    """What statistics need to know of folds: the ratio of validation to training examples."""
    if folds is None:
        return {}
    ratios = [len(held) / len(rest) for held, rest in zip(folds.validation, folds.training, strict=True)]
    return {"folds": folds.count, "fold_overlap": sum(ratios) / len(ratios)}


def _programs(identity: ProgramIdentity) -> list[list[Any]]:
    return [[part.digest, list(part.marks)] for part in (identity.init, identity.step, identity.evaluate)]


def check_environment(store: Store, record: SweepRecord) -> None:
    """Raise IncompatibleSweepError where trials of the sweep were trained under other versions or on another device."""
    now = describe_environment()
    known = store.environments()
    for number in store.environments_of(record.key) & known.keys():
        changed = environment_changes(known[number], now)
        if changed:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained elsewhere ({changed}), so new trials would not be "
                "comparable bit for bit: restore that environment; or resume here on record with any_environment=True "
                f"(--any-environment); or {_OWN_NAME}."
            )


def environment_changes(before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str] = DECISIVE) -> str:
    """In what two environments differ that results depend on, in words; empty where they agree."""
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


def reads_length(prepared: Prepared) -> frozenset[str]:
    """The trials whose task reads ``config["steps"]``, so that those of another length are other trials from the start."""
    groups = (group for group in prepared.groups if "steps" in group.traced.reads)
    return frozenset(trial.id for group in groups for trial in group.trials)


def check_lengths(store: Store, record: SweepRecord, prepared: Prepared) -> None:
    """Raise IncompatibleSweepError where finished trials cannot be given the length that is asked for."""
    states, fixed = store.states(record.key), reads_length(prepared)
    for trial in prepared.trials:
        state = states.get(trial.id)
        if state is None or state.own.status not in ENDED or state.own.steps == trial.steps:
            continue
        steps = state.own.steps
        if trial.steps < steps:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} has trial {trial.id} at {steps} steps, and {trial.steps} "
                f"are asked for: ask for as many or more, or {_OWN_NAME}."
            )
        if trial.id in fixed:
            raise IncompatibleSweepError(
                f"the sweep {record.name!r} in {store.path} was trained for {steps} steps and its task reads "
                f"config['steps'], so {trial.steps} steps make other trials from the first step on: {_OWN_NAME}."
            )
