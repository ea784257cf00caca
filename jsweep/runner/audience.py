"""Who hears of a run: the user's callbacks and the progress display, once of its start and once of its end."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import jax

from jsweep.engine.events import Callback
from jsweep.errors import ConfigError
from jsweep.planning.trials import seed_list
from jsweep.runner.plan import plan_of
from jsweep.runner.prepare import prepare
from jsweep.runner.progress import Progress, ProgressMode, check_progress, progress_callback
from jsweep.runner.searching import expected, proposed
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.search.model_based import Search
from jsweep.storage import Store
from jsweep.storage.standing import ended_at


class Audience:
    """The callbacks and the display of one call of `run`, which may train a sweep in several parts.

    Args:
        sweep: the whole sweep.
        progress: how progress is shown.
        callbacks: the user's callbacks.
    """

    def __init__(self, sweep: Sweep, progress: ProgressMode | None, callbacks: Sequence[Callback]):
        check_progress(progress)
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError(
                    f"callbacks has a {type(callback).__name__}: pass instances of a class derived from jsweep.Callback."
                )
        self.callbacks, self.display = callbacks, Progress()
        self._sweep, self._begun = sweep, False
        self._progress: ProgressMode | None = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._begun:
            for callback in (self.display, *self.callbacks):  # the display ends though a callback raises
                callback.on_end(error)

    def begin(self, store: Store, part: Session, workers: Sequence[jax.Device]) -> None:
        """Say that a part is about to be trained; the first time that is the start of the run."""
        if self._begun:
            self.display.on_part(part)
            return
        self._begun = True
        self.display = progress_callback(self._progress, _so_far(store, self._sweep, part), _trials(self._sweep))
        self.display.on_start(None)
        if self.callbacks:
            whole = part.prepared
            if isinstance(self._sweep.configs, Search):
                whole = prepare(expected(store, self._sweep, part.row), part.row)
            plan = plan_of(whole, workers, ended_at(store.states(part.row.key), whole.trials))
            for callback in self.callbacks:
                callback.on_start(plan)


def _so_far(store: Store, sweep: Sweep, part: Session) -> Session:
    """The session of all that a search has proposed; of a sweep of fixed configs its only part."""
    if not isinstance(sweep.configs, Search):
        return part
    known = proposed(store, sweep, part.row)
    return (
        part
        if len(known.configs) == len(part.prepared.sweep.configs)
        else Session(store, part.name, prepare(known, part.row))
    )


def _trials(sweep: Sweep) -> int | None:
    """How many trials a search will have made at its end."""
    return sweep.configs.n * len(seed_list(sweep.seeds)) if isinstance(sweep.configs, Search) else None
