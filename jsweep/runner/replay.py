"""Replay: train a recorded trial again and say whether it is bit-equal, or where it first differs."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

from jsweep._runtime.environment import describe_environment
from jsweep.engine.placement import workers_of
from jsweep.engine.retrain import retrain, tiles_to_retrain
from jsweep.errors import ConfigError
from jsweep.runner.descent import followed, followed_curves
from jsweep.runner.recorded import compared, evaluated, is_same
from jsweep.runner.run import attach
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.storage.integrity import Verified, sample
from jsweep.storage.records import Score, Status
from jsweep.storage.standing import ENDED

BatchWith = Literal["neighbours", "copies", "none"]
"""What fills a replayed trial's tile: its neighbours, copies of itself, or nothing (a program that is not vmapped)."""


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        trial: the trial's id.
        width: lanes of the tile that it was replayed in.
        compared: how many scores were compared.
        difference: the first that differs, as (metric, step, recorded, now); None where all are bit-equal.
        furthest: the largest distance between a recorded score and its replay.
        environment: what is not as recorded, by name, as (recorded, now).
    """

    trial: str
    width: int
    compared: int
    difference: tuple[str, int, float, float] | None
    furthest: float
    environment: Mapping[str, tuple[object, object]]

    def __str__(self) -> str:
        where = f"in tiles of {self.width}" if self.width > 1 else "in a program of its own"
        if self.difference is None:
            found = f"trial {self.trial}: bit-equal in {self.compared} scores, {where}"
        else:
            metric, step, before, now = self.difference
            found = (
                f"trial {self.trial}, {where}: {metric} at step {step} was {before!r} and is {now!r} now; over "
                f"{self.compared} scores the largest difference is {self.furthest:.3g}"
            )
        changed = [f"{name} was {before} and is {now}" for name, (before, now) in self.environment.items()]
        return "; ".join([found, *changed])


def replay(sweep: Sweep | Session, trial: str, *, batch_with: BatchWith = "neighbours") -> Replay:
    """Train a recorded trial again from its seed and compare every score with the record.

    Args:
        sweep: the sweep, with the store and name that it was run with, or its session, which may be kept in memory.
        trial: the trial's id, or the beginning of it.
        batch_with: "neighbours" trains it in its recorded tile width among its neighbours, "copies" among copies of itself;
            neither may change a bit on CPU. "none" trains it in a program that is not vmapped, which may round otherwise.

    Returns:
        What was found.

    Raises:
        ConfigError: for a trial that is not recorded whole.
    """
    if batch_with not in get_args(BatchWith):
        allowed = ", ".join(map(repr, get_args(BatchWith)))
        raise ConfigError(f"batch_with={batch_with!r} is not valid: pass one of {allowed}.")
    with nullcontext(sweep) if isinstance(sweep, Session) else attach(sweep) as result:
        row = result.trial(trial)
        if row.status not in ENDED or row.width is None:
            raise ConfigError(f"trial {row.id} is {row.status}, so its record is not complete: run the sweep first.")
        width = 1 if batch_with == "none" else row.width
        return replay_many(result, [row.id], width, batch_with == "neighbours")[0]


def replay_many(
    session: Session, trials: Sequence[str], width: int | None = None, neighbours: bool = True
) -> list[Replay]:
    """Replay finished trials, each compile group's program compiled once.

    Args:
        session: an attached sweep.
        trials: ids.
        width: lanes of the tiles; None is each trial's recorded width.
        neighbours: whether tiles are filled as in the whole sweep; else with copies of each trial.
    """
    rows = {row.id: row for row in session.trials()}
    steps = {row.id: row.done for row in rows.values() if row.status == Status.STOPPED}
    recorded, lineage = followed_curves(session, [rows[trial] for trial in trials], {}), session.lineage()
    known, now = session.environments(), describe_environment()
    found: dict[str, Replay] = {}
    setting, groups = session.prepared.setting, session.prepared.groups
    widths = {trial: width or rows[trial].width or 1 for trial in trials}
    for tiles in tiles_to_retrain(setting, groups, widths, neighbours):
        share = followed(lineage, session.prepared.trials, tiles, steps)
        scores, _ = retrain(setting, share, workers_of(setting.task)[0], steps=steps, evaluated=evaluated(recorded))
        wide = share.tiles[0].width
        for trial in (t for t in trials if t in scores and widths[t] == wide):
            before = known.get(rows[trial].environment or 0, {})
            other = {name: (before.get(name), now[name]) for name in now if before.get(name) != now[name]}
            found[trial] = Replay(trial, wide, *_compare(recorded[trial], scores[trial]), other)
    return [found[trial] for trial in trials]


def verify_against(found: Verified, sweep: Sweep, count: int) -> Verified:
    """Add to ``found`` whether every trial of ``sweep`` is recorded, and what replaying ``count`` of them shows."""
    with attach(sweep) as result:
        rows = result.trials()
        replayed = replay_many(result, sample([row.id for row in rows if row.status in ENDED and row.done], count))
    faults = [
        f"trial {trial} is asked for and not recorded" for trial in sorted(result.trial_ids - {r.id for r in rows})
    ]
    faults += [f"trial {row.id} is {row.status}" for row in rows if row.status not in ENDED]
    faults += [str(one) for one in replayed if one.difference is not None]
    return dataclasses.replace(found, replayed=len(replayed), faults=(*found.faults, *faults))


def _compare(
    recorded: Mapping[str, Sequence[tuple[int, float]]], scores: Mapping[int, Score]
) -> tuple[int, tuple[str, int, float, float] | None, float]:
    """How many scores were compared, the first that differs, and the largest difference."""
    found = list(compared(recorded, scores))
    differing = [each for each in found if not is_same(*each[2:])]
    furthest = max((abs(now - before) for _, _, before, now in differing), default=0.0)
    return len(found), min(differing, key=lambda d: d[1], default=None), furthest
