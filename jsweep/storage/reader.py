"""Reading a store: sweeps, trials, scores, checkpoints, the ledger."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

from jsweep.storage import ledger
from jsweep.storage.connected import Connected, reads
from jsweep.storage.digests import digests
from jsweep.storage.finals import Finals, read_finals
from jsweep.storage.queries import OF_SWEEP, among, programs, read_states, span, untouched
from jsweep.storage.records import Batch, Checkpoint, Copy, Status, SweepRecord, TestOpening, Trial
from jsweep.storage.rows import (
    TRIAL_COLUMNS,
    batch_from_row,
    checkpoint_from_row,
    load_number,
    load_object,
    sweep_from_row,
    trial_from_row,
)
from jsweep.storage.settings import checked_settings
from jsweep.storage.standing import TrialState
from jsweep.storage.transitions import read_copies, unfinished_checkpoints

COUNTS = ("seconds", "merged_seconds", "stop_requests", "copies")  # settings on which no plan depends


class StoreReader(Connected):
    """An open store, for reading: the sweeps, trials, scores and checkpoints that it has, and the ledger."""

    @reads
    def sweeps(self) -> list[SweepRecord]:
        """All sweeps, oldest first."""
        rows = self._db.execute("SELECT id, name, task, identity, settings, created FROM sweeps ORDER BY id").fetchall()
        return [sweep_from_row(row) for row in rows]

    @reads
    def sweep(self, name: str) -> SweepRecord | None:
        """The sweep called ``name``, or None."""
        if not _is_text(name):
            return None
        row = self._db.execute(
            "SELECT id, name, task, identity, settings, created FROM sweeps WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else sweep_from_row(row)

    @reads
    def names(self) -> list[str]:
        """The names of all sweeps, oldest first."""
        return [str(name) for (name,) in self._db.execute("SELECT name FROM sweeps ORDER BY id")]

    @reads
    def trials(self, sweep: int) -> list[Trial]:
        """The trials of a sweep in the order in which they were added; what is recorded beyond their end does not count."""
        select = f"SELECT {TRIAL_COLUMNS} FROM trials WHERE {OF_SWEEP} AND extension = 0 ORDER BY key"
        rows = self._db.execute(select, span(self._db, sweep))
        known = programs(self._db)
        return [trial_from_row(row, known) for row in rows]  # one by one: the table may have many rows

    @reads
    def ids(self, sweep: int) -> list[str]:
        """The ids of the trials of a sweep, in the order in which they were added."""
        select = f"SELECT id FROM trials WHERE {OF_SWEEP} AND extension = 0 ORDER BY key"
        return [str(trial) for (trial,) in self._db.execute(select, span(self._db, sweep))]

    @reads
    def diverged(self, sweep: int) -> list[Trial]:
        """The trials of a sweep at whose end, or before it, something was not finite."""
        select = f"SELECT {TRIAL_COLUMNS} FROM trials WHERE {OF_SWEEP} AND extension = 0 AND nonfinite IS NOT NULL ORDER BY key"
        known = programs(self._db)
        return [trial_from_row(row, known) for row in self._db.execute(select, span(self._db, sweep))]

    @reads
    def states(self, sweep: int, ids: Sequence[str] | None = None) -> dict[str, TrialState]:
        """How trials stand, by id (None: all of the sweep); cheaper to read than `trials`."""
        return read_states(self._db, sweep, ids)

    @reads
    def untouched(self, sweep: int) -> dict[str, int]:
        """The keys of the trials, by id, of which nothing is recorded and which nobody holds."""
        return untouched(self._db, sweep)

    @reads
    def touched_states(self, sweep: int) -> dict[str, TrialState]:
        """As `states`, of all trials but those that are untouched."""
        return read_states(self._db, sweep, untouched=False)

    @reads
    def programs(self, sweep: int) -> set[str]:
        """The fingerprints of the programs that trials of a sweep were trained by."""
        select = (
            f"SELECT digest FROM programs WHERE id IN (SELECT program FROM trials WHERE {OF_SWEEP} AND extension = 0)"
        )
        return {str(digest) for (digest,) in self._db.execute(select, span(self._db, sweep))}

    @reads
    def program_of(self, sweep: int) -> dict[str, str]:
        """The fingerprint of the program that each trial was trained by, by id, where there is one."""
        known = programs(self._db)
        select = f"SELECT id, program FROM trials WHERE {OF_SWEEP} AND extension = 0 AND program IS NOT NULL"
        return {
            str(trial): known.get(program, ("",))[0]
            for trial, program in self._db.execute(select, span(self._db, sweep))
        }

    @reads
    def failed(self, sweep: int) -> set[str]:
        """The trials of a sweep that have failed, or failed on their way to more steps."""
        select = f"SELECT DISTINCT id FROM trials WHERE {OF_SWEEP} AND status = 'failed'"
        return {str(trial) for (trial,) in self._db.execute(select, span(self._db, sweep))}

    @reads
    def count_ended(self, sweep: int) -> int:
        """How many trials of a sweep have a result."""
        select = f"SELECT COUNT(*) FROM trials WHERE {OF_SWEEP} AND extension = 0 AND status IN ('finished', 'stopped')"
        return int(self._db.execute(select, span(self._db, sweep)).fetchone()[0])

    @reads
    def environments_of(self, sweep: int) -> set[int]:
        """The numbers of the environments that trials of a sweep were trained in."""
        select = f"SELECT DISTINCT environment FROM trials WHERE {OF_SWEEP} AND extension = 0 AND done > 0"
        return {int(number) for (number,) in self._db.execute(select, span(self._db, sweep)) if number is not None}

    @reads
    def has_trouble(self, sweep: int) -> bool:
        """Whether some trial has failed, diverged, or could not be trained further."""
        select = f"SELECT EXISTS (SELECT 1 FROM trials WHERE {OF_SWEEP} AND extension = 0 AND "
        select += "(status = 'failed' OR reason IS NOT NULL OR nonfinite IS NOT NULL))"
        return bool(self._db.execute(select, span(self._db, sweep)).fetchone()[0])

    @reads
    def trials_starting(self, sweep: int, start: str) -> list[Trial]:
        """The trials of a sweep whose ids begin with ``start``."""
        if not _is_text(start):
            return []
        rows = self._db.execute(
            f"SELECT {TRIAL_COLUMNS} FROM trials WHERE sweep = ? AND extension = 0 AND substr(id, 1, ?) = ? ORDER BY key",
            (sweep, len(start), start),
        )
        known = programs(self._db)
        return [trial_from_row(row, known) for row in rows]

    @reads
    def counts(self, sweep: int) -> dict[Status, int]:
        """How many trials of a sweep there are in each state."""
        select = f"SELECT status, COUNT(*) FROM trials WHERE {OF_SWEEP} AND extension = 0 GROUP BY status"
        return {Status(status): int(count) for status, count in self._db.execute(select, span(self._db, sweep))}

    @reads
    def metrics(self, sweep: int) -> list[str]:
        """The names of the metrics recorded for a sweep."""
        row = self._db.execute("SELECT settings FROM sweeps WHERE id = ?", (sweep,)).fetchone()
        return [] if row is None else [*checked_settings(load_object(row[0])).get("metrics", [])]

    @reads
    def copies(self, sweep: int) -> list[Copy]:
        """Which configs went on from copies of others, in the order of the steps."""
        return read_copies(self._db, sweep)

    @reads
    def scores(self, sweep: int, metric: str) -> dict[int, list[tuple[int, float]]]:
        """The (step, value) pairs of a metric by trial key, in order of step."""
        found: dict[int, list[tuple[int, float]]] = {}
        rows = self._db.execute(
            "SELECT scores.trial, scores.step, scores.value FROM metrics CROSS JOIN trials CROSS JOIN scores "
            "ON scores.trial = trials.key AND scores.metric = metrics.id "
            f"WHERE {OF_SWEEP} AND trials.extension = 0 AND metrics.name = ? ORDER BY scores.trial, scores.step",
            (*span(self._db, sweep), metric),
        )
        for trial, step, value in rows:
            found.setdefault(int(trial), []).append((int(step), load_number(value)))
        return found

    @reads
    def curves(self, trial: int) -> dict[str, list[tuple[int, float]]]:
        """The (step, value) pairs of the trial with this key, in order of step, by metric."""
        found: dict[str, list[tuple[int, float]]] = {}
        rows = self._db.execute(
            "SELECT metrics.name, step, value FROM scores JOIN metrics ON metrics.id = metric WHERE trial = ? "
            "ORDER BY metric, step",
            (trial,),
        )
        for metric, step, value in rows:
            found.setdefault(str(metric), []).append((int(step), load_number(value)))
        return found

    @reads
    def last_scores(self, sweep: int) -> dict[int, dict[str, float]]:
        """The metrics of each trial that finished or was stopped after its last step, by trial key; its curves are not read."""
        found: dict[int, dict[str, float]] = {}
        rows = self._db.execute(
            "SELECT scores.trial, metrics.name, scores.value FROM trials CROSS JOIN metrics CROSS JOIN scores "
            "ON scores.trial = trials.key AND scores.metric = metrics.id AND scores.step = trials.done "
            f"WHERE {OF_SWEEP} AND trials.status IN ('finished', 'stopped') "
            "AND metrics.name IN (SELECT value FROM sweeps, json_each(settings, '$.metrics') WHERE sweeps.id = ?)",
            (*span(self._db, sweep), sweep),
        )
        for trial, metric, value in rows:
            found.setdefault(int(trial), {})[str(metric)] = load_number(value)
        return found

    @reads
    def finals(self, sweep: int, metric: str, losses: Sequence[str], ids: Container[str] | None = None) -> Finals:
        """A metric after each trial's last step, as columns; ``ids``: those of the trials that count (None: all)."""
        return read_finals(self._db, sweep, metric, losses, ids)

    @reads
    def labels(self, keys: Sequence[int]) -> list[tuple[str, str, str]]:
        """The id, the config's id and the config's JSON of the trials with these keys, in their order."""
        select = "SELECT key, id, config_id, config FROM trials WHERE key IN {}"
        found = {
            key: (str(trial), str(config), str(text)) for key, trial, config, text in among(self._db, select, keys)
        }
        return [found[key] for key in keys]

    @reads
    def count_scores(self, sweep: int) -> int:
        """How many scores the trials of a sweep have."""
        select = "SELECT COUNT(*) FROM trials JOIN scores ON scores.trial = trials.key WHERE trials.sweep = ?"
        return int(self._db.execute(select, (sweep,)).fetchone()[0])

    @reads
    def checkpoints(self, sweep: int) -> list[Checkpoint]:
        """The checkpoints of a sweep, those of the most steps first."""
        rows = self._db.execute(
            "SELECT tile, step, file, sha256, trials, finished FROM checkpoints WHERE sweep = ? "
            "ORDER BY step DESC, tile",
            (sweep,),
        ).fetchall()
        return [checkpoint_from_row(row) for row in rows]

    @reads
    def batches(self, sweep: int) -> list[Batch]:
        """What a model-based search has proposed, in order; the first is what it was told before."""
        rows = self._db.execute(
            "SELECT configs, told FROM batches WHERE sweep = ? ORDER BY number", (sweep,)
        ).fetchall()
        return [batch_from_row(row) for row in rows]

    @reads
    def has_checkpoints(self, sweep: int) -> bool:
        """Whether a sweep has any checkpoint."""
        return bool(
            self._db.execute("SELECT EXISTS (SELECT 1 FROM checkpoints WHERE sweep = ?)", (sweep,)).fetchone()[0]
        )

    @reads
    def checkpoints_of(self, sweep: int, trials: Iterable[str]) -> list[Checkpoint]:
        """The checkpoints that some trials may resume from; those of other trials at their ends are not read."""
        select = "SELECT tile, step, file, sha256, trials, finished FROM checkpoints "
        select += "WHERE sweep = ? AND tile = ? AND finished = 1"
        wanted = dict.fromkeys(trials)
        ends = [row for trial in wanted for row in self._db.execute(select, (sweep, trial)).fetchall()]
        rows = [*unfinished_checkpoints(self._db, sweep), *map(checkpoint_from_row, ends)]
        return sorted((row for row in rows if not wanted.keys().isdisjoint(row.members)), key=lambda row: -row.step)

    @reads
    def owners(self) -> dict[str, str]:
        """The processes that hold trials, each with the name of a sweep that it trains; not all need be running."""
        select = "SELECT DISTINCT owners.name, sweeps.name FROM trials JOIN sweeps ON sweeps.id = sweep "
        select += "JOIN owners ON owners.id = owner"
        return {str(owner): str(name) for owner, name in self._db.execute(select)}

    @reads
    def checkpoint_files(self) -> set[str]:
        """The files that any sweep's checkpoints are in."""
        return {str(file) for (file,) in self._db.execute("SELECT DISTINCT file FROM checkpoints")}

    @reads
    def final_checkpoint(self, sweep: int, trial: str) -> Checkpoint | None:
        """The checkpoint of a finished trial at its end, if there is one."""
        row = self._db.execute(
            "SELECT tile, step, file, sha256, trials, finished FROM checkpoints "
            "WHERE sweep = ? AND tile = ? AND finished = 1 ORDER BY step DESC LIMIT 1",
            (sweep, trial),
        ).fetchone()
        return None if row is None else checkpoint_from_row(row)

    @reads
    def environments(self) -> dict[int, dict[str, Any]]:
        """What trials were trained under (versions, device, flags), by number."""
        rows = self._db.execute("SELECT id, described FROM environments")
        return {int(key): load_object(text) for key, text in rows}

    @reads
    def tests(self, data: str) -> list[TestOpening]:
        """The looks at the test split with this hash, by whichever sweep, oldest first."""
        return [entry for entry in ledger.entries(self._db, data) if entry.opened is not None]

    @reads
    def damaged(self, sweep: int) -> list[str]:
        """The trials whose rows are not what was written when they finished or were stopped."""
        rows = self._db.execute(
            f"SELECT key, id, digest FROM trials WHERE {OF_SWEEP} AND status IN ('finished', 'stopped')",
            span(self._db, sweep),
        ).fetchall()
        digests = self._digests([key for key, _, _ in rows])
        return [str(trial) for key, trial, digest in rows if digests[key] != digest]

    @reads
    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing if it is intact."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(20)")]
        dangling = self._db.execute("PRAGMA foreign_key_check").fetchall()
        return [text for text in found if text != "ok"] + [
            f"a row of {row[0]} refers to a row of {row[2]} that does not exist" for row in dangling[:20]
        ]

    def _digests(self, keys: Sequence[int]) -> dict[int, bytes]:
        """The first 8 bytes of SHA-256 over each trial's row and its scores, by the trial's key."""
        return digests(self._db, keys)


def _is_text(text: str) -> bool:
    """Whether SQLite can hold a text: not with half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
