"""What becomes of a trial's rows: the parts of the transactions that docs/record.md lists, for `Store` to run in one each."""

import math
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from jsweep.storage.records import STOPPED_BY_USER, Checkpoint, Copy, Score, Status, Stop
from jsweep.storage.rows import checkpoint_from_row, dump, load_object
from jsweep.storage.settings import checked_settings
from jsweep.storage.standing import ENDED, Row, Standing, TrialState, Wanted, begins_again, standing

T = TypeVar("T")
Alive = Callable[[str], bool]
"""Whether the process of that name is running."""

_STATUS = {str(status): status for status in Status}
MOST_PARAMETERS = 500  # ids in one query, which SQLite limits


def read_states(db: sqlite3.Connection, sweep: int, ids: Sequence[str] | None = None) -> dict[str, TrialState]:
    """The rows of trials by id (None: of all trials of the sweep); those that have none are left out."""
    owners = names(db, "owners", "name")
    widths = {number: width for number, (_, width) in programs(db).items()}
    found: dict[str, TrialState] = {}
    for trial, extension, key, status, steps, done, owner, program in _rows(db, sweep, ids):
        row = Row(int(key), _STATUS[status], int(steps), int(done), owners.get(owner), widths.get(program))
        found[trial] = TrialState(found[trial].own, row) if extension else TrialState(row)
    return found


OF_SWEEP = "key BETWEEN ? AND ? AND +sweep = ?"
"""The trials of a sweep, for the parameters of `span`: read in order of key, where the index would give them in disorder."""


def span(db: sqlite3.Connection, sweep: int) -> tuple[int, int, int]:
    """Between which keys the trials of a sweep are, with the sweep's key."""
    first, last = db.execute("SELECT MIN(key), MAX(key) FROM trials WHERE sweep = ?", (sweep,)).fetchone()
    return (0, -1, sweep) if first is None else (int(first), int(last), sweep)


def names(db: sqlite3.Connection, table: str, column: str) -> dict[int, str]:
    """The texts of a table of texts, by the numbers under which other tables have them."""
    return {int(number): str(text) for number, text in db.execute(f"SELECT id, {column} FROM {table}")}


def programs(db: sqlite3.Connection) -> dict[int, tuple[str, int]]:
    """The fingerprint of each tile program and the lanes of its tiles, by the number under which trials have it."""
    rows = db.execute("SELECT id, digest, width FROM programs")
    return {int(number): (str(digest), int(width)) for number, digest, width in rows}


def number_of(db: sqlite3.Connection, table: str, **columns: str | int) -> int:
    """The number of a row in a table of descriptions, which enters it if it is new."""
    marks, same = ", ".join("?" * len(columns)), " AND ".join(f"{name} = ?" for name in columns)
    described = tuple(columns.values())
    db.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", described)
    return int(db.execute(f"SELECT id FROM {table} WHERE {same}", described).fetchone()[0])


