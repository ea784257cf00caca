"""What becomes of a trial's rows: the parts of the transactions that docs/record.md lists, for `Store` to run in one each.

That of recording a segment is in `jsweep.storage.recording`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping

from jsweep.storage.queries import UNTOUCHED, change, marks, number_of, parts, read_states
from jsweep.storage.records import STOPPED_BY_USER, Checkpoint, Copy, Status, Stop
from jsweep.storage.rows import checkpoint_from_row, dump, load_object
from jsweep.storage.settings import checked_settings
from jsweep.storage.standing import ENDED, Standing, TrialState, Wanted, begins_again, standing

Alive = Callable[[str], bool]
"""Whether the process of that name is running."""


def claim(
    db: sqlite3.Connection,
    sweep: int,
    wanted: Mapping[str, Wanted],
    owner: str,
    environment: int,
    alive: Alive,
    seen: Mapping[str, int],
) -> dict[str, int]:
    """Make ``owner`` the owner of the free ones among trials; returns the keys of their open rows by id.

    A finished trial gets an extension. What its open row has recorded is forgotten where it is no part of what is wanted.
    ``seen`` are keys of trials that were untouched when somebody looked: where all of them still are, no more is asked.
    """
    if seen.keys() >= wanted.keys() and _claim_untouched(db, sweep, wanted, owner, environment, seen):
        return {trial: seen[trial] for trial in wanted}
    states = read_states(db, sweep, list(wanted))
    free = {
        trial: states[trial]
        for trial, want in wanted.items()
        if standing(states.get(trial), want, owner, alive) == Standing.FREE
    }
    begun = {trial: state for trial, state in free.items() if state.open.done}
    _begin_again(db, sweep, {trial: state for trial, state in begun.items() if begins_again(state, wanted[trial])})
    place, claimed = number_of(db, "owners", name=owner), {}
    lengths: dict[int, list[int]] = {}
    for trial, state in free.items():
        row, steps = state.open, wanted[trial].steps
        claimed[trial] = row.key
        if row.status in ENDED:
            claimed[trial] = db.execute(
                "INSERT INTO trials (sweep, id, config_id, config, seed, extension, steps, owner, environment) "
                "SELECT sweep, id, config_id, config, seed, 1, ?, ?, ? FROM trials WHERE key = ?",
                (steps, place, environment, row.key),
            ).lastrowid
        else:
            lengths.setdefault(steps, []).append(row.key)
    for steps, keys in lengths.items():
        change(db, keys, steps=steps, owner=place, environment=environment)
    return claimed


def _claim_untouched(
    db: sqlite3.Connection,
    sweep: int,
    wanted: Mapping[str, Wanted],
    owner: str,
    environment: int,
    keys: Mapping[str, int],
) -> bool:
    """Whether trials are untouched, all of which ``owner`` then has. If not, some of them may be its by now."""
    place, count = number_of(db, "owners", name=owner), 0
    alike: dict[int, list[int]] = {}
    for trial, want in wanted.items():
        alike.setdefault(want.steps, []).append(keys[trial])
    for steps, own in alike.items():
        for some in parts(own):
            count += db.execute(
                f"UPDATE trials SET steps = ?, owner = ?, environment = ? WHERE key IN {marks(1, len(some))} "
                f"AND +sweep = ? AND {UNTOUCHED}",
                (steps, place, environment, *some, sweep),
            ).rowcount
    return count == len(wanted)


def fail(
    db: sqlite3.Connection, states: Iterable[TrialState], owner: str | None, reason: str, traceback: str | None
) -> None:
    """Mark the open rows of ``owner`` that have not ended as failed. A finished trial is told why it goes no further."""
    for state in states:
        if state.open.owner == owner and state.open.status not in ENDED:
            db.execute("UPDATE trials SET status = 'failed', owner = NULL WHERE key = ?", (state.open.key,))
            db.execute(
                "UPDATE trials SET reason = ?, traceback = ? WHERE key IN (?, ?)",
                (reason, traceback, state.open.key, state.own.key),
            )


def stop(
    db: sqlite3.Connection, states: Mapping[str, TrialState], stops: Iterable[Stop], owner: str, alive: Alive
) -> list[int]:
    """Stop trials by a rule, but those that have ended or failed, or that a living process other than ``owner`` holds.

    Every process comes to the same stops, so what one may not enter its holder does. Returns the keys of those entered.
    """
    entered = []
    for each in stops:
        state = states.get(each.trial)
        if state is None or state.own.status in ENDED or state.own.status == Status.FAILED:
            continue
        if state.own.owner in (None, owner) or not alive(state.own.owner):
            db.execute(
                "UPDATE trials SET status = 'stopped', done = ?, reason = ?, owner = NULL WHERE key = ?",
                (each.step, each.reason, state.own.key),
            )
            entered.append(state.own.key)
    return entered


def stop_by_user(db: sqlite3.Connection, states: Iterable[TrialState]) -> list[int]:
    """Stop trials that have not ended where their record stands, whoever trains them; returns their keys."""
    entered = []
    for state in states:
        if state.own.status not in ENDED:
            reason = f"{STOPPED_BY_USER} at step {state.own.done}"
            db.execute(
                "UPDATE trials SET status = 'stopped', reason = ?, owner = NULL WHERE key = ?", (reason, state.own.key)
            )
            entered.append(state.own.key)
    return entered


def read_copies(db: sqlite3.Connection, sweep: int) -> list[Copy]:
    """Which configs of a sweep went on from copies of others, in the order of the steps."""
    row = db.execute("SELECT settings FROM sweeps WHERE id = ?", (sweep,)).fetchone()
    copies = [] if row is None else checked_settings(load_object(row[0])).get("copies", [])
    return sorted((Copy(*each) for each in copies), key=lambda copy: (copy.step, copy.config_id))


def copy(db: sqlite3.Connection, sweep: int, copies: Iterable[Copy]) -> None:
    """Enter copies. Those that are entered stand: every process comes to the same, and the first to enter one does it.

    A copied config has been finite so far if its source has.
    """
    known = {(each.step, each.config_id) for each in read_copies(db, sweep)}
    for each in copies:
        if (each.step, each.config_id) in known:
            continue
        db.execute(
            "UPDATE trials SET nonfinite = (SELECT nonfinite FROM trials AS source WHERE source.sweep = trials.sweep AND "
            "source.config_id = ? AND source.seed = trials.seed AND source.extension = 0) "
            "WHERE sweep = ? AND config_id = ? AND status IN ('waiting', 'running')",
            (each.source, sweep, each.config_id),
        )
        append(db, sweep, "copies", [each.step, each.config_id, each.source, dict(each.values)])


def append(db: sqlite3.Connection, sweep: int, name: str, value: object) -> None:
    """Put a value at the end of a list among a sweep's settings."""
    db.execute(
        f"UPDATE sweeps SET settings = json_set(settings, '$.{name}', json_insert("
        f"COALESCE(json_extract(settings, '$.{name}'), json('[]')), '$[#]', json(?))) WHERE id = ?",
        (dump(value), sweep),
    )


