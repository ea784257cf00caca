"""The sweep: a task and its trials, checked and analysed."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax

from jsweep.backend import configure
from jsweep.data import check_data, data_hash, epoch_examples
from jsweep.engine.tile import Setting
from jsweep.errors import UserError
from jsweep.keys import root_words
from jsweep.planning import Decided, Group, Role, Trial, make_groups, make_trials
from jsweep.space import Configs
from jsweep.task import Task, check_count


@dataclass(frozen=True)
class Sweep:
    """What is to be swept, and how; nothing runs until `run` (or the command ``jsweep run``) is given it.

    - ``configs``: from `grid`, `random` and their kin, or any sequence of dicts.
    - ``seeds``: a count (5 means seeds 0 to 4) or a list; every config is trained under every seed.
    - ``steps`` or ``epochs``: how long a trial trains where its config does not say.
    - ``evaluate_every``: steps between two evaluations (default: a tenth of the longest trial).
    - ``store``: the file of the record; None keeps it in memory.
    - ``name``: the sweep's name in the record (default: the task's).
    - ``key``: the root key, a JAX key or an int.
    - ``pairing``: "common" gives every config the same initialisation and data order under one seed, so that configs
      compare pairwise; "independent" gives each config its own.
    - ``share_batches``: True trains in tiles of one seed, whose lanes see the same batches, gathered once for all of
      them. It is faster for layers of fewer than 32 units and many configs a seed; it leaves places empty where there are few.
    - ``tile``: lanes trained together: a number, "measure" to time the candidates now, or "auto", which keeps what the
      record has for a program, or takes what was measured on this machine, or measures where that pays.
    - ``checkpoints``: "running" keeps the state of tiles at their last two segments, to go on from after a crash, until
      they end; "all" keeps the state of every finished trial too, for `Result.params` and for training it further;
      "off" keeps none. They lie in the folder ``STORE.checkpoints``; a record in memory has none.
    """

    task: Task
    configs: Sequence[Mapping[str, Any]]
    seeds: int | Iterable[int] = 1
    steps: int | None = None
    epochs: float | None = None
    evaluate_every: int | None = None
    store: str | Path | None = None
    name: str | None = None
    key: Any = 0
    pairing: Literal["common", "independent"] = "common"
    share_batches: bool = False
    tile: int | Literal["auto", "measure"] = "auto"
    checkpoints: Literal["running", "all", "off"] = "running"

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise UserError(
                f"task is a {type(self.task).__name__}: give a jsweep.Task, or make one with jsweep.supervised."
            )
        if isinstance(self.configs, Mapping):  # a space is one, too
            raise UserError(
                "configs is a space, not configs: wrap it, as in jsweep.grid(space) or jsweep.random(space, 100, key=0)."
            )
        if self.pairing not in ("common", "independent"):
            raise UserError(f"pairing={self.pairing!r} is neither 'common' nor 'independent': give one of them.")
        if self.share_batches and self.pairing != "common":
            raise UserError(
                f"share_batches=True needs configs that see the same batches, and pairing={self.pairing!r} gives each its "
                "own: leave out one of the two."
            )
        if self.checkpoints not in ("running", "all", "off"):
            raise UserError(
                f"checkpoints={self.checkpoints!r} is none of 'running', 'all' and 'off': give one of them."
            )
        if self.tile not in ("auto", "measure"):
            check_count("tile", self.tile)
        if self.evaluate_every is not None:
            check_count("evaluate_every", self.evaluate_every)


@dataclass(frozen=True)
class Prepared:
    """A sweep checked and analysed: its trials, compile groups and roles; nothing compiled."""

    sweep: Sweep
    setting: Setting
    trials: tuple[Trial, ...]
    groups: tuple[Group, ...]
    roles: Mapping[str, Role]
    data_hash: str = field(repr=False, default="")
    broken: Mapping[str, Exception] = field(repr=False, default_factory=dict)
    """The trials that cannot be traced, by id, with the error."""

    @property
    def decided(self) -> Decided:
        """What shares a program by padding or selection, as the record keeps it."""
        tiers = {name: role.tiers for name, role in self.roles.items() if role.tiers is not None}
        return Decided(tiers, {name: role.kind for name, role in self.roles.items()})

    @property
    def metrics(self) -> list[str]:
        """The names under which scores will be recorded: "train/loss", "validation/loss", ..."""
        traced = self.groups[0].traced
        return [f"train/{m}" for m in traced.train_metrics] + [f"validation/{m}" for m in traced.evaluation_metrics]


def prepare(sweep: Sweep) -> Prepared:
    """Check a sweep and find its compile groups by abstract tracing. Raises UserError for a user's mistake."""
    if not configure() and jax.default_backend() == "cpu":
        warnings.warn(
            "JAX was started before jsweep could set XLA's flag for right reductions: sweeps compile without XLA's fastest "
            "kernels. Call jsweep.configure() before the first JAX array, or use jsweep first.",
            stacklevel=4,
        )
    task = sweep.task
    root = root_words(sweep.key)
    check_data(task.data)
    trials = make_trials(task, sweep.configs, sweep.seeds, sweep.steps, sweep.epochs, epoch_examples(task.data))
    groups, roles, broken = make_groups(task, trials, _told(sweep), share_batches=sweep.share_batches)
    unread = [name for name, role in roles.items() if role.kind == "unread"]
    if unread:
        warnings.warn(
            f"the task never reads {', '.join(map(repr, unread))}: every value of it trains the same trial; "
            "take it out of the space or read it from the config.",
            stacklevel=4,
        )
    longest = max(trial.steps for trial in trials)
    every = sweep.evaluate_every or max(1, -(-longest // 10))
    setting = Setting(task, root, sweep.pairing, every)
    return Prepared(sweep, setting, trials, groups, roles, data_hash(task.data), broken)


def as_decided(prepared: Prepared, decided: Decided) -> Prepared:
    """The sweep with its compile groups as a record has decided them, so that what was begun goes on in its programs."""
    mine = prepared.decided
    same = all(
        {value: decided.tiers.get(name, {}).get(value) for value in tiers} == tiers
        for name, tiers in mine.tiers.items()
    )
    if same and all(decided.kinds.get(name, kind) == kind for name, kind in mine.kinds.items()):
        return prepared
    task, trials = prepared.setting.task, prepared.trials
    groups, roles, broken = make_groups(task, trials, _told(prepared.sweep), decided, prepared.sweep.share_batches)
    return replace(prepared, groups=groups, roles=roles, broken=broken)


def _told(sweep: Sweep) -> dict[str, str]:
    return sweep.configs.told if isinstance(sweep.configs, Configs) else {}
