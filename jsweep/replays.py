"""Replay: train a recorded trial again and say whether it is bit-equal, or where it first differs."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.engine.feed import streams, window_rows
from jsweep.engine.replay import replay_trials
from jsweep.engine.run import Work, default_workers
from jsweep.environment import describe_environment
from jsweep.errors import UserError
from jsweep.keeper import restore
from jsweep.planning import Tile
from jsweep.records import Verified, sample
from jsweep.results import Result
from jsweep.running import attach
from jsweep.store import TrialRow
from jsweep.store.checkpoints import folder_of, read_checkpoint, to_bytes, write_whole
from jsweep.sweeps import Prepared, Sweep
from jsweep.task import Config


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    ``compared`` scores, of which ``difference`` is the first that differs (metric, step, recorded, now), None where all
    are bit-equal; ``furthest`` is the largest distance between a recorded score and its replay. ``environment`` has what
    is other than recorded: name -> (recorded, now).
    """

    trial: str
    width: int
    compared: int
    difference: tuple[str, int, float, float] | None
    furthest: float
    environment: Mapping[str, tuple[Any, Any]]

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


def replay(sweep: Sweep, trial: str, company: Literal["neighbours", "copies", "none"] = "neighbours") -> Replay:
    """Train a recorded trial again from its seed and compare every score with the record.

    ``trial`` is its id, or the beginning of it. It trains in the tile width it was recorded with, in the company of
    "neighbours" of its compile group or of "copies" of itself, neither of which may change a bit on CPU; or, with
    "none", in a program of its own that is not vmapped, which may round otherwise. Raises UserError for a trial that is
    not recorded whole.
    """
    if company not in ("neighbours", "copies", "none"):
        raise UserError(f"company={company!r} is none of 'neighbours', 'copies' and 'none': give one of them.")
    result = attach(sweep)
    row = find_trial(result, trial)
    if row.status != "finished" or row.width is None:
        raise UserError(f"trial {row.id} is {row.status}, so there is nothing whole to compare: run the sweep first.")
    width = 1 if company == "none" else row.width
    return replay_many(result, [row.id], width, company == "neighbours")[0]


def replay_many(
    result: Result, trials: Sequence[str], width: int | None = None, neighbours: bool = True
) -> list[Replay]:
    """Replay finished trials of an attached result, each compile group's program compiled once.

    ``width`` None is each trial's recorded one. Without ``neighbours`` each trains among copies of itself.
    """
    rows = {row.id: row for row in result.trials()}
    curves = {metric: result.curves(metric) for metric in result.metrics()}
    known, now = result.environments(), describe_environment()
    found: dict[str, Replay] = {}
    for share in _shares(result.prepared, [rows[trial] for trial in trials], width, neighbours):
        scores, _ = replay_trials(result.prepared, share, default_workers()[0])
        wide = share.tiles[0].width
        for trial in (t for t in trials if t in scores and (width or rows[t].width) == wide):
            before = known.get(rows[trial].environment or 0, {})
            other = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]}
            compared = _compare({metric: curve[trial] for metric, curve in curves.items()}, scores[trial])
            found[trial] = Replay(trial, wide, *compared, other)
    return [found[trial] for trial in trials]


def state_of(result: Result, trial: str) -> Any:
    """A finished trial's state at its end, from its checkpoint or, where none was kept, trained again."""
    row = find_trial(result, trial)
    if row.status != "finished":
        raise UserError(f"trial {row.id} is {row.status}: its parameters are there when it has finished.")
    saved = result.saved(row.id)
    if saved is not None and saved.step == row.steps:
        found = read_checkpoint(folder_of(result.path), saved.file, saved.sha256)
        group = next(group for group in result.prepared.groups if any(t.id == row.id for t in group.trials))
        if found is not None:
            lanes = {name: value[None] for name, value in found[0].items()}
            state = restore(group.traced.state, lanes)
            if state is not None:
                return _at_own_width(result, row, jax.tree.map(lambda a: jnp.asarray(a[0]), state))
        warnings.warn(f"the checkpoint {saved.file} is missing or damaged: the trial is trained again.", stacklevel=4)
    share = _shares(result.prepared, [row], None, False)[0]
    return _at_own_width(result, row, replay_trials(result.prepared, share, default_workers()[0])[1][row.id])


