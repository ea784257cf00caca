"""The sweep: a task, its trials and their record, tied together."""

import contextlib
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax

from jsweep.backend import configure
from jsweep.data import check_data, count_examples, data_hash
from jsweep.engine.feed import streams, window_rows
from jsweep.engine.run import Compiled, Failed, Trained, Work, default_workers
from jsweep.engine.run import run as run_tiles
from jsweep.engine.tile import Setting
from jsweep.engine.width import choose_width
from jsweep.environment import describe_environment
from jsweep.errors import UserError
from jsweep.fingerprint import code_hash
from jsweep.keys import root_words
from jsweep.planning import Group, Role, Trial, make_groups, make_trials
from jsweep.progress import Progress, progress_for
from jsweep.results import Result
from jsweep.space import Configs
from jsweep.store import Store, SweepRow, open_store
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
    - ``tile``: lanes trained together: a number, "measure" to time the candidates now, or "auto", which keeps what the
      record has for a program, or takes what was measured on this machine, or measures where that pays.
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
    tile: int | Literal["auto", "measure"] = "auto"

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

    @property
    def metrics(self) -> list[str]:
        """The names under which scores will be recorded: "train/loss", "validation/loss", ..."""
        traced = self.groups[0].traced
        return [f"train/{m}" for m in traced.train_metrics] + [f"validation/{m}" for m in traced.evaluation_metrics]


def sweep(
    task: Task,
    configs: Sequence[Mapping[str, Any]],
    seeds: int | Iterable[int] = 1,
    steps: int | None = None,
    **options: Any,
) -> Result:
    """Train every config under every seed and return the result; the options are those of `Sweep`."""
    return run(Sweep(task, configs, seeds, steps, **options))


def prepare(sweep: Sweep) -> Prepared:
    """Check a sweep and find its compile groups by abstract tracing. Raises UserError for a user's mistake."""
    configure()
    task = sweep.task
    root = root_words(sweep.key)
    check_data(task.data)
    trials = make_trials(task, sweep.configs, sweep.seeds, sweep.steps, sweep.epochs, count_examples(task.data.train))
    told = sweep.configs.told if isinstance(sweep.configs, Configs) else {}
    groups, roles = make_groups(task, trials, told)
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
    return Prepared(sweep, setting, trials, groups, roles, data_hash(task.data))


def run(sweep: Sweep | Prepared, progress: bool | None = None, workers: Sequence[jax.Device] | None = None) -> Result:
    """Train a sweep's trials that are not yet in its record, and return the result.

    ``progress`` shows a live line (default: where standard error is a terminal). ``workers`` is the device of each
    worker (default: every device, on CPU one a core); it changes speed, never results. Ctrl-C ends the sweep after
    the present segments with everything recorded; run the same sweep again to go on.
    """
    prepared = sweep if isinstance(sweep, Prepared) else prepare(sweep)
    store = open_store(prepared.sweep.store)
    row = _open_sweep(store, prepared)
    store.add_trials(row.key, prepared.trials)
    rows = store.trials(row.key)
    finished = {trial.id for trial in rows if trial.status == "finished"}
    workers = workers or default_workers()
    work = divide(prepared, finished, {trial.id: trial.width for trial in rows if trial.width}, workers)
    result = Result(store, row.name, frozenset(trial.id for trial in prepared.trials), prepared)
    if not any(share.tiles for share in work):
        return result
    with progress_for(progress, prepared, len(finished & result.trial_ids)) as shown:
        _train(store, row, prepared, work, workers, shown)
    failed = [trial for trial in result.trials() if trial.status == "failed"]
    if failed:
        warnings.warn(f"{len(failed)} trials failed, the first ({failed[0].id}) with {failed[0].reason}", stacklevel=3)
    return result


def attach(sweep: Sweep) -> Result:
    """The result of a sweep that is in its record already; nothing is trained. UserError where it is not there."""
    prepared = prepare(sweep)
    store = open_store(sweep.store, write=sweep.store is None or Path(sweep.store).exists())
    if store.sweep(sweep.name or sweep.task.name) is None:
        raise UserError(f"{store.path} has no sweep {sweep.name or sweep.task.name!r}: run it first.")
    row = _open_sweep(store, prepared)
    return Result(store, row.name, frozenset(trial.id for trial in prepared.trials), prepared)


def divide(
    prepared: Prepared, finished: Set[str], widths: Mapping[str, int], workers: Sequence[jax.Device]
) -> list[Work]:
    """Each group's unfinished trials in tiles. ``widths`` are those recorded with trials, which their group keeps."""
    shares = []
    data = prepared.setting.task.data
    streamed = streams(data, workers[0])
    for group in prepared.groups:
        left = tuple(trial for trial in group.trials if trial.id not in finished)
        recorded = next((widths[trial.id] for trial in group.trials if trial.id in widths), None)
        if not left:
            shares.append(Work(group, recorded or 1, ()))
            continue
        width = choose_width(prepared.setting.task, group, recorded, prepared.sweep.tile, workers)
        tiles = tuple(replace(group, trials=left).tiles(width))
        window = window_rows(group, tiles, data, prepared.sweep.pairing) if streamed else None
        shares.append(Work(group, width, tiles, window))
    return shares


def _train(
    store: Store,
    row: SweepRow,
    prepared: Prepared,
    work: Sequence[Work],
    workers: Sequence[jax.Device],
    shown: Progress,
) -> None:
    stop = threading.Event()
    programs: dict[int, str] = {}
    events = run_tiles(prepared.setting, work, workers, stop)
    with _interrupt_sets(stop):
        for event in events:
            match event:
                case Compiled(group, _, fingerprint):
                    programs[group] = fingerprint
                    shown.compiled(group)
                case Trained(group, _, segment):
                    how = {"program": programs[group], "width": work[group].width}
                    store.record_segments(row.key, [(how, segment.scores)])
                    shown.trained(segment)
                case Failed(_, trials, error):
                    store.record_failure(row.key, [trial.id for trial in trials], _one_line(error))
                    shown.failed(trials, error)
    if stop.is_set():
        raise KeyboardInterrupt


def _open_sweep(store: Store, prepared: Prepared) -> SweepRow:
    """The sweep's row: a new one, or the one of that name if it is the same sweep; UserError where it is not."""
    task, sweep = prepared.sweep.task, prepared.sweep
    name = sweep.name or task.name
    identity = {
        "task": task.name,
        "code": code_hash(task.init, task.step, task.evaluate),
        "data": prepared.data_hash,
        "key": [int(word) for word in prepared.setting.root],
        "pairing": sweep.pairing,
        "evaluate_every": prepared.setting.evaluate_every,
        "batch_size": task.batch_size,
    }
    old = store.sweep(name)
    if old is not None:
        changed = [key for key in identity if old.identity.get(key) != identity[key]]
        if changed:
            raise UserError(
                f"the sweep {name!r} in {store.path} was made with other {', '.join(changed)}: give the new one a name of "
                "its own (name=...), or another store."
            )
        return old
    settings = {
        "metrics": prepared.metrics,
        "higher_is_better": sorted(task.higher_is_better),
        "roles": {role.name: [role.kind, role.reason] for role in prepared.roles.values()},
    }
    return store.add_sweep(name, task.name, identity, settings, describe_environment())


@contextlib.contextmanager
def _interrupt_sets(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the sweep after its present segments; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"