def among(db: sqlite3.Connection, query: str, keys: Sequence[int], *others: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of a query whose ``{}`` is a list of keys and comes before ``others``."""
    for some in _parts(keys):
        yield from db.execute(query.format(", ".join("?" * len(some))), (*some, *others)).fetchall()


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + MOST_PARAMETERS] for start in range(0, len(values), MOST_PARAMETERS))


def claim(
    db: sqlite3.Connection, sweep: int, wanted: Mapping[str, Wanted], owner: str, environment: int, alive: Alive
) -> dict[str, int]:
    """Make ``owner`` the owner of the free ones among trials; returns the keys of their open rows by id.

    A finished trial gets an extension. What its open row has recorded is forgotten where it is no part of what is wanted.
    """
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


def change(db: sqlite3.Connection, keys: Sequence[int], **columns: int | str | bytes | None) -> None:
    """Set columns of many trials to what is the same for all of them."""
    assigned = ", ".join(f"{name} = ?" for name in columns)
    for some in _parts(keys):
        marks = ", ".join("?" * len(some))
        db.execute(f"UPDATE trials SET {assigned} WHERE key IN ({marks})", (*columns.values(), *some))


def open_keys(db: sqlite3.Connection, sweep: int, ids: Sequence[str], claimed: Mapping[str, int]) -> dict[str, int]:
    """The keys of the open rows of trials by id; those that ``claimed`` has are not looked for. Some may be gone."""
    unknown = [trial for trial in ids if trial not in claimed]
    states = read_states(db, sweep, unknown) if unknown else {}
    return {trial: claimed[trial] for trial in ids if trial in claimed} | {t: s.open.key for t, s in states.items()}


def record(
    db: sqlite3.Connection,
    scores: Mapping[int, Score],
    owner: str | None,
    program: int,
    metric_id: Callable[[str], int],
) -> tuple[set[str], list[int]]:
    """Enter scores in rows of trials that are ``owner``'s and have not ended, and finish those that end.

    Args:
        db: the connection.
        scores: the metrics of one evaluation of each trial, by the key of its open row.
        owner: who trained them.
        program: the number of the program.
        metric_id: the number of a metric by its name.

    Returns:
        The ids of the trials whose scores are entered, and the keys of those that finished.
    """
    mine = [
        *among(
            db,
            "SELECT key, steps, extension FROM trials WHERE key IN ({}) AND status NOT IN ('finished', 'stopped') "
            "AND owner IS (SELECT id FROM owners WHERE name = ?)",
            [*scores],
            owner,
        )
    ]
    ids = {name: metric_id(name) for name in dict.fromkeys(name for score in scores.values() for name in score.metrics)}
    db.executemany(
        "INSERT OR REPLACE INTO scores (trial, metric, step, value) VALUES (?, ?, ?, ?)",
        [(key, ids[name], scores[key].step, value) for key, *_ in mine for name, value in scores[key].metrics.items()],
    )
    alike: dict[tuple[int, bool], list[int]] = {}
    for key, steps, _ in mine:
        alike.setdefault((scores[key].step, scores[key].step >= steps), []).append(key)
    trained = {"program": program, "reason": None, "traceback": None, "digest": bytes(8)}
    for (step, ends), keys in alike.items():
        outcome = {"status": "finished", "owner": None} if ends else {"status": "running"}
        change(db, keys, done=step, **trained, **outcome)
    wrong = [(at, key) for key, *_ in mine if (at := _first_nonfinite(scores[key])) is not None]
    db.executemany("UPDATE trials SET nonfinite = COALESCE(nonfinite, ?) WHERE key = ?", wrong)
    ended = [key for key, steps, extension in mine if scores[key].step >= steps and not extension]
    for key, steps, extension in mine:
        if extension:
            ended += _go_on(db, key, ends=scores[key].step >= steps)
    return {scores[key].trial for key, *_ in mine}, ended


def _first_nonfinite(score: Score) -> int | None:
    """The first step at which a metric was not finite: that of the score itself where one is not, and none was before."""
    if score.nonfinite is None and not all(map(math.isfinite, score.metrics.values())):
        return score.step
    return score.nonfinite


def _go_on(db: sqlite3.Connection, extension: int, ends: bool) -> list[int]:
    """Tell a finished trial that its extension goes on; the trial's key where that ``ends`` and takes its place."""
    own = db.execute(
        "SELECT own.key FROM trials extended JOIN trials own ON own.sweep = extended.sweep AND own.id = extended.id "
        "AND own.extension = 0 WHERE extended.key = ?",
        (extension,),
    ).fetchone()[0]
    change(db, [own], reason=None, traceback=None)
    if ends:
        _replace(db, own, extension)
    return [own] if ends else []


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


def _replace(db: sqlite3.Connection, own: int, extension: int) -> None:
    """Put an extension that has ended in the place of the finished trial: the scores it lacks are those before it."""
    db.execute("UPDATE OR REPLACE scores SET trial = ? WHERE trial = ?", (own, extension))
    db.execute(
        "UPDATE trials SET (steps, done, program, environment) = "
        "(SELECT steps, done, program, environment FROM trials WHERE key = ?), "
        "nonfinite = COALESCE(nonfinite, (SELECT nonfinite FROM trials WHERE key = ?)) WHERE key = ?",
        (extension, extension, own),
    )
    db.execute("DELETE FROM trials WHERE key = ?", (extension,))


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


def _rows(db: sqlite3.Connection, sweep: int, ids: Sequence[str] | None) -> Iterator[tuple[Any, ...]]:
    select = "SELECT id, extension, key, status, steps, done, owner, program FROM trials WHERE"
    if ids is None:
        rows = db.execute(f"{select} {OF_SWEEP} ORDER BY key", span(db, sweep)).fetchall()
        yield from sorted(rows, key=operator.itemgetter(1))  # extensions last, else in their order
        return
    for some in _parts(ids):
        marks = ", ".join("?" * len(some))
        yield from db.execute(
            f"{select} sweep = ? AND id IN ({marks}) ORDER BY extension, key", (sweep, *some)
        ).fetchall()
