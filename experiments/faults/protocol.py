"""Explore how processes share a record: interleavings of their transactions, kills, drops and tests, and the invariants.

    python experiments/faults/protocol.py --paths 2000
    python experiments/faults/protocol.py --paths 200 --put-back-faults

Three simulated processes run, grow, extend and test three sweeps of one record in steps of one transaction; between any two
steps one of them may be killed or interrupted, lose its lock file, and trials or sweeps may be dropped. docs/record.md names the
invariants. With --put-back-faults, each fault that the record once had is put back in turn, and must be found.
"""

import argparse
import contextlib
import sys
import tempfile
import time
import warnings
from pathlib import Path

from faults_put_back import FAULTS
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from simulated import BROKEN, ERRORS, EVERY, METRIC, READS_LENGTH, Process, state_at, value_of

from jsweep.errors import JsweepError
from jsweep.storage import locks, open_store
from jsweep.storage.checkpoints import folder_of, read_checkpoint
from jsweep.storage.standing import ENDED, resumes_from

SWEEPS = ("first", "second", READS_LENGTH)
LENGTHS = (15, 20, 30)
LONGEST = 45  # of one trial that is trained longer than the others
TRIALS = ("t0", "t1", BROKEN)
TRIAL_SETS = st.sampled_from([TRIALS, TRIALS[:2], TRIALS[1:], TRIALS[:1], TRIALS[2:], (TRIALS[0], TRIALS[2])])
MOST_STEPS = 400  # transactions of a run that is left alone
counts = {"paths": 0, "transactions": 0, "kills": 0}


