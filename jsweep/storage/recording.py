"""What becomes of trials' rows when a segment of them is recorded: a part of that transaction of docs/record.md."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jsweep.storage.digests import contents_of, digest_of
from jsweep.storage.queries import among, change, insert, marks, parts, programs, read_states
from jsweep.storage.records import Scores


def open_keys(db: sqlite3.Connection, sweep: int, ids: Sequence[str], claimed: Mapping[str, int]) -> dict[str, int]:
    """The keys of the open rows of trials by id; those that ``claimed`` has are not looked for. Some may be gone."""
    unknown = [trial for trial in ids if trial not in claimed]
    states = read_states(db, sweep, unknown) if unknown else {}
    return {trial: claimed[trial] for trial in ids if trial in claimed} | {t: s.open.key for t, s in states.items()}


def record(
    db: sqlite3.Connection,
    keys: Mapping[str, int],
    scores: Scores,
    owner: str | None,
    program: int,
    metric_id: Callable[[str], int],
) -> tuple[set[str], list[int]]:
    """Enter scores in rows of trials that are ``owner``'s and have not ended, and finish those that end.

    Args:
        db: the connection.
        keys: the keys of the trials' open rows, by id; those that have none are passed over.
        scores: their scores.
        owner: who trained them.
        program: the number of the program.
        metric_id: the number of a metric by its name.

    Returns:
        The ids of the trials whose scores are entered, and the keys of those that finished and have no digest yet.
    """
    at = {keys[trial]: place for place, trial in enumerate(scores.trials) if trial in keys}
    rows = [*among(db, _OPEN, [*at], owner)]
    entered, step = scores.only([at[row[0]] for row in rows]), scores.step
    _enter(db, [row[0] for row in rows], entered, metric_id)
    at_once: list[tuple[_Row, int]] = []
    rest: list[_Row] = []
    for place, row in enumerate(rows):
        _, steps, extension, done, *_ = row
        if step >= steps and not done and not extension:  # all that is recorded of it are these scores
            at_once.append((row, place))
        else:
            rest.append(row)
    _finish(db, at_once, entered, program)
    changed = {"done": step, "program": program, "reason": None, "traceback": None, "digest": bytes(8)}
    change(db, [key for key, steps, *_ in rest if step < steps], status="running", **changed)
    change(db, [key for key, steps, *_ in rest if step >= steps], status="finished", owner=None, **changed)
    first = zip(entered.nonfinite.tolist(), (row[0] for row in rows), strict=True)
    wrong = [(step, key) for step, key in first if step >= 0]
    db.executemany("UPDATE trials SET nonfinite = COALESCE(nonfinite, ?) WHERE key = ?", wrong)
    ended = [key for key, steps, extension, *_ in rest if step >= steps and not extension]
    for key, steps, extension, *_ in rest:
        if extension:
            ended += _go_on(db, key, ends=step >= steps)
    return {*entered.trials}, ended


_OPEN = (
    "SELECT key, steps, extension, done, nonfinite, id, config_id, config, seed FROM trials WHERE key IN {} "
    "AND status NOT IN ('finished', 'stopped') AND owner IS (SELECT id FROM owners WHERE name = ?)"
)
_Row = tuple[Any, ...]  # of `_OPEN`


def _enter(db: sqlite3.Connection, keys: Sequence[int], scores: Scores, metric_id: Callable[[str], int]) -> None:
    """Enter scores in rows with these keys."""
    if not keys or not scores.values:
        return
    metrics, count = [metric_id(name) for name in scores.values], len(keys)
    columns = (
        np.repeat(keys, len(metrics)).tolist(),
        metrics * count,
        [scores.step] * (len(metrics) * count),
        np.stack([*scores.values.values()], -1).ravel().tolist(),
    )
    insert(db, "INSERT OR REPLACE INTO scores (trial, metric, step, value)", columns)


def _finish(db: sqlite3.Connection, rows: Sequence[tuple[_Row, int]], scores: Scores, program: int) -> None:
    """Finish trials that end at once, each row with its place among the scores: its digest is known without reading it again."""
    if not rows:
        return
    contents, first = contents_of(scores), scores.nonfinite.tolist()
    described, digests = programs(db).get(program), {}
    for (key, steps, _, _, bad, trial, config_id, config, seed), place in rows:
        bad = first[place] if bad is None and first[place] >= 0 else bad
        digests[key] = digest_of(trial, config_id, config, seed, steps, scores.step, bad, described, contents[place])
    finish = (
        "UPDATE trials SET done = ?, status = 'finished', owner = NULL, program = ?, reason = NULL, traceback = NULL, "
    )
    finish += "digest = substr(?, 8 * (key - ?) + 1, 8) WHERE key IN "
    for near in _near(sorted(digests)):
        listed = b"".join(digests.get(key, bytes(8)) for key in range(near[0], near[-1] + 1))
        db.execute(finish + marks(1, len(near)), (scores.step, program, listed, near[0], *near))


def _near(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """Keys in ascending order, a few at a time and none of these far from another."""
    for some in parts(keys):
        yield from (list(near) for _, near in itertools.groupby(some, key=lambda key: key // _FAR))


_FAR = 4096  # keys apart, so that the digests of all between are a few pages


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
