"""A fixed share of a sweep's trials, for jobs that have a record of their own; `jsweep.merge` joins the records."""

import re
from dataclasses import dataclass, replace

from jsweep.errors import ConfigError
from jsweep.runner.prepare import Prepared
from jsweep.search.model_based import Search

_TEXT = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` shares, from 1."""

    number: int
    count: int


def shard_of(shard: str | tuple[int, int] | None) -> Shard | None:
    """A shard as `jsweep.run` takes it: text such as "3/64", or a pair; ConfigError for anything else."""
    if shard is None:
        return None
    found = _TEXT.fullmatch(shard) if isinstance(shard, str) else None
    pair = found.groups() if found else shard
    try:
        number, count = (int(part) for part in pair)
    except (TypeError, ValueError):
        number, count = 0, 0
    if not 1 <= number <= count:
        raise ConfigError(
            f"shard={shard!r} is not valid: pass the share and how many there are, from '1/64' to '64/64'."
        )
    return Shard(number, count)


def share(prepared: Prepared, shard: Shard | None) -> Prepared:
    """A sweep with one share of its trials; all that is decided about the sweep stays that of the whole.

    Shares are consecutive trials of the compile groups, so that tiles are full and a share compiles few programs. They
    depend on the sweep alone.

    Raises:
        ConfigError: where the sweep has a rule or a search, which look at the scores of all trials.
    """
    if shard is None:
        return prepared
    for named, given in (("rule", prepared.sweep.rule), ("configs", prepared.sweep.configs)):
        if (named == "rule" and given is not None) or isinstance(given, Search):
            raise ConfigError(
                f"shard='{shard.number}/{shard.count}' does not go with {named}={given!r}, which looks at the scores of all "
                "trials: let the processes share one store in place of shards, or leave it out."
            )
    grouped = [trial.id for group in prepared.groups for trial in group.trials]
    order = [*grouped, *prepared.untraceable]
    first, end = ((place * len(order)) // shard.count for place in (shard.number - 1, shard.number))
    mine = set(order[first:end])
    groups = (replace(group, trials=tuple(t for t in group.trials if t.id in mine)) for group in prepared.groups)
    return replace(
        prepared,
        trials=tuple(trial for trial in prepared.trials if trial.id in mine),
        groups=tuple(group for group in groups if group.trials),
        untraceable={trial: error for trial, error in prepared.untraceable.items() if trial in mine},
    )