def _at_own_width(result: Result, row: TrialRow, state: Any) -> Any:
    """A state without the masked units of widths that were padded: of every array the first, which are the real ones."""
    prepared = result.prepared
    group = next(group for group in prepared.groups if any(trial.id == row.id for trial in group.trials))
    if not any(lane.most for lane in group.lanes.values()):
        return state
    trial = next(trial for trial in group.trials if trial.id == row.id)
    config = Config({**trial.config, "steps": trial.steps})
    own = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, prepared.setting.task.init(config, jax.random.key(0))))
    return jax.tree.map(lambda shape, leaf: leaf[tuple(slice(n) for n in shape.shape)], own, state)


def write_params(result: Result, trial: str, out: str) -> list[list[str]]:
    """Write a finished trial's parameters to a safetensors file; name, shape and type of each array."""
    params = result.params(trial)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {_dotted(path): np.asarray(leaf) for path, leaf in leaves}
    try:
        write_whole(Path(out), to_bytes(arrays, {"trial": find_trial(result, trial).id}))
    except OSError as error:
        raise UserError(f"--out {out!r} cannot be written ({error.strerror}): give another path.") from error
    return [[name, str(array.shape), str(array.dtype)] for name, array in arrays.items()]


def _dotted(path: Any) -> str:
    """A path in a pytree as model files write it: ``layers.0.w``."""
    parts = (getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path)
    return ".".join(str(part) for part in parts) or "params"


def verify_against(found: Verified, sweep: Sweep, count: int) -> Verified:
    """Add to ``found`` whether every trial of ``sweep`` is recorded, and what replaying ``count`` of them shows."""
    result = attach(sweep)
    rows = result.trials()
    faults = [
        f"trial {trial} is asked for and not recorded" for trial in sorted(result.trial_ids - {r.id for r in rows})
    ]
    faults += [f"trial {row.id} is {row.status}" for row in rows if row.status != "finished"]
    replayed = replay_many(result, sample([row.id for row in rows if row.status == "finished"], count))
    faults += [str(one) for one in replayed if one.difference is not None]
    return dataclasses.replace(found, replayed=len(replayed), faults=(*found.faults, *faults))


def find_trial(result: Result, trial: str) -> TrialRow:
    """The trial whose id begins so; UserError unless there is exactly one."""
    matching = [row for row in result.trials() if row.id.startswith(trial)]
    if len(matching) != 1:
        raise UserError(
            f"{trial!r} fits {len(matching)} trials of {result.name!r}: give an id from jsweep show --json."
        )
    return matching[0]


def _shares(prepared: Prepared, rows: Sequence[TrialRow], width: int | None, neighbours: bool) -> list[Work]:
    """The tiles that hold ``rows``, group by group and width by width."""
    data, device = prepared.setting.task.data, default_workers()[0]
    shares = []
    for group in prepared.groups:
        members = {trial.id: trial for trial in group.trials}
        for wide in dict.fromkeys(width or row.width or 1 for row in rows if row.id in members):
            wanted = {row.id for row in rows if row.id in members and (width or row.width or 1) == wide}
            if neighbours:
                tiles = [tile for tile in group.tiles(wide) if any(trial.id in wanted for trial in tile.trials)]
            else:
                tiles = [Tile((members[trial],), wide) for trial in wanted]
            window = window_rows(group, tiles, data, prepared.sweep.pairing) if streams(data, device) else None
            shares.append(Work(group, tuple(tiles), window))
    return shares


def _compare(recorded: Mapping[str, Any], scores: Mapping[int, Any]) -> tuple[int, Any, float]:
    """How many scores were compared, the first that differs, and the largest difference."""
    compared, differing, furthest = 0, [], 0.0
    for metric, curve in recorded.items():
        for step, value in curve:
            again = scores[step].metrics[metric]
            compared += 1
            if again != value and not (np.isnan(again) and np.isnan(value)):
                differing.append((metric, step, value, again))
                furthest = max(furthest, abs(again - value))
    return compared, min(differing, key=lambda d: d[1], default=None), furthest
