"""Records joined into one: what `jsweep.merge` does, one transaction a record."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jsweep.errors import ConfigError, StoreError
from jsweep.storage.checkpoints import owner_of
from jsweep.storage.locks import is_alive
from jsweep.storage.paths import resolve
from jsweep.storage.reader import COUNTS
from jsweep.storage.records import SweepRecord
from jsweep.storage.rows import dump, load_object
from jsweep.storage.sqlite import Store, open_store

_ROW = "id, extension, config_id, config, seed, steps, done, status, nonfinite, reason, traceback, digest"
_OF_PROCESSES = ("seconds", "merged_seconds", "stop_requests")  # settings counted anew, or of running processes
_ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Merged:
    """What `merge` has taken over, and how many trials were in the record already."""

    sweeps: int
    trials: int
    scores: int
    checkpoints: int
    known: int

    def __str__(self) -> str:
        taken = f"{self.sweeps} sweeps, {self.trials} trials, {self.scores} scores, {self.checkpoints} checkpoints"
        return f"took over {taken}; {self.known} trials were there already"


def merge(store: str | os.PathLike[str], parts: Sequence[str | os.PathLike[str]]) -> Merged:
    """Join records, such as those of shards, into one; the parts stay as they are.

    Sweeps of one name become one, where they are the same sweep. A trial that two records have must have the same scores to
    the bit; of one that has not ended, what is furthest is kept, with its checkpoints. One that a record has trained for more
    steps is kept where it has all scores of the shorter one, the same to the bit. The test ledgers are joined, too. Each part
    is one transaction, so that an interrupted merge is simply run again.

    Args:
        store: The record that takes the others in; created if it does not exist.
        parts: The records to take in.

    Returns:
        What was taken over.

    Raises:
        ConfigError: If there are no parts, or one of them is ``store`` itself.
        StoreError: If a record cannot be read, is damaged, or is being written by a running process; if two have different
            sweeps of one name, or a trial with different scores. Of such a part nothing is taken over.
    """
    out = resolve(store)
    files = [resolve(part) for part in parts]
    if out is None or not files or None in files or out in files:
        raise ConfigError(
            f"parts={[str(part) for part in parts]!r} cannot be merged into {str(store)!r}: pass the files of one or more "
            "other records."
        )
    counts = [0, 0, 0, 0, 0]
    with open_store(store) as into:
        _check_idle(into)
        for part in parts:
            with open_store(part, write=False) as opened:
                _check_part(opened)
                found = into.take_in(opened, partial(_take_in, into, opened))
                counts = [a + b for a, b in zip(counts, found, strict=True)]
    return Merged(*counts)


def _check_part(part: Store) -> None:
    """StoreError where a record is damaged, or a running process writes to it."""
    faults = part.faults()
    if faults:
        raise StoreError(f"store={part.path!r} is damaged ({faults[0]}): restore it from a copy, or leave it out.")
    _check_idle(part)
    for sweep in part.sweeps():
        damaged = part.damaged(sweep.key)
        if damaged:
            raise StoreError(
                f"trial {damaged[0]} of {sweep.name!r} in {part.path!r} is not what was recorded when it ended: restore the "
                "record from a copy, or drop that trial."
            )


def _check_idle(store: Store) -> None:
    """StoreError where a running process trains a sweep of a record: its checkpoints come and go."""
    for owner, name in store.owners().items():
        if is_alive(store.folder, owner):
            raise StoreError(f"a process trains {name!r} in {store.path!r} now: merge when that has ended.")


def _take_in(into: Store, part: Store, db: sqlite3.Connection) -> tuple[int, ...]:
    """Take in a record that is attached as ``part``; the counts of `Merged`."""
    db.execute("INSERT OR IGNORE INTO metrics (name) SELECT name FROM part.metrics")
    db.execute("INSERT OR IGNORE INTO environments (described) SELECT described FROM part.environments")
    db.execute("INSERT OR IGNORE INTO programs (digest, width) SELECT digest, width FROM part.programs")
    db.execute("CREATE TEMP TABLE IF NOT EXISTS taken (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    _take_ledger(db)
    counts = (0, 0, 0, 0, 0)
    for sweep in part.sweeps():
        found = _take_sweep(db, into, part, sweep)
        counts = tuple(a + b for a, b in zip(counts, found, strict=True))
    return counts


def _take_sweep(db: sqlite3.Connection, into: Store, part: Store, sweep: SweepRecord) -> tuple[int, ...]:
    known = into.sweep(sweep.name)
    if known is None:
        settings = {name: value for name, value in sweep.settings.items() if name not in _OF_PROCESSES}
        place = db.execute(
            "INSERT INTO sweeps (name, task, identity, settings, created) VALUES (?, ?, ?, ?, ?)",
            (sweep.name, sweep.task, dump(sweep.identity), dump(settings), sweep.created),
        ).lastrowid
        assert place is not None
    else:
        _check_same(into, part, known, sweep)
        place = known.key
    _add_seconds(db, place, sweep)
    _take_batches(db, into, part, place, sweep)
    replaced = _duplicates(db, into, part, place, sweep)
    total = db.execute("SELECT COUNT(*) FROM part.trials WHERE sweep = ?", (sweep.key,)).fetchone()[0]
    trials = _take_trials(db, place, sweep.key)
    scores = db.execute(
        "INSERT INTO scores SELECT taken.new, mine.id, given.step, given.value FROM part.scores given "
        "JOIN taken ON taken.old = given.trial JOIN part.metrics named ON named.id = given.metric "
        "JOIN metrics mine ON mine.name = named.name"
    ).rowcount
    checkpoints = _take_checkpoints(db, into, part, place, sweep.key)
    return int(known is None), trials - replaced, scores, checkpoints, total - trials + replaced


def _check_same(into: Store, part: Store, known: SweepRecord, sweep: SweepRecord) -> None:
    settled = [
        (row.task, row.identity, {name: value for name, value in row.settings.items() if name not in COUNTS})
        for row in (known, sweep)
    ]
    if known.settings.get("copies") != sweep.settings.get("copies"):
        raise StoreError(
            f"the population of {sweep.name!r} went another way in {part.path!r} than in {into.path!r}: keep one of them."
        )
    if settled[0] != settled[1]:
        names = sorted(
            name
            for mine, its in zip(settled[0][1:], settled[1][1:], strict=True)
            for name in mine.keys() | its.keys()
            if mine.get(name) != its.get(name)
        )
        raise StoreError(
            f"{part.path!r} has another sweep {sweep.name!r} than {into.path!r} ({', '.join(names) or 'task'} differ): shards "
            "are run from one file with the same options; merge other sweeps under names of their own."
        )


def _add_seconds(db: sqlite3.Connection, place: int, sweep: SweepRecord) -> None:
    """Add the seconds that a sweep was trained for in a part: where it is merged again, those that came since."""
    first = db.execute("SELECT id FROM part.trials WHERE sweep = ? ORDER BY key LIMIT 1", (sweep.key,)).fetchone()
    origin = dump([sweep.created, first and first[0]])
    (text,) = db.execute("SELECT settings FROM sweeps WHERE id = ?", (place,)).fetchone()
    settings = load_object(text)
    merged = settings.get("merged_seconds", {})
    seconds = float(sweep.settings.get("seconds", 0.0))
    settings["seconds"] = settings.get("seconds", 0.0) + max(seconds - merged.get(origin, 0.0), 0.0)
    settings["merged_seconds"] = {**merged, origin: seconds}
    db.execute("UPDATE sweeps SET settings = ? WHERE id = ?", (dump(settings), place))


def _take_batches(db: sqlite3.Connection, into: Store, part: Store, place: int, sweep: SweepRecord) -> None:
    """Take over what a search has proposed; of two records one must hold the beginning of the other."""
    mine, its = (
        dict(db.execute(f"SELECT number, configs || COALESCE(told, '') FROM {schema}batches WHERE sweep = ?", (key,)))
        for schema, key in (("", place), ("part.", sweep.key))
    )
    if any(mine[number] != its[number] for number in mine.keys() & its.keys()):
        raise StoreError(
            f"the search of {sweep.name!r} went another way in {part.path!r} than in {into.path!r}: keep one of them."
        )
    db.execute(
        "INSERT OR IGNORE INTO batches SELECT ?, number, configs, told FROM part.batches WHERE sweep = ?",
        (place, sweep.key),
    )


def _duplicates(db: sqlite3.Connection, into: Store, part: Store, place: int, sweep: SweepRecord) -> int:
    """Remove trials of which the part has more, to be taken over with the rest; how many there were."""
    rows = db.execute(
        "SELECT mine.id, mine.key, mine.status, mine.digest, mine.done, its.key, its.status, its.digest, its.done "
        "FROM part.trials its JOIN trials mine ON mine.sweep = ? AND mine.id = its.id AND mine.extension = its.extension "
        "WHERE its.sweep = ?",
        (place, sweep.key),
    ).fetchall()
    replaced = []
    for trial, key, status, digest, done, its_key, its_status, its_digest, its_done in rows:
        if status in _ENDED and its_status in _ENDED:
            if digest != its_digest and not _is_continued(db, key, its_key):
                raise StoreError(
                    f"trial {trial} of {sweep.name!r} has other scores in {part.path!r} than in {into.path!r}: drop it from one "
                    "of them."
                )
            if digest != its_digest and its_done > done:
                replaced.append((key,))
        elif status not in _ENDED and (its_status in _ENDED or its_done > done):
            replaced.append((key,))
    db.executemany("DELETE FROM scores WHERE trial = ?", replaced)
    db.executemany("DELETE FROM trials WHERE key = ?", replaced)
    return len(replaced)


_LACKING = """
    SELECT EXISTS (
        SELECT 1 FROM {short}.scores given JOIN {short}.metrics named ON named.id = given.metric WHERE given.trial = ?
        AND NOT EXISTS (
            SELECT 1 FROM {long}.scores kept JOIN {long}.metrics called ON called.id = kept.metric
            WHERE kept.trial = ? AND kept.step = given.step AND called.name = named.name AND kept.value IS given.value
        )
    )