def release(db: sqlite3.Connection, owner: str) -> None:
    """Give up what ``owner`` holds; extensions of which nothing was trained were only wished for."""
    row = db.execute("SELECT id FROM owners WHERE name = ?", (owner,)).fetchone()
    if row is not None:
        db.execute("DELETE FROM trials WHERE owner = ? AND extension = 1 AND done = 0 AND status = 'waiting'", row)
        db.execute("UPDATE trials SET owner = NULL WHERE owner = ?", row)
        db.execute("DELETE FROM owners WHERE id = ?", row)


def drop(db: sqlite3.Connection, sweep: int, states: Mapping[str, TrialState]) -> list[Checkpoint]:
    """Remove trials and their scores, and take them out of checkpoints; returns those that were of no other trial."""
    for state in states.values():
        for row in (state.own, state.extension):
            if row is not None:
                _remove(db, row.key)
    return leave_checkpoints(db, sweep, dict.fromkeys(states, -1))


def leave_checkpoints(db: sqlite3.Connection, sweep: int, kept: Mapping[str, int]) -> list[Checkpoint]:
    """Take trials out of their checkpoints beyond the steps up to which these are ``kept``.

    The other trials of a tile keep theirs: the lane of one that is taken out is named "". Returns the checkpoints that were of
    no other trial, which are forgotten.
    """
    left = []
    for trial, done in kept.items():
        select = "SELECT tile, step, file, sha256, trials, finished FROM checkpoints WHERE sweep = ? AND tile = ? AND step > ?"
        left += map(checkpoint_from_row, db.execute(select, (sweep, trial, done)).fetchall())
    for row in unfinished_checkpoints(db, sweep):
        trials = ["" if row.step > kept.get(trial, row.step) else trial for trial in row.trials]
        if not any(trials):
            left.append(row)
        elif trials != list(row.trials):
            changed = (dump(trials), sweep, row.tile, row.step)
            db.execute("UPDATE checkpoints SET trials = ? WHERE sweep = ? AND tile = ? AND step = ?", changed)
    forget_checkpoints(db, sweep, left)
    return left


def unfinished_checkpoints(db: sqlite3.Connection, sweep: int) -> list[Checkpoint]:
    """The checkpoints of tiles that were still training."""
    # SQLite would rather go over all checkpoints of the sweep
    select = "SELECT tile, step, file, sha256, trials, finished FROM checkpoints INDEXED BY unfinished_checkpoints "
    select += "WHERE sweep = ? AND finished = 0"
    return [*map(checkpoint_from_row, db.execute(select, (sweep,)).fetchall())]


def forget_checkpoints(db: sqlite3.Connection, sweep: int, rows: Iterable[Checkpoint]) -> None:
    """Remove the rows of checkpoints, whose files may be removed afterwards if no other row names them."""
    places = ((sweep, row.tile, row.step) for row in rows)
    db.executemany("DELETE FROM checkpoints WHERE sweep = ? AND tile = ? AND step = ?", places)


def name_checkpoints(db: sqlite3.Connection, sweep: int, rows: Iterable[Checkpoint]) -> None:
    """Enter checkpoints whose files are written; of a trial's final states the last one is kept."""
    for row in rows:
        db.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
            (sweep, row.tile, row.step, row.file, row.sha256, dump(list(row.trials)), int(row.finished)),
        )
        if row.finished:
            earlier = (sweep, row.tile, row.step)
            db.execute("DELETE FROM checkpoints WHERE sweep = ? AND tile = ? AND finished = 1 AND step < ?", earlier)


def _begin_again(db: sqlite3.Connection, sweep: int, states: Mapping[str, TrialState]) -> None:
    """Forget what the open rows of trials have recorded, and its checkpoints beyond what is kept."""
    if not states:
        return
    kept = {trial: state.own.done if state.extension else 0 for trial, state in states.items()}
    for state in states.values():
        db.execute("DELETE FROM scores WHERE trial = ?", (state.open.key,))
        db.execute(
            "UPDATE trials SET done = 0, status = 'waiting', nonfinite = NULL, reason = NULL, traceback = NULL, "
            "program = NULL WHERE key = ?",
            (state.open.key,),
        )
    leave_checkpoints(db, sweep, kept)


def _remove(db: sqlite3.Connection, key: int) -> None:
    db.execute("DELETE FROM scores WHERE trial = ?", (key,))
    db.execute("DELETE FROM trials WHERE key = ?", (key,))
