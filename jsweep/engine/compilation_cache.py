"""Whether JAX's persistent compilation cache finds the programs it was given.

On some processors JAX rejects every entry it reads back (jax issue 38445), and users delete cache folders: programs are
then compiled again in every run, silently. So each program compiled with a cache leaves a mark beside it. A run that
compiles marked programs and has no hit warns once.
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jax import monitoring

from jsweep._runtime.backend import cache_keeps_every_program, compilation_cache_folder

_HIT = "/jax/compilation_cache/cache_hits"
_lock = threading.Lock()
_warned = threading.Event()


class CacheMonitor:
    """Counts the programs compiled that an earlier process had compiled already, and the hits of the cache."""

    def __init__(self) -> None:
        self.compiled_before = 0
        self.hits = 0

    def compiled(self, fingerprint: str, options: Mapping[str, str | int | bool] | None) -> None:
        """Count a program that was compiled with ``options``, and leave its mark."""
        folder = compilation_cache_folder()
        if folder is None or not cache_keeps_every_program():
            return
        text = f"{fingerprint} {options} {os.environ.get('XLA_FLAGS', '')}"
        mark = folder.parent / "compiled" / hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            with _lock:
                mark.parent.mkdir(parents=True, exist_ok=True)
                self.compiled_before += mark.exists()
                mark.touch()
        except OSError:
            pass  # without marks, a cache that does not work goes unnoticed

    def _on_event(self, event: str, **_: str | int) -> None:
        self.hits += event == _HIT


@contextmanager
def monitor_cache() -> Iterator[CacheMonitor]:
    """Monitor the cache while the block runs; at its end warn, once a process, if the cache had no hit that it should have."""
    monitor = CacheMonitor()
    monitoring.register_event_listener(monitor._on_event)
    try:
        yield monitor
    finally:
        monitoring.unregister_event_listener(monitor._on_event)
    if monitor.compiled_before and not monitor.hits and not _warned.is_set():
        _warned.set()
        warnings.warn(
            f"{monitor.compiled_before} programs were compiled again although an earlier run had compiled them: the compilation "
            "cache had no hit. If you did not empty it, it does not work on this processor (jax issue 38445); results are "
            "right, but runs start later.",
            stacklevel=6,
        )