"""


def _is_continued(db: sqlite3.Connection, key: int, its_key: int) -> bool:
    """Whether one of two finished trials is the other trained for more steps by the same program: it has all its scores.

    One that is on its way to more steps has to come to its end first.
    """
    described = [
        db.execute(
            f"SELECT done, nonfinite, (SELECT digest FROM {schema}.programs WHERE id = program), status, "
            f"EXISTS (SELECT 1 FROM {schema}.trials open WHERE open.sweep = own.sweep "
            f"AND open.id = own.id AND open.extension = 1) FROM {schema}.trials own WHERE own.key = ?",
            (own,),
        ).fetchone()
        for schema, own in (("main", key), ("part", its_key))
    ]
    mine_is_short = described[0][0] < described[1][0]
    (short, bad, *alike), (_, later_bad, *also_alike) = described if mine_is_short else reversed(described)
    if alike != also_alike or alike[1:] != ["finished", 0]:
        return False
    if bad != (later_bad if later_bad is not None and later_bad <= short else None):
        return False
    schemas, keys = (("main", "part"), (key, its_key)) if mine_is_short else (("part", "main"), (its_key, key))
    return not db.execute(_LACKING.format(short=schemas[0], long=schemas[1]), keys).fetchone()[0]


def _take_trials(db: sqlite3.Connection, place: int, sweep: int) -> int:
    """Take over the trials that are not there, and note their keys in the table ``taken``."""
    db.execute("DELETE FROM taken")
    count = db.execute(
        f"INSERT OR IGNORE INTO trials (sweep, environment, program, {_ROW}) "
        "SELECT ?, (SELECT mine.id FROM environments mine JOIN part.environments its ON its.described = mine.described "
        "WHERE its.id = given.environment), (SELECT mine.id FROM programs mine JOIN part.programs its "
        f"USING (digest, width) WHERE its.id = given.program), {_ROW} FROM part.trials given WHERE sweep = ? "
        "AND NOT EXISTS (SELECT 1 FROM trials mine WHERE mine.sweep = ? AND mine.id = given.id "
        "AND mine.extension = given.extension)",
        (place, sweep, place),
    ).rowcount
    (first,) = db.execute("SELECT COALESCE(MAX(key), 0) FROM trials").fetchone()
    db.execute(
        "INSERT INTO taken SELECT its.key, mine.key FROM part.trials its JOIN trials mine ON mine.sweep = ? "
        "AND mine.id = its.id AND mine.extension = its.extension WHERE its.sweep = ? AND mine.key > ?",
        (place, sweep, first - count),
    )
    return count


def _take_checkpoints(db: sqlite3.Connection, into: Store, part: Store, place: int, sweep: int) -> int:
    """Copy checkpoint files, and then name them; a merge that is killed between leaves files that are tidied away."""
    rows = db.execute(
        "SELECT tile, step, file, sha256, trials, finished FROM part.checkpoints WHERE sweep = ?", (sweep,)
    ).fetchall()
    for file in {str(row[2]) for row in rows}:
        if owner_of(file) is not None and (part.folder / file).is_file():
            into.folder.mkdir(exist_ok=True)
            _copy(part.folder / file, into.folder / file)
    before = db.total_changes
    db.executemany("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", ((place, *row) for row in rows))
    return db.total_changes - before


def _copy(source: Path, target: Path) -> None:
    """Copy a file whose name is used once, so that one that is there is the same."""
    if target.exists():
        return
    temporary = target.with_suffix(".part")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise StoreError(
            f"the checkpoint {str(source)!r} could not be copied to {str(target)!r} ({error.strerror or error}): free some "
            "space, or make the folder writable, and merge again."
        ) from error


def _take_ledger(db: sqlite3.Connection) -> None:
    """Take over looks at test splits that are not there; a look is the same where all of its entry is."""
    entry = "data, look, sweep, config_id, config, metric, mode, rule, at, step, seeds, again, opened, scores"
    same = " AND ".join(f"mine.{name} IS its.{name}" for name in entry.split(", "))
    db.execute(
        f"INSERT INTO tests ({entry}) SELECT {entry} FROM part.tests its WHERE opened IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM tests mine WHERE {same}) ORDER BY its.id"
    )
