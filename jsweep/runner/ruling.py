"""A sweep under a rule: the waves of tiles that its decisions make, one after the other in a single run of the engine."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax

from jsweep.data.splits import Splits
from jsweep.engine.events import Copied, Event, Failed, Halved, Stopped, Trained
from jsweep.engine.executors.threads import More, Work
from jsweep.engine.input_pipeline import streams, window_rows
from jsweep.engine.parking import Parking
from jsweep.engine.tile_size import choose_width
from jsweep.planning import Group, Tile
from jsweep.results.ranking import LOSSES
from jsweep.runner.judge import Judge, make_rows
from jsweep.runner.judged import judged_before
from jsweep.runner.population import Population, make_population
from jsweep.runner.prepare import Prepared
from jsweep.storage import Status, Store, SweepRecord
from jsweep.storage.records import Copy, Trial, is_stopped_by_user


@dataclass
class Ruling:
    """The waves of a sweep under a rule, as far as its record goes.

    Attributes:
        judge: what asks the rule.
        prepared: the sweep.
        metric: the objective's metric.
        parking: where lanes wait.
        widths: the lanes of a tile, by the number of the compile group.
        starts: the step that a trial's lane or last checkpoint stands at.
        stopped: the trials that were recorded as stopped before.
        held: the trials that other processes hold.
        given: the step to which a trial was last sent by this process.
        population: what copies train with, where the rule copies.
        left: the trials that the user has stopped: to the rule they are not finite from there on.
    """

    judge: Judge
    prepared: Prepared
    metric: str
    parking: Parking
    widths: list[int]
    starts: dict[str, int]
    stopped: Collection[str] = ()
    held: Collection[str] = ()
    given: dict[str, int] = field(default_factory=dict)
    population: Population | None = None
    left: set[str] = field(default_factory=set)
    _next: More | None = None

    def waits(self) -> bool:
        """Whether there is nothing to decide or train before another process has trained what it holds."""
        self._next = self._decided()
        return not any(self._next)

    def work(self, workers: Sequence[jax.Device]) -> list[Work]:
        """Each compile group's share, whose tiles come with the waves."""
        data, pairing = self.prepared.setting.task.data, self.prepared.sweep.pairing
        streamed, copying = streams(data, workers[0]), self.population is not None
        return [
            Work(group, (), _window(group, width, data, pairing, copying) if streamed else None, width)
            for group, width in zip(self.prepared.groups, self.widths, strict=True)
        ]

    def more(self) -> More:
        """What the rule has decided since, and the tiles of the next wave."""
        found, self._next = self._next or self._decided(), None
        return found

    def _decided(self) -> More:
        going = self.judge.advance()
        stops = tuple(stop for stop in self.judge.stops() if stop.trial not in self.stopped)
        fresh = {t: until for t, until in going.items() if self.given.get(t) != until and t not in self.held}
        self.given |= fresh
        copies = self._copied()
        events: list[Event] = [*([Stopped(stops)] if stops else ()), *([Copied(copies)] if copies else ())]
        return events, [
            (number, tile)
            for number, (group, width) in enumerate(zip(self.prepared.groups, self.widths, strict=True))
            for tile in self._tiles(group, width, fresh)
        ]

    def _copied(self) -> tuple[Copy, ...]:
        """Let trials go on from copies of others, as the rule has decided since; returns what is to be recorded."""
        copies: list[Copy] = []
        for step, sources in self.judge.copies() if self.population else ():
            assert self.population is not None
            self.parking.copy(self.population.pairs(sources))
            copies += self.population.note(step, sources)
        return tuple(copies)

    def leave(self, lost: Sequence[str], recorded: Iterable[Trial]) -> None:
        """Let the judge know which trials the user has stopped, among those whose last scores were not recorded."""
        for trial in recorded:
            if trial.id in lost and is_stopped_by_user(trial):
                self.left.add(trial.id)
                self.judge.fail(trial.id)

    def note(self, event: Event) -> None:
        """Let the judge know what was recorded."""
        match event:
            case Trained(_, tile, segment):
                for score in (score for score in segment.scores if score.trial not in self.left):
                    finite = all(math.isfinite(score.metrics.get(name, 0.0)) for name in LOSSES)
                    self.judge.record(score.trial, score.step, score.metrics[self.metric], finite)
                self.starts |= {trial.id: segment.carry.step for trial in tile.trials}
            case Failed(_, trials, _):
                for trial in trials:
                    self.judge.fail(trial.id)
            case Stopped(stops):
                self.parking.forget(stop.trial for stop in stops)
            case Halved(number, width):
                self.widths[number] = width
            case _:
                pass

    def _tiles(self, group: Group, width: int, going: Mapping[str, int]) -> list[Tile]:
        """Tiles of a group's trials that go on, of those together that stand at the same step and go to the same."""
        alike: dict[tuple[int, int], list[Trial]] = {}
        for trial in group.trials:
            if trial.id in going:
                until, population = going[trial.id], self.population
                as_trained = trial if population is None else population.trained(trial, until)
                alike.setdefault((self.starts.get(trial.id, 0), until), []).append(as_trained)
        return [
            replace(tile, until=until, past=self.population.past(tile.trials, until) if self.population else {})
            for (_, until), trials in alike.items()
            for tile in replace(group, trials=tuple(trials)).tiles(width)
        ]


