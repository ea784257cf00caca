"""Faults that the record once had, or nearly: each as a context in which it is there again."""

import contextlib
from unittest.mock import patch

import simulated

from jsweep.storage import ledger, locks, recording, schema, standing, transitions
from jsweep.storage.rows import OPENING_COLUMNS, dump, opening_to_row
from jsweep.storage.sqlite import Store
from jsweep.storage.standing import ENDED, Standing

add_trials, claim, fail, record = Store.add_trials, transitions.claim, transitions.fail, recording.record
reserve, complete, drop = ledger.reserve, ledger.complete, Store.drop
record_segment = Store.record_segment


def lengthen(where):
    """At its start a run gives all its trials the steps that it wants, whoever trains them."""

    def add(self, sweep, trials):
        add_trials(self, sweep, trials)
        with self._transaction():
            for t in trials:
                self._db.execute(
                    "UPDATE trials SET steps = ?, status = CASE WHEN status = 'finished' THEN 'running' ELSE status END "
                    f"WHERE sweep = ? AND id = ? AND steps < ? AND {where}",
                    (t.steps, sweep, t.id, t.steps),
                )

    return lambda: patch.object(Store, "add_trials", add)


@contextlib.contextmanager
def finished_as_remembered():
    """A trial finishes where the process that trains it thinks that it ends; others may have given it more steps."""

    def remembered(db, keys, scores, *rest):
        entered, ended = record(db, keys, scores, *rest)
        for trial in entered.intersection(scores.ended):
            db.execute("UPDATE trials SET status = 'finished', owner = NULL WHERE key = ?", (keys[trial],))
        return entered, ended

    with lengthen("status != 'finished'")(), patch.object(recording, "record", remembered):
        yield


def failures_of_whoever():
    """A run marks what it cannot trace as failed, whether or not it has finished or another process trains it."""

    def add(self, sweep, trials):
        add_trials(self, sweep, trials)
        with self._transaction():
            broken = (sweep, simulated.BROKEN)
            self._db.execute("UPDATE trials SET status = 'failed' WHERE sweep = ? AND id = ?", broken)

    return patch.object(Store, "add_trials", add)


def settings_written_back():
    """Settings are read, changed and written back whole, whatever others have written meanwhile."""

    def whole(self, known, merge):
        with self._transaction():
            self._db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (dump(merge(known.settings)), known.key))
            return self.sweep(known.name)

    return patch.object(Store, "merge_settings", whole)


def ledger_read_before():
    """The ledger is read before the look and entered after it: what is reserved is not seen by others."""

    def unseen(db, asked, owner, again, alive):
        seen = [entry for entry in ledger.entries(db, asked.data) if entry.complete]
        for entry in seen:
            if entry.look == asked.look:
                return ledger.Reservation(ledger.Reply.ANSWERED, entry)
        if seen and not again:
            return ledger.Reservation(ledger.Reply.REFUSED, seen[0])
        values = opening_to_row(asked, owner, again=bool(seen))
        names, marks = OPENING_COLUMNS.removeprefix("id, "), ", ".join("?" * len(values))
        (key,) = db.execute(f"INSERT INTO tests ({names}) VALUES ({marks}) RETURNING id", values).fetchone()
        entry = next(entry for entry in ledger.entries(db, asked.data) if entry.key == key)
        return ledger.Reservation(ledger.Reply.RESERVED, entry)

    return patch.object(ledger, "reserve", unseen)


@contextlib.contextmanager
def looked_before_the_ledger():
    """A look is entered when its scores are there."""
    really_open = ledger.open_look

    def late(db, key, owner, scores, seeds):
        really_open(db, key, owner)
        return complete(db, key, owner, scores, seeds)

    with patch.object(ledger, "open_look", lambda *_: None), patch.object(ledger, "complete", late):
        yield


def ledger_dropped():
    """The ledger is a sweep's, and dropped with it."""

    def dropping(self, name, trials, alive):
        found = drop(self, name, trials, alive)
        if trials is None:
            with self._transaction():
                self._db.execute("DELETE FROM tests WHERE sweep = ?", (name,))
        return found

    return patch.object(Store, "drop", dropping)


def living_taken_for_dead():
    """A process that cannot be looked at, or looks through another path, is taken for dead."""
    return patch.object(locks, "is_alive", lambda folder, name: False)


@contextlib.contextmanager
def recorded_by_whoever():
    """Whoever has trained a segment records it, although the trial was dropped or belongs to another process."""

    def any_owner(db, keys, scores, owner, *rest):
        select = "SELECT owners.name FROM trials JOIN owners ON owners.id = owner WHERE key = ?"
        found = (set(), [])
        for place, trial in enumerate(scores.trials):
            (its,) = db.execute(select, (keys.get(trial),)).fetchone() or (owner,)
            entered, ended = record(db, keys, scores.only([place]), its, *rest)
            found = (found[0] | entered, found[1] + ended)
        return found

    with patch.object(recording, "record", any_owner), recorded_by_the_dead():
        yield


