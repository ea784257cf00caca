"""Ctrl-C: the first ends a run after its current segments, the second at once, the third the process itself.

SIGTERM, by which schedulers announce that a job's time is over, ends a run as the first Ctrl-C does, and then the process.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

EXIT_CODE = 130  # of a process that Ctrl-C ended
TERMINATED = 143  # of one that SIGTERM ended


@contextlib.contextmanager
def interrupts_set(stop: threading.Event) -> Iterator[None]:
    """While the block runs, the first Ctrl-C sets ``stop``, and the next does what it did before.

    SIGTERM sets ``stop`` as well, and SystemExit is raised when the block ends. Nothing changes in a thread that is not the
    main one, and where SIGINT is ignored, as by a job in the background, or handled by something that is not Python; the
    same goes for a SIGTERM that somebody handles.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _termination_set(stop):
        if before in (signal.SIG_IGN, None):
            yield
            return
        with _interrupt_set(stop, before):
            yield


@contextlib.contextmanager
def _interrupt_set(stop: threading.Event, before: Any) -> Iterator[None]:
    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    with third_interrupt_ends_the_process():
        signal.signal(signal.SIGINT, first)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _termination_set(stop: threading.Event) -> Iterator[None]:
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True
        stop.set()

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if terminated:
        raise SystemExit(TERMINATED)


@contextlib.contextmanager
def third_interrupt_ends_the_process() -> Iterator[None]:
    """While the block runs, the third Ctrl-C ends the process, even if the main thread is in code that handles no signals.

    Python handles signals in the main thread between two of its own operations; compiled code may run for minutes there.
    """
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if before != -1:  # an event loop's, or that of an outer block
        signal.set_wakeup_fd(before)
    else:
        threading.Thread(target=_end_at_third, args=(reading,), daemon=True, name="jsweep-interrupts").start()
    try:
        yield
    finally:
        if before == -1:
            signal.set_wakeup_fd(-1)
        os.close(writing)  # which ends the thread
        if before != -1:
            os.close(reading)


def _end_at_third(reading: int) -> None:
    seen = 0
    while seen < 3:
        found = os.read(reading, 64)
        if not found:
            os.close(reading)
            return
        seen += found.count(signal.SIGINT)
    os._exit(EXIT_CODE)
