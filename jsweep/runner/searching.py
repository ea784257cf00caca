"""A search at work on a sweep: its batches as sweeps of fixed configs, one after another, as the record has them."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jsweep._runtime.prng import key_data
from jsweep._runtime.types import Value
from jsweep.errors import ConfigError, IncompatibleSweepError, StoreError
from jsweep.planning.trials import resolved, seed_list, trial_id
from jsweep.results.objective import Objective
from jsweep.results.outcomes import outcomes
from jsweep.results.result import Result
from jsweep.runner.judged import Judged, as_judged
from jsweep.runner.prepare import Prepared
from jsweep.runner.sweep import Sweep
from jsweep.search._parameters import numbers_of
from jsweep.search._study import Proposer
from jsweep.search._where import Filter
from jsweep.search.model_based import Search
from jsweep.search.rules._rule import Rule
from jsweep.space import config_id
from jsweep.storage import Batch, Outcome, Store, SweepRecord


class Proposed(Judged):
    """Configs that a search has proposed."""


def parts(store: Store, sweep: Sweep, record: SweepRecord | None) -> Iterator[Sweep]:
    """A sweep as sweeps of fixed configs, each to be trained before the next is asked for.

    Of fixed configs there is one, or under a rule one for each time that configs were added. A search's are its batches:
    those of which the record has the outcomes, all together where no rule judges them batch by batch; then what was proposed
    and what is proposed now.

    Args:
        store: the open record.
        sweep: the sweep.
        record: what the store has of it; of a search there must be one.
    """
    if not isinstance(sweep.configs, Search) or record is None:
        yield from as_judged(sweep, record)
        return
    search, course = sweep.configs, _Course(store, sweep, record)
    batches = store.batches(record.key)
    proposer = None
    if sum(len(batch.configs) for batch in batches[1:]) < search.n:
        proposer = Proposer(search, course.modes, course.size)
    if not batches:
        store.add_batch(record.key, 0, course.start())
    elif ended := [batch for batch in batches[1:] if batch.told is not None]:
        yield from course.again(ended)
    while True:
        batches = store.batches(record.key)
        if not batches:
            raise StoreError(f"the sweep {record.name!r} was dropped from {store.path} while it was run: run it again.")
        if batches[-1].told is None:
            yield course.fixed(batches[-1:], batches[1:-1])
            store.tell_batch(record.key, len(batches) - 1, course.outcomes(batches[-1]))
            continue
        left = search.n - sum(len(batch.configs) for batch in batches[1:])
        if left <= 0 or proposer is None:
            return
        configs = proposer.propose(batches, min(left, course.size))
        store.add_batch(record.key, len(batches), Batch(configs))


def proposed(store: Store, sweep: Sweep, record: SweepRecord | None) -> Sweep:
    """A sweep with the configs that its search has proposed so far; one of fixed configs as it is."""
    if not isinstance(sweep.configs, Search):
        return sweep
    batches = [] if record is None else store.batches(record.key)
    if len(batches) < 2 or record is None:
        raise ConfigError(f"the search of the sweep {sweep.record_name!r} has not proposed anything yet: run it first.")
    check_search(record, sweep)
    return replace(sweep, configs=_configs(sweep.configs, batches[1:]))


def expected(store: Store, sweep: Sweep, record: SweepRecord | None) -> Sweep:
    """A sweep with the configs proposed so far, and others drawn at random in place of those to come."""
    search = sweep.configs
    batches = store.batches(record.key)[1:] if isinstance(search, Search) and record is not None else []
    if not isinstance(search, Search) or not batches:
        return sweep
    known = _configs(search, batches)
    others = [config for config, identity in zip(search.drawn, search.drawn.ids) if identity not in known.ids]
    return replace(sweep, configs=known + others[: max(0, search.n - len(known))])


def describe_search(prepared: Prepared) -> dict[str, Any]:
    """What a record keeps of a sweep's search, from which its proposals follow; nothing for a sweep of fixed configs."""
    search = prepared.sweep.configs
    if not isinstance(search, Search):
        return {}
    objectives = prepared.sweep.objectives or ((prepared.objective,) if prepared.objective is not None else ())
    if not objectives:
        raise ConfigError(
            f"the search {search.kind} has no objective, as no validation loss is measured: pass objective=... to the sweep."
        )
    if len(objectives) > 1 and search.kind == "cma_es":
        raise ConfigError("cma_es takes one objective: pass one to the sweep, or search with js.nsga2 or js.tpe.")
    described = {
        "kind": search.kind,
        "key": list(key_data(search.key)),
        "batch": search.batch_for(len(seed_list(prepared.sweep.seeds))),
        "space": search.space.parts_to_json(),
        "constraints": sorted(search.space.constraints),
        "objectives": [[each.metric, each.mode] for each in objectives],
        "start_from": search.start_from is not None,
    }
    return {"search": described}


