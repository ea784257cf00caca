"""The study behind a model-based search: told what was scored, in order, and asked for the next batch."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from jsweep._runtime.types import Mode, Value
from jsweep.errors import IncompatibleSweepError
from jsweep.search._parameters import distribution_of, numbers_of, suggest
from jsweep.search._where import Filter
from jsweep.search.model_based import Search, import_optuna
from jsweep.space._encode import config_id
from jsweep.storage.records import Batch, Outcome

_TRIES = 20  # for one place of a batch, before a config drawn at random takes it

Config = Mapping[str, Value]


class Proposer:
    """Proposes the batches of a search.

    It keeps its study between two batches only where the sampler remembers, and that is rebuilt from what was told. So
    `propose` is a function of its arguments, whatever this object has proposed before.

    Args:
        search: the search.
        modes: the direction of each objective.
        batch: the configs of a batch.
    """

    def __init__(self, search: Search, modes: Sequence[Mode], batch: int):
        self.search, self.modes, self.batch = search, modes, batch
        self._optuna = import_optuna(search.kind)
        self._kept = Filter(search.space)
        self._live: _Study | None = None

    def propose(self, told: Sequence[Batch], count: int) -> list[Config]:
        """The next configs, different from one another and from those proposed before.

        Args:
            told: the batches before, in order; the first is what the sampler has not proposed itself.
            count: how many.

        Raises:
            IncompatibleSweepError: where the sampler, asked again from the start, proposes other batches than those.
        """
        with _quiet(self._optuna):
            if not self.search.remembers:
                study = self._study(sum(len(batch.configs) for batch in told[1:]))
                for batch in told:
                    study.add(batch)
                return study.ask(count)
            if self._live is None or self._live.batches > len(told):
                self._live = self._study(0)
                self._live.add(told[0])
            live = self._live
            for batch in told[live.batches :]:
                if not live.waiting:
                    live.ask(len(batch.configs))
                live.tell(batch)
            return [config for _, config in live.waiting] or live.ask(count)

    def _study(self, asked: int) -> "_Study":
        sampler = self.search.make(self._optuna, self.search.seed(asked), self.batch)
        return _Study(self._optuna, self.search, self._kept, self.modes, sampler)


class _Study:
    """An Optuna study of a search, and the configs of the batch that it has not been told."""

    def __init__(self, optuna: ModuleType, search: Search, kept: Filter, modes: Sequence[Mode], sampler: Any):
        self._optuna, self._search, self._kept, self._modes = optuna, search, kept, modes
        directions = ["minimize" if mode == "min" else "maximize" for mode in modes]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._study.stop = lambda: None  # what samplers of finite spaces call; there is no loop to stop
        self._several = len(modes) > 1  # Optuna has no trials of several objectives that were stopped early
        self._worst: list[float] = [math.nan] * len(modes)
        self._taken: set[str] = set()
        self.waiting: list[tuple[Any, Config]] = []
        self.batches = 0

    def add(self, batch: Batch) -> None:
        """Enter configs that this sampler need not have proposed; those of an earlier sweep may be proposed again."""
        for config, outcome in zip(batch.configs, self._filled(batch), strict=True):
            self._enter(config, outcome)
            if self.batches:
                self._taken.add(config_id(config))
        self.batches += 1

    def ask(self, count: int) -> list[Config]:
        """The next configs; those that repeat one, or break a constraint, are told so and asked for again."""
        self.waiting = [self._next() for _ in range(count)]
        return [config for _, config in self.waiting]

    def tell(self, batch: Batch) -> None:
        """Tell the scores of the configs that were asked for last."""
        if [config_id(config) for _, config in self.waiting] != [config_id(config) for config in batch.configs]:
            raise IncompatibleSweepError(
                f"the sampler of {self._search.kind} proposes other configs for batch {self.batches} than the record has: "
                f"restore the version of Optuna that it was begun with (this is {self._optuna.__version__}), or give this "
                "sweep a name of its own (name=..., --name)."
            )
        for (trial, config), outcome in zip(self.waiting, self._filled(batch), strict=True):
            if trial is None:
                self._enter(config, outcome)
            else:
                self._tell(trial, outcome)
        self.waiting, self.batches = [], self.batches + 1

    def _next(self) -> tuple[Any, Config]:
        for _ in range(_TRIES):
            trial = self._study.ask()
            config = suggest(trial, self._optuna, self._search.space)
            identity = config_id(config)
            if not self._kept.keeps(config):
                self._tell(trial, self._as_worst())
            elif identity in self._taken:
                self._tell(trial, None)
            else:
                self._taken.add(identity)
                return trial, config
        drawn = self._search.drawn
        place = next(place for place, identity in enumerate(drawn.ids) if identity not in self._taken)
        self._taken.add(drawn.ids[place])
        return None, drawn[place]

    def _tell(self, trial: Any, outcome: Outcome | None) -> None:
        """Tell what became of a config; None as a failure, which samplers pass over."""
        states = self._optuna.trial.TrialState
        if outcome is None or (outcome.stopped is not None and self._several):
            self._study.tell(trial, state=states.FAIL)
        elif outcome.stopped is not None:
            trial.report(outcome.values[0], outcome.stopped)
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, list(outcome.values))

    def _enter(self, config: Config, outcome: Outcome | None) -> None:
        numbers = numbers_of(self._search.space, config)
        if numbers is None or outcome is None or (outcome.stopped is not None and self._several):
            return
        swept = [(name, distribution_of(leaf, self._optuna), number) for name, leaf, number in numbers]
        created: dict[str, Any] = {
            "params": {name: number for name, distribution, number in swept if distribution is not None},
            "distributions": {name: distribution for name, distribution, _ in swept if distribution is not None},
        }
        if outcome.stopped is None:
            created |= {"values": list(outcome.values)}
        else:
            states = self._optuna.trial.TrialState
            value = outcome.values[0]
            created |= {"state": states.PRUNED, "intermediate_values": {outcome.stopped: value}, "value": value}
        self._study.add_trial(self._optuna.trial.create_trial(**created))

    def _filled(self, batch: Batch) -> list[Outcome | None]:
        """The outcomes of a batch: the worst so far for a config that has no finite one, and None while there is no worst."""
        assert batch.told is not None
        for place, mode in enumerate(self._modes):
            numbers = [*(outcome.values[place] for outcome in batch.told), self._worst[place]]
            finite = [number for number in numbers if math.isfinite(number)]
            if finite:
                self._worst[place] = max(finite) if mode == "min" else min(finite)
        return [outcome if all(map(math.isfinite, outcome.values)) else self._as_worst() for outcome in batch.told]

    def _as_worst(self) -> Outcome | None:
        return Outcome(tuple(self._worst)) if all(map(math.isfinite, self._worst)) else None


@contextlib.contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Without Optuna's messages, which speak of studies and samplers that the user has not made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
