"""The test ledger: the parts of the transactions by which a look at a test split is entered before it happens.

See docs/record.md. An entry belongs to the record and is found by the hash of the test split, whichever sweep looks.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from jsweep.errors import StoreError
from jsweep.storage.records import TestOpening, now
from jsweep.storage.rows import OPENING_COLUMNS, dump, opening_from_row, opening_to_row, scores_to_text


class Reply(StrEnum):
    """What becomes of a request to look at a test split."""

    ANSWERED = "answered"
    RESERVED = "reserved"
    BUSY = "busy"
    REFUSED = "refused"


@dataclass(frozen=True)
class Reservation:
    """The reply to a request: the entry that answers it, is reserved, or stands in its way (None while that is busy)."""

    reply: Reply
    entry: TestOpening | None = None


def entries(db: sqlite3.Connection, data: str) -> list[TestOpening]:
    """All entries of the test split with this hash, oldest first, the reserved ones included."""
    rows = db.execute(f"SELECT {OPENING_COLUMNS} FROM tests WHERE data = ? ORDER BY id", (data,)).fetchall()
    return [opening_from_row(row) for row in rows]


def reserve(
    db: sqlite3.Connection, asked: TestOpening, owner: str, again: bool, alive: Callable[[str], bool]
) -> Reservation:
    """Enter a look that is about to happen, unless the ledger answers it, or another look stands in its way.

    Args:
        db: the connection, in a transaction.
        asked: what is to be looked at, and how it was selected.
        owner: the name of the process that asks.
        again: whether to go on although another look was made.
        alive: whether the process of a name is running.
    """
    known = []
    for entry in entries(db, asked.data):
        if entry.opened is None and not (entry.owner and alive(entry.owner)):
            db.execute("DELETE FROM tests WHERE id = ?", (entry.key,))  # its process died before it looked
        else:
            known.append(entry)
    for entry in known:
        if entry.look == asked.look:
            if entry.complete:
                return Reservation(Reply.ANSWERED, entry)
            if entry.owner and alive(entry.owner):
                return Reservation(Reply.BUSY)
            db.execute("UPDATE tests SET owner = ? WHERE id = ?", (owner, entry.key))
            return Reservation(Reply.RESERVED, entry)
    if known and not again:
        return Reservation(Reply.REFUSED, known[0])
    values = opening_to_row(asked, owner, again=bool(known))
    marks = ", ".join("?" * len(values))
    names = OPENING_COLUMNS.removeprefix("id, ")
    (key,) = db.execute(f"INSERT INTO tests ({names}) VALUES ({marks}) RETURNING id", values).fetchone()
    return Reservation(Reply.RESERVED, next(entry for entry in entries(db, asked.data) if entry.key == key))


def withdraw(db: sqlite3.Connection, key: int, owner: str) -> None:
    """Give up a reservation; a look that has been opened stays."""
    db.execute("DELETE FROM tests WHERE id = ? AND owner = ? AND opened IS NULL", (key, owner))
    db.execute("UPDATE tests SET owner = NULL WHERE id = ? AND owner = ?", (key, owner))


def open_look(db: sqlite3.Connection, key: int, owner: str) -> None:
    """Enter that the split is evaluated now."""
    changed = db.execute(
        "UPDATE tests SET opened = COALESCE(opened, ?) WHERE id = ? AND owner = ?", (now(), key, owner)
    )
    _check_mine(changed.rowcount)


def complete(
    db: sqlite3.Connection, key: int, owner: str, scores: Mapping[str, Sequence[float]], seeds: Sequence[int]
) -> TestOpening:
    """Enter the scores of a look that was opened."""
    changed = db.execute(
        "UPDATE tests SET scores = ?, seeds = ?, owner = NULL WHERE id = ? AND owner = ? AND opened IS NOT NULL",
        (scores_to_text(scores), dump(list(seeds)), key, owner),
    )
    _check_mine(changed.rowcount)
    row = db.execute(f"SELECT {OPENING_COLUMNS} FROM tests WHERE id = ?", (key,)).fetchone()
    return opening_from_row(row)


def _check_mine(changed: int) -> None:
    if changed != 1:
        raise StoreError("this test was taken over by another process, as its lock file had been removed: ask again.")