class Record(RuleBasedStateMachine):
    """One record, the processes that use it, and what must hold whatever they do."""

    def __init__(self):
        super().__init__()
        counts["paths"] += 1
        self.scratch = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.path = Path(self.scratch.name) / "s.db"
        self.reader = open_store(self.path)
        self.running = [None, None, None]  # (process, its work)
        self.finished = {}  # (sweep, trial) -> (steps, scores) as last seen
        self.sizes = {}  # sweep -> what was settled, as last seen
        self.looks = []
        self.sweeps = SWEEPS

    # -- what may happen ------------------------------------------------------------------------------------------------

    @initialize(
        sweeps=st.sampled_from([SWEEPS[:1], SWEEPS[2:], SWEEPS[:2], SWEEPS]),
        begun=st.sampled_from([0, 12, MOST_STEPS]),
        trials=TRIAL_SETS,
        keeps=st.booleans(),
    )
    def begin(self, sweeps, begun, trials, keeps):
        """A path keeps to some sweeps, the first of which may have been begun or ended before."""
        self.sweeps = sweeps
        process = Process(self.path)
        self.running[0] = (process, process.run(sweeps[0], dict.fromkeys(trials, LENGTHS[0]), keeps, False))
        for _ in range(begun):
            self.step(0)

    @precondition(lambda self: None in self.running)
    @rule(
        which=st.integers(0, 2),
        trials=TRIAL_SETS,
        steps=st.sampled_from(LENGTHS),
        more=st.sampled_from([0, 0, 5, 15]),
        keeps=st.booleans(),
        broken=st.booleans(),
        begun=st.integers(0, 8),
    )
    def run(self, which, trials, steps, more, keeps, broken, begun):
        process, slot = Process(self.path), self.running.index(None)
        sweep = self.sweeps[which % len(self.sweeps)]
        lengths = {trial: steps + more * (trial == TRIALS[1]) for trial in trials}
        self.running[slot] = (process, process.run(sweep, lengths, keeps, broken))
        for _ in range(begun):
            self.step(slot)

    @precondition(lambda self: None in self.running and self.finished)
    @rule(which=st.integers(0, 5), again=st.booleans(), begun=st.integers(0, 6))
    def test(self, which, again, begun):
        key, trial = sorted(self.finished)[which % len(self.finished)]
        sweep = next(row.name for row in self.reader.sweeps() if row.key == key)
        process, slot = Process(self.path), self.running.index(None)
        self.running[slot] = (process, process.test(sweep, trial, again))
        for _ in range(begun):
            self.step(slot)

    @precondition(lambda self: any(self.running))
    @rule(which=st.integers(0, 2), transactions=st.integers(1, 8))
    def go_on(self, which, transactions):
        slot = self.slot(which)
        for _ in range(transactions):
            self.step(slot)

    @precondition(lambda self: any(self.running))
    @rule(which=st.integers(0, 2))
    def go_to_its_end(self, which):
        slot = self.slot(which)
        for _ in range(80):
            self.step(slot)

    @precondition(lambda self: any(self.running))
    @rule(which=st.integers(0, 2), how=st.sampled_from(["kill", "kill", "interrupt", "lose its lock file"]))
    def kill(self, which, how):
        slot = self.slot(which)
        process = self.running[slot][0]
        if how == "lose its lock file":
            (process.folder / f"{process.name}{locks._SUFFIX}").unlink(missing_ok=True)
            process.found_dead = True
            return
        if how == "kill":
            counts["kills"] += 1
            process.die()
        else:
            if process.claims is not None:
                process.claims.release()
            process.end()
        self.running[slot] = None

    @rule(which=st.integers(0, 2), trials=st.sampled_from(["", "", "0", "1", "2", "01", "12"]))
    def drop(self, which, trials):
        sweep, dropped = self.sweeps[which % len(self.sweeps)], [TRIALS[int(digit)] for digit in trials]
        row = self.reader.sweep(sweep)
        alive = lambda name: locks.is_alive(folder_of(self.path), name)
        with contextlib.suppress(JsweepError):
            _, outdated = self.reader.drop(sweep, dropped or None, alive)
            for file in {checkpoint.file for checkpoint in outdated} - self.reader.checkpoint_files():
                (folder_of(self.path) / file).unlink(missing_ok=True)
            gone = {(row.key, trial) for trial in dropped or TRIALS}
            for trial in gone:
                self.finished.pop(trial, None)
            for process, _ in filter(None, self.running):
                assert process.found_dead or not process.holds & gone, "nothing lost: dropped while it was trained"
                process.dropped |= gone

    def slot(self, which):
        """One of the slots in which a process runs."""
        taken = [slot for slot in range(3) if self.running[slot]]
        return taken[which % len(taken)]

    def step(self, slot):
        if self.running[slot] is None:
            return
        process, work = self.running[slot]
        counts["transactions"] += 1
        try:
            next(work)
        except StopIteration:
            process.end()
            self.running[slot] = None
        except ERRORS:
            assert process.found_dead, "nothing stuck: an error without a cause"
            process.end()
            self.running[slot] = None
        self.looks += process.evaluated
        process.evaluated = []

    # -- what must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_finished_is_whole(self):
        for row in self.reader.sweeps():
            states, trials = self.reader.states(row.key), self.reader.trials(row.key)
            scores, saved = self.reader.scores(row.key, METRIC), self.reader.checkpoints(row.key)
            assert self.reader.damaged(row.key) == [], "finished is whole: the digest of a trial"
            for trial in trials:
                curve, before = dict(scores.get(trial.key, [])), self.finished.get((row.key, trial.id))
                for step, value in curve.items():
                    right = value_of(state_at(row.name, trial.id, step, trial.steps))
                    assert value == right, f"one answer: {row.name} {trial.id} at {step}"
                if before is not None:
                    assert trial.status in ENDED, f"nothing lost: {row.name} {trial.id} is {trial.status}"
                    assert trial.steps >= before[0], f"nothing lost: {trial.id} has {trial.steps} steps"
                    assert curve.items() >= before[1].items(), f"nothing lost: scores of {trial.id}"
                if trial.status in ENDED:
                    due = {*range(EVERY, trial.steps + 1, EVERY), trial.steps}
                    assert due <= curve.keys(), f"finished is whole: {trial.id} lacks {due - curve.keys()}"
                    assert trial.done == trial.steps, f"finished is whole: {trial.id} at {trial.done}"
                    assert states[trial.id].own.owner is None, f"finished is whole: {trial.id} has an owner"
                    self.finished[row.key, trial.id] = (trial.steps, curve)
                state = states[trial.id]
                if state.open.status == "running":
                    resumable = [
                        resumes_from(c.step, state.recorded, state.open.steps, EVERY)
                        for c in saved
                        if trial.id in c.members
                    ]
                    assert any(resumable), f"nothing lost: the checkpoint of {trial.id}"
                extension = state.extension
                assert extension is None or (trial.status in ENDED and extension.status not in ENDED)
        known = {(row.key, trial.id) for row in self.reader.sweeps() for trial in self.reader.trials(row.key)}
        assert self.finished.keys() <= known, "nothing lost: a trial is gone"

    @invariant()
    def nothing_is_doubled(self):
        seen = set()
        for process, _ in filter(None, self.running):
            if not process.found_dead:
                assert not seen & process.holds, "nothing doubled: two living processes hold a trial"
                seen |= process.holds

    @invariant()
    def checkpoints_are_there(self):
        for row in self.reader.sweeps():
            for saved in self.reader.checkpoints(row.key):
                found = read_checkpoint(folder_of(self.path), saved)
                assert found is not None, "nothing lost: a checkpoint that the record names"

    @invariant()
    def settings_grow(self):
        for row in self.reader.sweeps():
            before, now = self.sizes.get(row.key, {}), row.settings.get("sizes", {})
            assert before.items() <= now.items(), f"settings grow: {before} became {now}"
            self.sizes[row.key] = now

    @invariant()
    def the_ledger_comes_first_and_there_is_one_look(self):
        entries = self.reader.tests("split")
        for look in self.looks:
            assert look in {entry.look for entry in entries}, "ledger first: a look that was not entered"
        for entry in entries[1:]:
            assert entry.again, "one look: a second one that does not say again"

    # -- the end ------------------------------------------------------------------------------------------------------------

    def teardown(self):
        try:
            for _ in range(MOST_STEPS):
                for slot in range(3):
                    self.step(slot)
            assert not any(self.running), "nothing stuck: a run does not end"
            for sweep in self.sweeps:
                self.finish_alone(sweep)
            self.nothing_is_lost_and_finished_is_whole()
            self.checkpoints_are_there()
        finally:
            for process, _ in filter(None, self.running):
                process.die()
            self.reader.close()
            self.scratch.cleanup()

    def finish_alone(self, sweep):
        """One run that is left alone ends every trial."""
        row = self.reader.sweep(sweep)
        known = [] if row is None or sweep != READS_LENGTH else self.reader.trials(row.key)
        lengths = dict.fromkeys(TRIALS, LONGEST) | {t.id: t.steps for t in known if t.status in ENDED}
        process = Process(self.path)
        self.running[0] = (process, process.run(sweep, lengths, keeps=False, broken=False))
        for _ in range(MOST_STEPS):
            self.step(0)
        assert self.running[0] is None, "nothing stuck: a run that is left alone does not end"
        trials = self.reader.trials(self.reader.sweep(sweep).key)
        assert all(trial.status in ENDED and trial.steps == lengths[trial.id] for trial in trials), (
            f"nothing stuck: {trials}"
        )
        left = list(folder_of(self.path).glob("*")) if folder_of(self.path).exists() else []
        named = {c.file for row in self.reader.sweeps() for c in self.reader.checkpoints(row.key)}
        assert {path.name for path in left} <= named, f"files are left over: {left}"


