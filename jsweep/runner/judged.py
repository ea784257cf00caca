"""What a rule judges together: the configs that a sweep was begun with, and those that were added since, by themselves.

So what a rule has decided stays as it is: nothing that ended is judged again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from jsweep.data.splits import epoch_examples
from jsweep.errors import IncompatibleSweepError
from jsweep.planning.trials import make_trials
from jsweep.runner.prepare import Prepared
from jsweep.runner.sweep import Sweep
from jsweep.search.model_based import Search
from jsweep.search.rules._rule import as_rule
from jsweep.space import Configs, config_id
from jsweep.space import configs as checked
from jsweep.storage import SweepRecord, Trial


@dataclass(frozen=True, eq=False, repr=False)
class Judged(Configs):
    """Configs that a rule judges by themselves, beside those of ``earlier`` ids, which have ended.

    Attributes:
        earlier: the ids of the configs beside which they are judged; none where each part is judged alone.
        parts: of a sweep of fixed configs what the record has, or is to have, of its parts up to this one: the number of
            configs of each, and a hash of their trials and lengths.
    """

    earlier: frozenset[str] = frozenset()
    parts: tuple[tuple[int, str], ...] = ()


def judged_before(configs: object) -> frozenset[str]:
    """The ids of the configs beside which a rule judges these."""
    return configs.earlier if isinstance(configs, Judged) else frozenset()


def hash_of(trials: Iterable[Trial]) -> str:
    """A hash of trials and their lengths, in whatever order."""
    return config_id({trial.id: trial.steps for trial in trials})


def parts_of(prepared: Prepared) -> tuple[tuple[int, str], ...]:
    """What is to be recorded of the parts of a sweep under a rule; nothing of a search, which has batches."""
    configs = prepared.sweep.configs
    if prepared.rule is None or isinstance(configs, Search):
        return ()
    if isinstance(configs, Judged):
        return configs.parts
    return ((len({trial.config_id for trial in prepared.trials}), hash_of(prepared.trials)),)


def recorded_parts(record: SweepRecord) -> tuple[tuple[int, str], ...]:
    """What the record has of a sweep's parts; nothing of one without a rule, or of a search."""
    return tuple((count, judged) for count, judged in record.settings.get("judged_parts", ()))


def as_judged(sweep: Sweep, record: SweepRecord | None) -> Iterator[Sweep]:
    """A sweep of fixed configs as sweeps that are judged one after another: the one itself unless configs were added.

    Raises:
        IncompatibleSweepError: where configs are added and the rule cannot judge them by themselves.
    """
    known = () if record is None else recorded_parts(record)
    if sweep.rule is None or isinstance(sweep.configs, Search | Judged) or not known:
        yield sweep
        return
    configs, examples = checked(sweep.configs), epoch_examples(sweep.task.data)
    trials = make_trials(sweep.task, configs, sweep.seeds, sweep.steps, sweep.epochs, examples)
    parts = _cut(trials, known)
    if parts is None or len(parts) == 1:  # what differs is said where the record is compared
        yield sweep
        return
    rule = as_rule(sweep.rule)
    if rule.copying is not None:
        raise IncompatibleSweepError(
            f"the sweep {sweep.record_name!r} cannot take more configs under {rule.name}, as configs that begin together copy "
            "one another: give them to a sweep of another name."
        )
    begin = 0
    for number, (count, _) in enumerate(parts):
        beside = frozenset(() if rule.by_batch else configs.ids[:begin])
        part = Judged(configs.rows[begin : begin + count], configs.spaces, beside, parts[: number + 1])
        begin += count
        yield replace(sweep, configs=part)


def goes_on(record: SweepRecord, prepared: Prepared, trains: bool) -> bool:
    """Whether these configs are a part that the record has, or come next; where nothing is trained, parts together."""
    configs, known = prepared.sweep.configs, recorded_parts(record)
    if isinstance(configs, Judged):
        shared = min(len(known), len(configs.parts))
        return 0 < len(configs.parts) <= len(known) + 1 and configs.parts[:shared] == known[:shared]
    parts = None if trains else _cut(prepared.trials, known)
    return bool(parts) and parts == known[: len(parts)]


def _cut(trials: Sequence[Trial], known: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...] | None:
    """Trials, config by config, cut into the parts that the record has and a last one of what is new.

    None where they are others; those of the first parts alone may be there.
    """
    by_config: dict[str, list[Trial]] = {}
    for trial in trials:
        by_config.setdefault(trial.config_id, []).append(trial)
    found: list[tuple[int, str]] = []
    left = list(by_config.values())
    for count, judged in known:
        if left and hash_of(chain(*left[:count])) != judged:
            return None
        found += [(count, judged)] if left else []
        left = left[count:]
    if left:
        found.append((len(left), hash_of(chain(*left))))
    return tuple(found)
