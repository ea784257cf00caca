"""Noticing workers that hang: a call that takes far longer than those of the same program before it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TIMES_LONGEST = 50  # a call that takes as many times the longest before it is reported
LEAST_SECONDS = 120.0  # but no call that takes less
FIRST_SECONDS = 900.0  # a program's first call, for which there is nothing to compare with


@dataclass
class _Call:
    label: str
    since: float


class Watchdog:
    """Follows each worker's calls and reports those that do not end, once for each program."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[int, _Call] = {}  # by thread
        self._longest: dict[str, float] = {}  # seconds, by the program's label
        self._reported: set[str] = set()

    @contextmanager
    def watch(self, label: str) -> Iterator[None]:
        """Follow the calls of the program ``label`` that this thread makes in the block."""
        thread = threading.get_ident()
        with self._lock:
            self._running[thread] = _Call(label, self._clock())
        try:
            yield
            self.finished_call()
        finally:
            with self._lock:
                del self._running[thread]

    def finished_call(self) -> None:
        """Note that this thread has finished a call, and begins the next."""
        with self._lock:
            call, now = self._running[threading.get_ident()], self._clock()
            self._longest[call.label] = max(self._longest.get(call.label, 0.0), now - call.since)
            call.since = now

    def report(self) -> list[str]:
        """A sentence for each program with a call that seems to hang and was not reported before."""
        with self._lock:
            now, found = self._clock(), []
            for call in self._running.values():
                longest, taken = self._longest.get(call.label), now - call.since
                limit = FIRST_SECONDS if longest is None else max(LEAST_SECONDS, TIMES_LONGEST * longest)
                if taken > limit and call.label not in self._reported:
                    self._reported.add(call.label)
                    found.append(_sentence(call.label, taken, longest))
            return found


def _sentence(label: str, taken: float, longest: float | None) -> str:
    before = "is its first" if longest is None else f"took at most {longest:.1f} s before"
    return (
        f"a call of the program [{label}] has been running for {taken:.0f} s, and {before}: if it does not end, interrupt the "
        "run, which keeps what was recorded, and resume it with one worker (workers=[jax.devices()[0]]) or with tile=1."
    )
