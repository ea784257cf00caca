"""Python's garbage collector, out of the way where very many objects are made that all stay."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0  # blocks of `collection_paused` that run now, in any thread
_was_on = False


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection while the block runs: each would go over all objects made so far, and find nothing."""
    global _pauses, _was_on
    with _lock:
        if not _pauses:
            _was_on = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_on:
                gc.enable()
