"""Looks at a test split, entered in the ledger before they happen; see docs/record.md. Nothing here needs JAX."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Self

from jsweep.errors import ConfigError, StoreError
from jsweep.space import format_config
from jsweep.storage import Store, SweepRecord, TestOpening
from jsweep.storage.ledger import Reply
from jsweep.storage.locks import is_alive, owner
from jsweep.storage.rows import dump

POLL_SECONDS = 0.3  # between two looks at a test that another process makes


def look_of(row: SweepRecord, programs: Iterable[str], config_id: str, step: int) -> str:
    """A hash of what is tested, 16 hex digits: equal for two calls that would test the same parameters."""
    whole = dump([row.identity, sorted(set(programs)), config_id, step])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


class Looks:
    """One look of this process at a test split; a context manager that withdraws the look if it does not happen."""

    def __init__(self, store: Store):
        self.store = store
        self.owner = "this"
        self._alive: Callable[[str], bool] = lambda _: True
        self._stack = contextlib.ExitStack()
        self._key: int | None = None

    def __enter__(self) -> Self:
        if self.store.file is not None:
            self.owner = self._stack.enter_context(owner(self.store.folder))
            self._alive = partial(is_alive, self.store.folder)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with self._stack:
            if self._key is not None:
                with contextlib.suppress(StoreError):  # a store that is gone does not hide the error
                    self.store.withdraw_look(self._key, self.owner)

    def reserve(self, asked: TestOpening, again: bool) -> TestOpening | None:
        """Reserve a look, waiting for another process that is at the same one.

        Args:
            asked: what is to be tested, and how it was selected.
            again: whether to go on, on record, although the split was opened for another choice.

        Returns:
            The entry that answers, where the ledger has one; None where the look is to be made now.

        Raises:
            ConfigError: where the split was opened for another choice, or is being opened.
        """
        while True:
            found = self.store.reserve_look(asked, self.owner, again, self._alive)
            match found.reply:
                case Reply.ANSWERED:
                    return found.entry
                case Reply.BUSY:
                    time.sleep(POLL_SECONDS)
                case Reply.RESERVED:
                    assert found.entry is not None
                    self._key = found.entry.key
                    return None
                case Reply.REFUSED:
                    assert found.entry is not None
                    raise ConfigError(_refusal(asked, found.entry))

    def open(self) -> None:
        """Enter that the split is looked at now."""
        assert self._key is not None
        self.store.open_look(self._key, self.owner)

    def complete(self, scores: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> TestOpening:
        """Enter what was seen; returns the entry."""
        assert self._key is not None
        entry = self.store.complete_look(self._key, self.owner, scores, seeds)
        self._key = None
        return entry


def _refusal(asked: TestOpening, entry: TestOpening) -> str:
    when = "is being opened by another process" if entry.opened is None else f"was opened on {entry.opened}"
    other = "" if entry.sweep == asked.sweep else f" of the sweep {entry.sweep!r}"
    return (
        f"the test split of {asked.sweep!r} {when} for another choice ({format_config(entry.config)} at step {entry.step}"
        f"{other}): a second one selected with it in view would no longer be tested; pass again=True (--again) to do so on "
        "record."
    )