def check_search(record: SweepRecord, sweep: Sweep) -> None:
    """IncompatibleSweepError where the record's search is another than the sweep's, whose proposals would not follow."""
    search, known = sweep.configs, record.settings.get("search")
    assert isinstance(search, Search)
    now = {
        "kind": search.kind,
        "key": list(key_data(search.key)),
        "batch": known["batch"] if known and search.batch is None else search.batch,
        "space": search.space.parts_to_json(),
        "constraints": sorted(search.space.constraints),
        "start_from": search.start_from is not None,
    }
    if sweep.objectives:
        now["objectives"] = [[each.metric, each.mode] for each in sweep.objectives]
    changed = [name for name in now if known is not None and known.get(name) != now[name]]
    if known is None or changed:
        begun = "without a search" if known is None else f"by a search with other {', '.join(changed)}"
        raise IncompatibleSweepError(
            f"the sweep {record.name!r} was begun {begun}: restore what changed, or give this sweep a name of its own "
            "(name=..., --name)."
        )


def _configs(search: Search, batches: Sequence[Batch]) -> Proposed:
    return Proposed(tuple(config for batch in batches for config in batch.configs), (search.space,))


@dataclass(frozen=True)
class _Course:
    """A search and its record."""

    store: Store
    sweep: Sweep
    record: SweepRecord

    def __post_init__(self) -> None:
        check_search(self.record, self.sweep)

    @property
    def size(self) -> int:
        """The configs of a batch."""
        return int(self.record.settings["search"]["batch"])

    @property
    def rule(self) -> Rule | None:
        """What stops configs, if there is such a rule."""
        return self.sweep.rule if isinstance(self.sweep.rule, Rule) else None

    @property
    def objectives(self) -> list[Objective]:
        return [Objective(metric, mode) for metric, mode in self.record.settings["search"]["objectives"]]

    @property
    def modes(self) -> list[Any]:
        return [objective.mode for objective in self.objectives]

    def fixed(self, batches: Sequence[Batch], earlier: Sequence[Batch] = ()) -> Sweep:
        """The sweep of the configs of these batches, which come after the ``earlier``."""
        assert isinstance(self.sweep.configs, Search)
        beside = () if self.rule is None or self.rule.by_batch else _configs(self.sweep.configs, earlier).ids
        configs = _configs(self.sweep.configs, batches)
        return replace(self.sweep, configs=replace(configs, earlier=frozenset(beside)))

    def again(self, batches: Sequence[Batch]) -> Iterator[Sweep]:
        """Sweeps of all configs of these batches, which have ended: what was dropped since is trained as it was."""
        if self.rule is None:
            yield self.fixed(batches)
            return
        for number, batch in enumerate(batches):
            yield self.fixed([batch], batches[:number])

    def outcomes(self, batch: Batch) -> list[Outcome]:
        """What the search is told of a batch whose trials have ended."""
        task, seeds = self.sweep.task.name or "task", seed_list(self.sweep.seeds)
        ids = [config_id(config) for config in batch.configs]
        mine = frozenset(trial_id(task, identity, seed) for identity in ids for seed in seeds)
        found = outcomes(Result(self.store, self.record.name, mine), self.objectives)
        return [found[identity] for identity in ids]

    def start(self) -> Batch:
        """What the search is told before its first proposal: the ended configs of the earlier sweep that are in its space."""
        search = self.sweep.configs
        assert isinstance(search, Search)
        earlier = search.start_from
        if not isinstance(earlier, Result):
            return Batch([], [])
        kept, told = Filter(search.space), outcomes(earlier, self.objectives)
        scores = [score for score in earlier.ranking(self.objectives[0]) if not score.copies]  # those had other configs
        configs = {score.config_id: _resolved(score.config) for score in scores}
        inside = [
            (config, told[identity])
            for identity, config in configs.items()
            if identity in told and numbers_of(search.space, config) is not None and kept.keeps(config)
        ]
        if not inside:
            raise ConfigError(
                f"start_from={earlier.name!r} has no ended config in the space of {search.kind}: leave it out, or search the "
                "space of that sweep."
            )
        if len(inside) < len(configs):
            warnings.warn(
                f"{len(configs) - len(inside)} of the {len(configs)} configs of {earlier.name!r} have not ended or are not in "
                "the space of the search, and are not told to it.",
                stacklevel=6,
            )
        return Batch([config for config, _ in inside], [outcome for _, outcome in inside])


def _resolved(config: Mapping[str, Value]) -> dict[str, Value]:
    return {name: resolved(value) for name, value in config.items()}
