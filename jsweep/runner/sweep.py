"""The sweep: a task, its configs and seeds, and how they are trained and recorded."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import numpy as np

from jsweep._runtime.prng import SOURCES, Key, Source
from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.results.objective import Objective
from jsweep.search.model_based import Search
from jsweep.search.rules._rule import Decide, Rule, as_rule
from jsweep.storage.paths import pin, resolve
from jsweep.task.config import check_count
from jsweep.task.task import Task

Pairing = Literal["common", "independent"]
CheckpointPolicy = Literal["running", "all", "off"]


def plain_number(value: object) -> float:
    """A number as Python's, NumPy's as written: 1.1 of 32 bits is 1.1; NaN for what is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    return value if isinstance(value, int | float) else float(str(value))


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is to be swept, and how; nothing runs until `run` (or the command ``jsweep run``) is given it.

    Args:
        task: from `supervised`, or a `Task` of your own.
        configs: from `grid`, `random` and their kin, or any sequence of dicts; or a search that proposes them while the sweep
            runs: `tpe`, `gp`, `cma_es`, `nsga2` or `optuna`.
        objective: the metric that selects the best config ("validation/accuracy"), or `maximize` or `minimize` of one whose
            direction the task does not say (default: "validation/loss"). Of a list the first selects; `Result.pareto` and
            the searches look at all of them.
        seeds: a count (5 means seeds 0 to 4) or a list; every config is trained under every seed.
        steps: how long a trial trains, in steps, where its config does not say.
        epochs: the same in epochs of the training examples; give one of the two.
        evaluate_every: steps between two evaluations (default: a tenth of the longest trial).
        store: the file of the record; None and ":memory:" keep it in memory.
        name: the sweep's name in the record (default: the task's). A sweep that is kept in a file needs one.
        key: the root key, a JAX key or a whole number.
        pairing: "common" gives every config the same initialisation and data order under one seed, so that configs compare
            pairwise; "independent" gives each config its own.
        vary: what the seed of a trial decides, some of ``("init", "order", "noise")``: its initialisation, the order of its
            examples and what its steps draw. What is left out is that of seed 0 in every trial, so that the spread over
            seeds is due to the others alone.
        rule: decides between evaluations which configs stop, from `jsweep.rules` or a function of your own; None trains all to
            their ends. A trial that stops has trained as it would have without the rule: its schedule sees its whole length
            and is cut. The rule judges by the objective. Once run, seeds and lengths cannot change; configs may be added.
        tile: lanes trained together: a power of two, "measure" to time the candidates now, or "auto", which keeps what the record
            has for a program, or takes what was measured on this machine, or measures where that pays.
        checkpoints: "running" keeps the state of tiles at their last two segments, to resume from after a crash, until they
            end; "all" also keeps the state of every finished trial, for `Session.params` and for training it further; "off"
            keeps none. They lie in the folder ``STORE.checkpoints``; a record in memory has none.

    Raises:
        ConfigError: where an argument is not as described.
    """

    task: Task
    configs: Sequence[Mapping[str, Value]] | Search
    _: KW_ONLY
    objective: str | Objective | Sequence[str | Objective] | None = None
    seeds: int | Iterable[int] = 1
    steps: int | None = None
    epochs: float | None = None
    evaluate_every: int | None = None
    store: str | os.PathLike[str] | None = None
    name: str | None = None
    key: Key = 0
    pairing: Pairing = "common"
    vary: Source | Sequence[Source] = SOURCES
    rule: Rule | Decide | None = None
    tile: int | Literal["auto", "measure"] = "auto"
    checkpoints: CheckpointPolicy = "running"

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise ConfigError(
                f"task is a {type(self.task).__name__}: pass a jsweep.Task, or make one with jsweep.supervised."
            )
        if isinstance(self.configs, Mapping):  # a space is one, too
            raise ConfigError(
                "configs is a space, not configs: wrap it, as in jsweep.grid(space) or jsweep.random(space, 100, key=0)."
            )
        for name, kind in (("pairing", Pairing), ("checkpoints", CheckpointPolicy)):
            if getattr(self, name) not in get_args(kind):
                allowed = ", ".join(map(repr, get_args(kind)))
                raise ConfigError(f"{name}={getattr(self, name)!r} is not valid: pass one of {allowed}.")
        vary = (self.vary,) if isinstance(self.vary, str) else tuple(self.vary)
        if not vary or len(set(vary)) < len(vary) or not set(vary) <= set(SOURCES):
            raise ConfigError(f"vary={self.vary!r} is not valid: pass some of {', '.join(map(repr, SOURCES))}.")
        object.__setattr__(self, "vary", tuple(source for source in SOURCES if source in vary))
        self._check_lengths()
        if not isinstance(self.seeds, str) and isinstance(self.seeds, Iterable):
            object.__setattr__(self, "seeds", tuple(self.seeds))  # an iterator can be read only once
        if self.rule is not None:
            rule = as_rule(self.rule)
            object.__setattr__(self, "rule", rule)
            if isinstance(self.configs, Search):
                _check_together(rule, self.configs)
        object.__setattr__(self, "objective", self._objective())
        object.__setattr__(self, "store", pin(self.store))

    def _check_lengths(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(f"steps={self.steps!r} and epochs={self.epochs!r} exclude each other: pass one of them.")
        for name in ("steps", "evaluate_every", "tile"):
            value = getattr(self, name)
            if value is not None and not (name == "tile" and value in ("auto", "measure")):
                object.__setattr__(self, name, check_count(name, value))
        if isinstance(self.tile, int) and self.tile & (self.tile - 1):
            below = 1 << (self.tile.bit_length() - 1)
            raise ConfigError(
                f"tile={self.tile} is not a power of two, and in such tiles a trial's last bits would depend on its place: pass "
                f"{below} or {2 * below}."
            )
        if self.epochs is not None:
            object.__setattr__(self, "epochs", plain_number(self.epochs))
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ConfigError(f"epochs={self.epochs!r} is not a number above 0: pass one, such as epochs=10.")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives that were said, with their directions; the first selects."""
        said = () if self.objective is None else self.objective
        return (said,) if isinstance(said, Objective) else tuple(each for each in said if isinstance(each, Objective))

    def _objective(self) -> Objective | tuple[Objective, ...] | None:
        """The objective with its direction, or several of them; ConfigError where nobody has said it."""
        if self.objective is None:
            return None
        if isinstance(self.objective, str | Objective):
            return self._with_direction(self.objective)
        if not isinstance(self.objective, Sequence):
            raise ConfigError(f"objective={self.objective!r} is not a metric: pass its name, or a list of names.")
        several = [self._with_direction(each) for each in self.objective]
        if not several or len({each.metric for each in several}) < len(several):
            raise ConfigError(
                f"objective={list(self.objective)!r} is empty or repeats a metric: pass different metrics."
            )
        return tuple(several) if len(several) > 1 else several[0]

    def _with_direction(self, objective: str | Objective) -> Objective:
        chosen = objective if isinstance(objective, Objective) else Objective(objective)
        if chosen.metric.startswith("train/"):
            raise ConfigError(
                f"objective={chosen.metric!r} is measured on the training examples: select by a validation metric."
            )
        mode = chosen.mode or self.task.modes.get(chosen.metric.partition("/")[2])
        if mode is None:
            close = difflib.get_close_matches(chosen.metric.rpartition("/")[2], list(self.task.modes), n=1)
            hint = f" (did you mean 'validation/{close[0]}'?)" if close else ""
            raise ConfigError(
                f"objective={chosen.metric!r}{hint} has no known direction; the task's metrics that have one are "
                f"{', '.join(sorted(self.task.modes)) or 'none'}: correct the name, or pass "
                f"objective=js.maximize({chosen.metric!r}) or js.minimize({chosen.metric!r})."
            )
        return Objective(chosen.metric, mode)

    @property
    def record_name(self) -> str:
        """The sweep's name in the record; ConfigError where it is kept in a file and has none."""
        name = self.name or self.task.name
        if name is None and resolve(self.store) is not None:
            raise ConfigError(
                f"the sweep kept in {str(self.store)!r} has no name to be found by: pass Sweep(name=...) or "
                "supervised(name=...)."
            )
        return name or "sweep"


def _check_together(rule: Rule, search: Search) -> None:
    """ConfigError where a search would not learn from what a rule leaves it, or the rule needs all configs at once."""
    if rule.copying is not None:
        raise ConfigError(
            f"rule={rule!r} lets configs that begin together copy one another, and {search.kind} proposes them while the sweep "
            "runs: leave out the rule, or pass js.random(space, n, key=0) as configs."
        )
    if search.learns_from_ended:
        raise ConfigError(
            f"{search.kind} moves on only when all configs of a batch have come to their end, and rule={rule!r} stops some: "
            "leave out the rule, or search with js.tpe."
        )
