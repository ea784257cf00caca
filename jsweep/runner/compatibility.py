"""Whether a sweep in the record is the one that is to go on: same task, data, settings and versions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jsweep._runtime.environment import describe_environment
from jsweep.errors import IncompatibleSweepError
from jsweep.planning import RecordedRoles
from jsweep.planning.identity import code_hash
from jsweep.runner.prepare import Prepared, as_recorded
from jsweep.storage import Store, SweepRecord
from jsweep.storage.records import Trial

# What of the environment results depend on; the rest (Python, number of cores) is recorded for the reader.
DECISIVE = ("jsweep", "jax", "jaxlib", "optax", "numpy", "platform", "device", "processor", "reductions_flag", "x64")
DECISIVE += ("matmul_precision",)


def open_sweep(store: Store, prepared: Prepared) -> tuple[SweepRecord, Prepared]:
    """The sweep's row, new or found, and the sweep with what the record decides; IncompatibleSweepError for another one."""
    sweep, task = prepared.sweep, prepared.sweep.task
    name = sweep.name or task.name or "sweep"
    old = store.sweep(name)
    if old is not None and sweep.evaluate_every is None:  # the record's, which a longer sweep must not shift
        every = old.identity.get("evaluate_every", prepared.setting.evaluate_every)
        prepared = dataclasses.replace(prepared, setting=dataclasses.replace(prepared.setting, evaluate_every=every))
    identity = {
        "task": task.name or "task",
        "code": code_hash(task.init, task.step, task.evaluate),
        "data": prepared.data_hash,
        "key": [int(word) for word in prepared.setting.root],
        "pairing": sweep.pairing,
        "share_batches": sweep.share_batches,
        "evaluate_every": prepared.setting.evaluate_every,
        "batch_size": task.batch_size,
    }
    if old is None:
        old = store.add_sweep(name, task.name or "task", identity, _settings(prepared))
    changed = [key for key in identity if old.identity.get(key) != identity[key]]
    if changed:
        shown = ", ".join(
            f"{_WORDS.get(key, key)}{_values(key, old.identity.get(key), identity[key])}" for key in changed
        )
        raise IncompatibleSweepError(
            f"the sweep {name!r} in {store.path} was made with other {shown}: to keep both, give this one a name of its "
            f"own (name=..., --name); to go on with the old one, restore what changed; to begin anew, jsweep drop {name}."
        )
    return old, as_recorded(prepared, _recorded(old))


def keep_settings(store: Store, row: SweepRecord, prepared: Prepared) -> None:
    """Record what was recorded about names and values that the sweep did not have before."""
    known, now = _recorded(row), _settings(prepared)
    tiers = {name: {**known.tiers.get(name, {}), **mine} for name, mine in prepared.recorded.tiers.items()}
    settings = {
        **row.settings,
        "roles": {**now["roles"], **row.settings.get("roles", {})},
        "tiers": {**row.settings.get("tiers", {}), **{name: _pairs(mine) for name, mine in tiers.items()}},
    }
    if settings != row.settings:
        store.set_settings(row.key, settings)


def _settings(prepared: Prepared) -> dict[str, Any]:
    return {
        "metrics": prepared.metrics,
        "higher_is_better": sorted(name for name, mode in prepared.sweep.task.modes.items() if mode == "max"),
        "roles": {role.name: [role.kind, role.reason] for role in prepared.roles.values()},
        "tiers": {name: _pairs(tiers) for name, tiers in prepared.recorded.tiers.items()},
    }


def _pairs(tiers: Mapping[int, int]) -> list[list[int]]:
    return [[value, tiers[value]] for value in sorted(tiers)]


def _recorded(row: SweepRecord) -> RecordedRoles:
    try:
        tiers = {
            name: {int(value): int(tier) for value, tier in pairs} for name, pairs in row.settings["tiers"].items()
        }
        return RecordedRoles(tiers, {name: str(role[0]) for name, role in row.settings["roles"].items()})
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise IncompatibleSweepError(
            f"the record's settings of the sweep {row.name!r} are damaged ({type(error).__name__}: {error}): "
            "give this sweep a name of its own (name=..., --name)."
        ) from error


_WORDS = {"code": "code of the task", "key": "root key"}


def _values(key: str, before: Any, now: Any) -> str:
    return "" if key in ("code", "data", "key") else f" ({before!r}, now {now!r})"


def check_environment(store: Store, row: SweepRecord) -> None:
    """Raise IncompatibleSweepError where trials of the sweep were trained under other versions or on another device."""
    now = describe_environment()
    known = store.environments()
    used = {trial.environment for trial in store.trials(row.key) if trial.done and trial.environment in known}
    for number in used:
        assert number is not None
        before = known[number]
        changed = [key for key in DECISIVE if before.get(key) != now[key]]
        if changed:
            shown = ", ".join(f"{key} {before.get(key)}, now {now[key]}" for key in changed)
            raise IncompatibleSweepError(
                f"the sweep {row.name!r} in {store.path} was trained elsewhere ({shown}), so new trials would not compare "
                "to the bit: restore that environment; or go on here on record with any_environment=True "
                "(--any-environment); or give this sweep a name of its own (name=..., --name)."
            )


def extensions(store: Store, row: SweepRecord, prepared: Prepared) -> dict[str, int]:
    """The recorded trials that are to train longer than they were, with their steps.

    Raises IncompatibleSweepError where fewer steps are asked for, and where the task reads ``config["steps"]``, so that a longer
    trial would have gone another way from its start.
    """
    wanted = {trial.id: trial for trial in prepared.trials}
    longer: dict[str, int] = {}
    for known in store.trials(row.key):
        trial = wanted.get(known.id)
        if trial is None or trial.steps == known.steps:
            continue
        if trial.steps < known.steps:
            raise IncompatibleSweepError(
                f"the sweep {row.name!r} in {store.path} has trial {known.id} at {known.steps} steps, and {trial.steps} are "
                "asked for: ask for as many or more, or give this sweep a name of its own (name=..., --name)."
            )
        if known.done and _reads_steps(prepared, trial):
            raise IncompatibleSweepError(
                f"the sweep {row.name!r} in {store.path} was trained for {known.steps} steps and its task reads "
                f"config['steps'], so {trial.steps} steps make other trials from the first step on: give this sweep a name "
                "of its own (name=..., --name)."
            )
        longer[known.id] = trial.steps
    return longer


def _reads_steps(prepared: Prepared, trial: Trial) -> bool:
    return any("steps" in group.traced.reads for group in prepared.groups if trial in group.trials)
