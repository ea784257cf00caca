"""Whether JAX's persistent compilation cache serves what it was given.

On some processors it refuses every entry it reads back (jax issue 38445), and a folder may be swept between two runs:
each run then compiles anew, silently. Programs compiled with a cache leave a mark beside it; where marked programs are
compiled again and nothing was served, that is told once.
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax import monitoring

_HIT = "/jax/compilation_cache/cache_hits"
_lock = threading.Lock()
_told = False


class Watched:
    """What was compiled while `watching`: how many programs a process had compiled before, and the hits since."""

    def __init__(self) -> None:
        self.again, self.hits = 0, 0

    def compiled(self, fingerprint: str, options: Any) -> None:
        """Note a program compiled with ``options``, and whether its mark is there already."""
        marks = _marks()
        if marks is None:
            return
        told = f"{fingerprint} {options} {os.environ.get('XLA_FLAGS', '')}"
        mark = marks / hashlib.sha256(told.encode()).hexdigest()[:16]
        try:
            with _lock:
                marks.mkdir(parents=True, exist_ok=True)
                self.again += mark.exists()
                mark.touch()
        except OSError:
            pass  # a cache that cannot be written costs time, not results

    def _event(self, event: str, **_: object) -> None:
        self.hits += event == _HIT


@contextmanager
def watching() -> Iterator[Watched]:
    """Count what the cache serves; at the end warn, once a process, where it served nothing that it should have."""
    global _told
    watched = Watched()
    monitoring.register_event_listener(watched._event)
    try:
        yield watched
    finally:
        monitoring.unregister_event_listener(watched._event)
    if watched.again and not watched.hits and not _told:
        _told = True
        warnings.warn(
            f"Programs ({watched.again}) were compiled anew though an earlier run had compiled them: the compilation cache in "
            f"{jax.config.values['jax_compilation_cache_dir']} served none. If you did not empty it, it does not work on this "
            "processor (jax issue 38445): runs stay right, and start later.",
            stacklevel=6,
        )


def _marks() -> Path | None:
    """The folder of marks; None where there is no cache, or one that leaves out what compiles fast."""
    folder = jax.config.values["jax_compilation_cache_dir"]
    if folder is None or jax.config.values["jax_persistent_cache_min_compile_time_secs"] > 0:
        return None
    return Path(str(folder)).parent / "compiled"