def recorded_by_the_dead():
    """A process records although its lock file was removed, and with it perhaps the files that it names."""

    def dead_or_alive(self, *arguments):
        return record_segment(self, *arguments[:7])

    return patch.object(Store, "record_segment", dead_or_alive)


def dropped_while_trained():
    """Trials may be dropped while a living process trains them, which goes on with them."""

    def dropping(self, name, trials, alive):
        return drop(self, name, trials, lambda _: False)

    return patch.object(Store, "drop", dropping)


def dropped_trials_are_stuck():
    """A run waits for trials that have been dropped."""

    def waiting(state, *rest):
        return Standing.HELD if state is None else standing.standing(state, *rest)

    return patch("jsweep.runner.claims.standing", waiting)


def claimed_as_remembered():
    """A trial is claimed by what was read before: of two processes both get it."""

    def remembered(db, sweep, wanted, owner, environment, alive, seen):
        return claim(db, sweep, wanted, owner, environment, lambda _: False, seen)

    return patch.object(transitions, "claim", remembered)


def untouched_as_remembered():
    """A trial that was untouched when a process looked is claimed whatever has become of it."""
    return patch.object(transitions, "UNTOUCHED", "1")


def checkpoints_beyond_the_record():
    """A trial resumes from a tile's checkpoint that lies beyond its own scores."""
    return patch.multiple("simulated", resumes_from=lambda step, recorded, end, every: step <= end)


def checkpoints_of_another_length():
    """A trial that begins again as another one keeps the checkpoints of the one before."""

    def keeping(db, sweep, states):
        for state in states.values():
            db.execute("DELETE FROM scores WHERE trial = ?", (state.open.key,))
            db.execute("UPDATE trials SET done = 0, status = 'waiting' WHERE key = ?", (state.open.key,))

    return patch.object(transitions, "_begin_again", keeping)


def never_begun_again():
    """A trial of which more is recorded than is wanted goes on from there."""
    return patch.object(transitions, "begins_again", lambda state, wanted: False)


def tidied_beside_others():
    """Files that no row names are removed although another process is about to name them."""
    return patch("simulated.owner_of", lambda name: "0" * 32)  # as if they were of a dead one


def extensions_tidied_away():
    """A tile's checkpoints are forgotten when its trials have finished once, although they are trained on."""
    return patch.object(standing.TrialState, "idle", property(lambda self: self.own.status in ENDED))


def extension_finishes_beside():
    """An extension that has ended is not put in the place of the finished trial."""
    return patch.object(recording, "_replace", lambda *_: None)


def numbers_used_again():
    """The number of a dropped sweep is given to the next one, while a process still holds it."""
    tables = schema.TABLES.replace(" AUTOINCREMENT", "")
    return patch.multiple("jsweep.storage.connection", TABLES=tables, why_not=lambda _: None)


@contextlib.contextmanager
def fixed_lengths_extended():
    """A trial whose task reads its length is extended all the same."""

    def unfixed(state, wanted, *rest):
        return standing.standing(state, standing.Wanted(wanted.steps, False, wanted.retry), *rest)

    with patch("jsweep.storage.transitions.standing", unfixed), patch("jsweep.runner.claims.standing", unfixed):
        yield


FAULTS = {
    "more steps make finished trials running ones": lengthen("1"),
    "trials finish as remembered": finished_as_remembered,
    "failures touch finished trials": failures_of_whoever,
    "settings are written back whole": settings_written_back,
    "the ledger is read before and entered after": ledger_read_before,
    "a look comes before its entry": looked_before_the_ledger,
    "the ledger is dropped with its sweep": ledger_dropped,
    "the living are taken for dead": living_taken_for_dead,
    "whoever trained it records it": recorded_by_whoever,
    "the dead record": recorded_by_the_dead,
    "trials are dropped while they are trained": dropped_while_trained,
    "dropped trials are waited for": dropped_trials_are_stuck,
    "trials are claimed as remembered": claimed_as_remembered,
    "trials stay untouched as remembered": untouched_as_remembered,
    "checkpoints beyond the record are used": checkpoints_beyond_the_record,
    "checkpoints of another length are used": checkpoints_of_another_length,
    "nothing begins again": never_begun_again,
    "files are tidied beside others": tidied_beside_others,
    "checkpoints of extensions are tidied away": extensions_tidied_away,
    "an extension that has ended stays beside": extension_finishes_beside,
    "numbers of sweeps are used again": numbers_used_again,
    "trials of a fixed length are extended": fixed_lengths_extended,
}
