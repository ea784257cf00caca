"""Resuming: as `run`, for a sweep that its record has begun."""

from collections.abc import Sequence
from contextlib import closing

import jax

from jsweep.errors import ConfigError
from jsweep.runner.progress import ProgressMode
from jsweep.runner.run import run
from jsweep.runner.session import Session
from jsweep.runner.sweep import Sweep
from jsweep.storage import open_store
from jsweep.storage.paths import resolve


def resume(
    sweep: Sweep,
    *,
    progress: ProgressMode | None = None,
    workers: Sequence[jax.Device] | None = None,
    any_environment: bool = False,
    wall_time: float | str | None = None,
    target: float | None = None,
    no_improvement: int | None = None,
) -> Session:
    """Resume a sweep from the last recorded segment of every tile.

    The same as `run`, but a sweep that is not in its store is refused: a misspelt name or store does not train
    everything from the start.

    Args:
        sweep: the sweep, with the store and name that it was run with.
        progress: as in `run`.
        workers: as in `run`.
        any_environment: as in `run`.
        wall_time: as in `run`.
        target: as in `run`.
        no_improvement: as in `run`.

    Returns:
        The result, as of `run`.

    Raises:
        ConfigError: the sweep is kept in memory, or its store has no sweep of its name.
        StoreError: the store does not exist or cannot be read.
        IncompatibleSweepError: the recorded sweep was made from another task, other data, or in another environment.
    """
    name = sweep.record_name
    if resolve(sweep.store) is None:
        raise ConfigError(f"the sweep {name!r} is kept in memory: pass store='sweeps.db' to be able to resume it.")
    with closing(open_store(sweep.store, write=False)) as store:
        if store.sweep(name) is None:
            raise ConfigError(f"{store.path} has no sweep {name!r} to resume: start it with run (jsweep run FILE).")
    limits = {"wall_time": wall_time, "target": target, "no_improvement": no_improvement}
    return run(sweep, progress=progress, workers=workers, any_environment=any_environment, **limits)