def make_ruling(
    prepared: Prepared,
    store: Store,
    record: SweepRecord,
    parking: Parking,
    *,
    held: Collection[str],
    workers: Sequence[jax.Device],
) -> Ruling:
    """The waves of a sweep that is begun or resumed.

    Args:
        prepared: the sweep, which has a rule.
        store: its store.
        record: the sweep's row.
        parking: where lanes wait.
        held: the trials that other processes hold.
        workers: the device of each worker.
    """
    rule, objective, setting = prepared.rule, prepared.objective, prepared.setting
    assert rule is not None
    assert objective is not None  # as prepare has checked
    assert objective.mode is not None
    traced = [trial for group in prepared.groups for trial in group.trials]
    earlier = judged_before(prepared.sweep.configs)
    with store.snapshot():  # scores beyond a decision, and what was decided
        known = {trial.id: trial for trial in store.trials(record.key)}
        stops = {t.id: t.done for t in known.values() if t.status == Status.STOPPED and not is_stopped_by_user(t)}
        copies = store.copies(record.key)
        others = [trial for trial in known.values() if trial.config_id in earlier]
        rows = make_rows([*traced, *others], setting.evaluate_every, rule.per)
        judge = Judge(rule, rows, setting.root, objective.mode, stops, _by_step(copies))
        _read_scores(judge, store, record, objective.metric, known.values())
        judge.settle(earlier)
    widths = []
    for group in prepared.groups:
        recorded = next((known[t.id].width for t in group.trials if t.id in known and known[t.id].width), None)
        if recorded is None:  # else lanes could not go on from what is recorded
            recorded = choose_width(setting.task, group, None, prepared.sweep.tile, workers)
        widths.append(recorded)
    starts: dict[str, int] = {}
    for checkpoint in store.checkpoints(record.key):  # those of the most steps first
        for trial in checkpoint.trials:
            starts.setdefault(trial, checkpoint.step)
    population = prepared.explored and make_population(rule, prepared.explored, setting.root, traced, copies)
    return Ruling(judge, prepared, objective.metric, parking, widths, starts, stops, held, population=population)


def _by_step(copies: Iterable[Copy]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for copy in copies:
        found.setdefault(copy.step, {})[copy.config_id] = copy.source
    return found


def _read_scores(judge: Judge, store: Store, record: SweepRecord, metric: str, known: Iterable[Trial]) -> None:
    """Let a judge know what is recorded."""
    losses = [store.scores(record.key, name) for name in LOSSES]
    scores = store.scores(record.key, metric)
    for trial in known:
        diverged = {s for loss in losses for s, value in loss.get(trial.key, []) if not math.isfinite(value)}
        for step, value in scores.get(trial.key, []):
            judge.record(trial.id, step, value, step not in diverged)
        if trial.status == Status.FAILED or is_stopped_by_user(trial):
            judge.fail(trial.id)


def _window(group: Group, width: int, data: Splits, pairing: str, copying: bool) -> int:
    """The rows of a window that serves whatever trials of a group a tile has."""
    orders = {(t.seed, t.config_id if pairing != "common" else "", group.batch_size(t)): t for t in group.trials}
    if copying and "batch_size" in group.lanes:  # copies may bring the largest to every trial
        most = max(map(group.batch_size, group.trials))
        orders = {k: replace(t, config={**t.config, "batch_size": most}) for k, t in orders.items()}
    largest = sorted(orders.values(), key=lambda trial: -group.batch_size(trial))[:width]
    return window_rows(group, [Tile(tuple(largest), width)], data, pairing)
