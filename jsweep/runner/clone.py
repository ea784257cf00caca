"""Adding a config to a recorded sweep: a copy of one of its configs with some values changed."""

from collections.abc import Mapping
from dataclasses import replace

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.runner.clones import added_to, changed, with_clones
from jsweep.runner.compatibility import check_same
from jsweep.runner.prepare import prepare
from jsweep.runner.sweep import Sweep
from jsweep.search.model_based import Search
from jsweep.space import configs as checked
from jsweep.storage import Store, SweepRecord, open_store
from jsweep.storage.paths import resolve


def clone(sweep: Sweep, start: str, values: Mapping[str, Value]) -> str:
    """Add a config to a recorded sweep: one that it has, with some values changed.

    Processes that train the sweep now take it up after their current segments; else the next `run` or `resume` trains it. It
    has the sweep's seeds, and stays a config of the sweep, although the file does not list it.

    Args:
        sweep: the sweep, with the store and name that it was run with; it has neither a rule nor a search.
        start: the id of one of its configs or trials, or the beginning of it.
        values: the values that change, by name.

    Returns:
        The id of the new config.

    Raises:
        ConfigError: where the store has no such sweep or config, or the space or the task does not allow the values.
        IncompatibleSweepError: where the store has another sweep of that name.
    """
    name = sweep.record_name
    if sweep.rule is not None or isinstance(sweep.configs, Search):
        kept = f"rule={getattr(sweep.rule, 'name', sweep.rule)}" if sweep.rule is not None else "its search"
        raise ConfigError(
            f"the sweep {name!r} cannot take a clone, as {kept} decides by all of its configs: give the config to a sweep of "
            "another name."
        )
    if resolve(sweep.store) is None:
        raise ConfigError(f"the sweep {name!r} is kept in memory: pass store='sweeps.db' to be able to add to it.")
    with open_store(sweep.store) as store:
        record = store.sweep(name)
        if record is None:
            raise ConfigError(f"{store.path} has no sweep {name!r} to add to: start it with run (jsweep run FILE).")
        configs = with_clones(checked(sweep.configs), record)
        made = changed(configs, _found(store, record, start, configs.ids), values)
        added = [[made.source, dict(made.values)]]
        known = record.settings.get("clones", [])
        prepared = prepare(sweep, replace(record, settings={**record.settings, "clones": [*known, *added]}))
        check_same(store, record, prepared)
        new = added_to(configs, made).ids[-1]
        broken = [
            prepared.untraceable[t.id] for t in prepared.trials if t.config_id == new and t.id in prepared.untraceable
        ]
        if broken:
            raise ConfigError(
                f"the task cannot train this config ({type(broken[0]).__name__}: {broken[0]}): pass other values."
            )
        store.add_clone(record.key, made.source, made.values)
        store.add_trials(record.key, [trial for trial in prepared.trials if trial.config_id == new])
    return new


def _found(store: Store, record: SweepRecord, start: str, ids: tuple[str, ...]) -> str:
    """The config that is meant by the beginning of its id, or of that of one of its trials."""
    found = {identity for identity in ids if start and identity.startswith(start)}
    found |= {trial.config_id for trial in store.trials(record.key) if start and trial.id.startswith(start)}
    if len(found) != 1 or not found <= set(ids):
        raise ConfigError(
            f"{start!r} matches {len(found & set(ids))} configs of {record.name!r}: pass more of the id of a config or a trial, "
            f"as in jsweep show {record.name} --json."
        )
    return found.pop()