def explore(paths, seed=0):
    """Explore as many paths; raises what is found. The same seed gives the same paths."""
    import hypothesis

    chosen = settings(
        max_examples=paths,
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    warnings.simplefilter("ignore")
    run_state_machine_as_test(hypothesis.seed(seed)(Record), settings=chosen)


def find_faults(paths, chosen):
    """Put back each fault whose name begins as one of ``chosen`` (none: all) and explore; how many are not found."""
    missed = 0
    for name, put_back in FAULTS.items():
        if chosen and not name.startswith(tuple(chosen)):
            continue
        with put_back():
            try:
                explore(paths)
            except AssertionError as error:
                print(f"found: {name} ({str(error).splitlines()[0]})", flush=True)
            else:
                missed += 1
                print(f"NOT FOUND: {name}", flush=True)
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--put-back-faults", nargs="*", metavar="NAME", help="all of them, or those whose names begin so"
    )
    given = parser.parse_args()
    if given.put_back_faults is not None:
        sys.exit(find_faults(given.paths, given.put_back_faults))
    begun = time.monotonic()
    explore(given.paths, given.seed)
    print(
        f"{counts['paths']} paths of {counts['transactions']} transactions with {counts['kills']} kills: every invariant held "
        f"({time.monotonic() - begun:.0f} s)"
    )


if __name__ == "__main__":
    main()
