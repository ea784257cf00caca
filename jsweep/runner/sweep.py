"""The sweep: a task and its trials, checked and analysed."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from jsweep.errors import ConfigError
from jsweep.storage.paths import pin
from jsweep.task.config import check_count
from jsweep.task.task import Task


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
    _: KW_ONLY
    seeds: int | Iterable[int] = 1
    steps: int | None = None
    epochs: float | None = None
    evaluate_every: int | None = None
    store: str | os.PathLike[str] | None = None
    name: str | None = None
    key: Any = 0
    pairing: Literal["common", "independent"] = "common"
    share_batches: bool = False
    tile: int | Literal["auto", "measure"] = "auto"
    checkpoints: Literal["running", "all", "off"] = "running"

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", pin(self.store))
        if not isinstance(self.task, Task):
            raise ConfigError(
                f"task is a {type(self.task).__name__}: give a jsweep.Task, or make one with jsweep.supervised."
            )
        if isinstance(self.configs, Mapping):  # a space is one, too
            raise ConfigError(
                "configs is a space, not configs: wrap it, as in jsweep.grid(space) or jsweep.random(space, 100, key=0)."
            )
        if self.pairing not in ("common", "independent"):
            raise ConfigError(f"pairing={self.pairing!r} is neither 'common' nor 'independent': give one of them.")
        if self.share_batches and self.pairing != "common":
            raise ConfigError(
                f"share_batches=True needs configs that see the same batches, and pairing={self.pairing!r} gives each its "
                "own: leave out one of the two."
            )
        if self.checkpoints not in ("running", "all", "off"):
            raise ConfigError(
                f"checkpoints={self.checkpoints!r} is none of 'running', 'all' and 'off': give one of them."
            )
        if self.tile not in ("auto", "measure"):
            check_count("tile", self.tile)
        if self.evaluate_every is not None:
            check_count("evaluate_every", self.evaluate_every)
