"""Trials that were copied, followed back: what they trained with, in whose lanes, and the scores of that."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jsweep.engine.executors.threads import Work
from jsweep.planning import Tile
from jsweep.planning.groups import Lived
from jsweep.results.lineage import Lineage, Stretch
from jsweep.results.result import Result
from jsweep.storage.records import Trial

Members = Mapping[str, Mapping[int, Trial]]
"""Trials by their config's id and their seed."""

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""Recorded scores: trial -> metric -> (step, value) pairs."""


def members_of(trials: Iterable[Trial]) -> dict[str, dict[int, Trial]]:
    """Trials by their config's id and their seed."""
    found: dict[str, dict[int, Trial]] = {}
    for trial in trials:
        found.setdefault(trial.config_id, {})[trial.seed] = trial
    return found


def trained(lineage: Lineage, trial: Trial, step: int) -> Trial:
    """A trial with what it trains with on its way to ``step``."""
    return replace(trial, config=lineage.trained(trial.config_id, step))


def past_of(lineage: Lineage, members: Members, trial: Trial, step: int) -> tuple[Lived, ...]:
    """The trials in whose lanes the state of a trial on its way to ``step`` was before it was copied."""
    return tuple(
        Lived(stretch.end, replace(members[stretch.config_id][trial.seed], config=stretch.config))
        for stretch in lineage.path(trial.config_id, step)[:-1]
    )


def followed(lineage: Lineage, trials: Sequence[Trial], share: Work, steps: Mapping[str, int]) -> Work:
    """A share of recorded trials to train again that follows them back through the copies.

    Args:
        lineage: the sweep's.
        trials: all its planned trials.
        share: the tiles, of trials as they began.
        steps: the step up to which each trial is wanted; its end where it is not named.
    """
    if not lineage.copies:
        return share
    members = members_of(trials)

    def follow(tile: Tile) -> Tile:
        ends = {trial.id: steps.get(trial.id, trial.steps) for trial in tile.trials}
        past = {trial.id: past_of(lineage, members, trial, ends[trial.id]) for trial in tile.trials}
        return replace(tile, trials=tuple(trained(lineage, t, ends[t.id]) for t in tile.trials), past=past)

    return replace(share, tiles=tuple(map(follow, share.tiles)))


def followed_curves(result: Result, trials: Sequence[Trial], steps: Mapping[str, int]) -> Curves:
    """The recorded scores of what led to the states of trials: before a copy those of the trial that was copied.

    Args:
        result: the sweep.
        trials: recorded trials.
        steps: the step up to which each is wanted; its last one where it is not named.
    """
    lineage, own = result.lineage(), result.recorded(trials)
    if not lineage.copies:
        return own
    members = members_of(result.sweep_trials())
    paths = {trial.id: lineage.path(trial.config_id, steps.get(trial.id, trial.done)) for trial in trials}
    lived = {trial.id: [members[stretch.config_id][trial.seed] for stretch in paths[trial.id]] for trial in trials}
    curves = {**result.recorded(each for several in lived.values() for each in several), **own}
    return {
        trial: {
            metric: [
                pair
                for stretch, each in zip(path, lived[trial], strict=True)
                for pair in curves[each.id].get(metric, [])
                if _is_of(stretch, pair[0], stretch is path[-1])
            ]
            for metric in own[trial]
        }
        for trial, path in paths.items()
    }


def _is_of(stretch: Stretch, step: int, last: bool) -> bool:
    """Whether a score belongs to a stretch; the last one of a path has no end, as what follows is looked at, too."""
    return stretch.begin < step and (last or step <= stretch.end)
