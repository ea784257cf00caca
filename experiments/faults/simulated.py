"""A process that runs a sweep or tests one, without JAX: it makes the record's decisions as jsweep's runner does, one at a time.

Its work is a generator that stops after each transaction, so that the caller may let another process go on, or kill it there.
What a trial's training gives is a chain of checksums, so that a wrong checkpoint or a mixture of two trials shows in its scores.
"""

import functools
import itertools
import os
import zlib

import numpy as np

from jsweep.errors import ConfigError, StoreError
from jsweep.runner.claims import Claims
from jsweep.runner.looks import look_of
from jsweep.storage import Checkpoint, Score, TestOpening, Trial, locks, open_store
from jsweep.storage.checkpoints import (
    file_name,
    folder_of,
    owner_of,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from jsweep.storage.ledger import Reply
from jsweep.storage.records import Position
from jsweep.storage.standing import ENDED, Wanted, recorded_of, resumes_from

EVERY, UNIT = 10, 5  # steps between evaluations; steps that are trained at a time
METRIC = "validation/loss"
READS_LENGTH = "fixed"  # the sweep whose task reads config["steps"]
BROKEN = "t2"  # the trial that cannot be trained where a process is told so


def advance(state, sweep, trial, steps):
    """The state after some more steps; of a trial whose task reads its length another one for each length."""
    return zlib.crc32(f"{state} {sweep} {trial} {steps if sweep == READS_LENGTH else ''}".encode())


@functools.cache
def state_at(sweep, trial, step, steps):
    """The state of a trial after ``step`` steps, if nothing goes wrong."""
    return advance(state_at(sweep, trial, step - UNIT, steps), sweep, trial, steps) if step else 0


def value_of(state):
    """What a trial in this state scores."""
    return state / 7


def stops_of(trials):
    """The steps at which a tile is evaluated."""
    longest = max(trial.steps for trial in trials)
    return sorted({*range(EVERY, longest + 1, EVERY), *(trial.steps for trial in trials)})


class Process:
    """A process with a connection and a lock of its own."""

    def __init__(self, path):
        self.store = open_store(path)
        self.folder = folder_of(path)
        while (held := locks._held(self.folder)) is None:
            pass
        self.name, self.lock = held
        self.claims = None
        self.numbers = itertools.count()
        self.found_dead = False  # someone has removed its lock file
        self.evaluated = []  # looks at a test split
        self.dropped = set()  # what others have dropped of what it holds

    def alive(self, name):
        return locks.is_alive(self.folder, name)

    def die(self):
        """As by SIGKILL: what it had not written is gone, its files lie about."""
        self.store.close()
        self.lock.close()

    def end(self):
        self.lock.close()
        (self.folder / f"{self.name}{locks._SUFFIX}").unlink(missing_ok=True)
        self.store.close()

    @property
    def holds(self):
        """The trials that it believes to be its own."""
        held = {(self.claims.sweep, trial) for trial in self.claims._held} if self.claims else set()
        return held - self.dropped

    def run(self, sweep, lengths, keeps, broken):
        """Train trials to the steps that ``lengths`` gives; ``keeps`` their final states; with ``broken`` one of them raises."""
        trials = [Trial(name, name, {"size": int(name[1])}, 0, steps) for name, steps in lengths.items()]
        while True:
            known = self.store.sweep(sweep)
            yield
            settings = settled(known.settings if known else {}, trials)
            if known is None:
                row = self.store.add_sweep(sweep, "task", {"task": "task", "test": "split"}, settings)
                row = row if row.settings == settings else None
            else:
                row = self.store.merge_settings(known, lambda now, mine=settings: merged(now, mine))
            yield
            if row is not None:
                break
        fixed = sweep == READS_LENGTH
        for trial, state in self.store.states(row.key, list(lengths)).items():
            own, steps = state.own, lengths[trial]
            if own.status in ENDED and (own.steps > steps or (fixed and own.steps != steps)):
                return f"{trial} has finished at {own.steps} steps"
        self.store.add_trials(row.key, trials)
        yield
        wanted = {trial.id: Wanted(trial.steps, fixed) for trial in trials}
        self.claims = Claims(self.store, row.key, self.name, self.alive, {"jax": "0"}, wanted)
        self.claims.retry_failed()
        yield from self.tidy(row.key)
        for view in self.claims.passes():
            yield
            for tile in self.tiles(row.key, view, trials):
                yield from self.train(sweep, tile, keeps, broken)
        self.check_end(row.key, view, broken)
        self.claims.release()
        yield
        yield from self.tidy(row.key)
        return None

    def check_end(self, key, view, broken):
        """A run that has ended has given what was asked for, or a reason."""
        for trial, wanted in self.claims.wanted.items():
            state = view.states.get(trial)
            if state is None or trial in view.fixed:
                continue
            own = state.own
            reached = own.status in ENDED and own.steps >= wanted.steps
            assert reached or state.open.status == "failed", f"nothing stuck: {trial} ended as {own} in {key}"

    def tidy(self, key):
        files = {path.name: owner_of(path.name) for path in self.folder.glob("*.safetensors")}
        ended = {owner for owner in set(files.values()) if owner == self.name or not self.alive(owner)}
        yield
        self.store.forget_ended_checkpoints(key)
        yield
        named = self.store.checkpoint_files()
        for name, owner in files.items():
            if owner in ended and name not in named:
                remove_checkpoint(self.folder, name)
        locks.remove_dead(self.folder)
        yield

    def tiles(self, key, view, trials):
        """The free trials two by two, those that resume from one checkpoint together."""
        left = {trial.id: trial for trial in trials if trial.id in view.free}
        found = []
        for row in self.store.checkpoints(key):
            own = [
                t
                for t in row.members
                if t in left and t in view.states and self.resumes(view.states[t], self.claims.wanted[t], row.step)
            ]
            if own:
                found.append(tuple(left.pop(trial) for trial in own))
        rest = list(left.values())
        return [*found, *(tuple(rest[k : k + 2]) for k in range(0, len(rest), 2))]

    def resumes(self, state, wanted, step):
        return resumes_from(step, recorded_of(state, wanted), wanted.steps, EVERY)

    def train(self, sweep, tile, keeps, broken):
        mine = self.claims.claim(tile)
        yield
        if broken and any(trial.id == BROKEN for trial in mine):
            self.claims.fail([trial for trial in mine if trial.id == BROKEN], "OSError: a file is away")
            mine = tuple(trial for trial in mine if trial.id != BROKEN)
            yield
        if not mine:
            return
        step, states, written = *self.resume(mine), []
        for stop in (stop for stop in stops_of(mine) if stop > step or any(t.steps == stop == step for t in mine)):
            while step < stop:
                states = {t.id: advance(states[t.id], sweep, t.id, t.steps) for t in mine}
                step += UNIT
            due = [t for t in mine if t.steps == stop or (t.steps > stop and stop % EVERY == 0)]
            scores = [Score(t.id, stop, {METRIC: value_of(states[t.id])}, None, t.steps == stop) for t in due]
            last = stop == max(trial.steps for trial in mine)
            files = [] if last else self.save(mine, step, states)
            ended = [t for t in due if t.steps == stop]
            if keeps and ended:
                files += self.save(ended, step, states, finished=True)
            yield  # the files are written, and no row names them
            written += [row for row in files if not row.finished]
            outdated = written[:] if last else written[:-2]
            del written[: len(outdated)]
            self.record(scores, files, outdated)
            yield
            if self.claims.lost(mine):
                return

    def record(self, scores, files, outdated):
        before = self.store.states(self.claims.sweep, [score.trial for score in scores])
        lost = self.claims.record("program", 2, scores, files, outdated)
        for score in scores:
            owner = before[score.trial].open.owner if score.trial in before else None
            assert score.trial in lost or owner == self.name, f"nothing doubled: {score.trial} recorded by another"
        for row in outdated:
            remove_checkpoint(self.folder, row.file)

    def save(self, trials, step, states, finished=False):
        ids = [trial.id for trial in trials]
        tile = f"{zlib.crc32(f'{self.claims.sweep} {ids} {finished}'.encode()):016x}"
        content = {"state": np.array([states[trial] for trial in ids], np.int64)}
        file = file_name(self.name, next(self.numbers))
        digest = write_checkpoint(self.folder, file, content, Position(step, 0, 2), ids)
        return [Checkpoint(one, step, file, digest, ids, finished) for one in (ids if finished else [tile])]

    def resume(self, mine):
        """The step and the states to go on from."""
        ids = [trial.id for trial in mine]
        recorded = self.store.states(self.claims.sweep, ids)
        rows = self.store.checkpoints_of(self.claims.sweep, ids)
        for step in sorted({row.step for row in rows}, reverse=True):
            found = {}
            if recorded.keys() < set(ids) or not all(
                resumes_from(step, recorded[t.id].recorded, t.steps, EVERY) for t in mine
            ):
                continue
            for row in (row for row in rows if row.step == step):
                arrays = read_checkpoint(self.folder, row)
                lanes = dict(zip(row.trials, map(int, arrays[0]["state"]))) if arrays else {}
                found |= {trial: state for trial, state in lanes.items() if trial in row.members}
            if found.keys() >= set(ids):
                return step, {trial: found[trial] for trial in ids}
        return 0, dict.fromkeys(ids, 0)

    def test(self, sweep, trial, again):
        """Look at the test split for a trial that has finished."""
        row = self.store.sweep(sweep)
        state = self.store.states(row.key, [trial]).get(trial) if row else None
        yield
        if state is None or state.own.status not in ENDED:
            return "nothing to test"
        step = state.own.steps
        look = look_of(row, ["program"], trial, step)
        asked = TestOpening(
            data="split",
            look=look,
            sweep=sweep,
            config_id=trial,
            config={},
            metric=METRIC,
            mode="min",
            step=step,
            seeds=[0],
        )
        while (reply := self.store.reserve_look(asked, self.name, again, self.alive)).reply == Reply.BUSY:
            yield
        yield
        if reply.reply != Reply.RESERVED:
            return str(reply.reply)
        yield  # it is trained again
        self.store.open_look(reply.entry.key, self.name)
        yield
        self.evaluated.append(look)
        yield
        self.store.complete_look(reply.entry.key, self.name, {"test/loss": [1.0]}, [0])
        return None


def settled(known, trials):
    """What a process settles about sizes, given what is settled: a size joins the next larger one, or is a new one."""
    sizes = dict(known.get("sizes", {}))
    for size in (trial.config["size"] for trial in sorted(trials, key=lambda trial: -trial.config["size"])):
        if str(size) not in sizes:
            sizes[str(size)] = min((s for s in sizes.values() if s >= size), default=size)
    return {"metrics": [METRIC], "sizes": sizes}


def merged(known, mine):
    return {**known, **mine, "sizes": {**mine["sizes"], **known.get("sizes", {})}}


def files_of(folder):
    return [] if not folder.exists() else sorted(os.listdir(folder))


ERRORS = (ConfigError, StoreError)
