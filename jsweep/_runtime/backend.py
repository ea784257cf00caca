"""Set up XLA for sweeps: correct reductions on CPU, and a compilation cache that outlives the process."""

import hashlib
import os
import platform
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import jaxlib

from jsweep._runtime.jax_internals import backend_started, close_persistent_cache, persistent_cache
from jsweep._runtime.limits import cores as cores

# The YNNPACK fusion of jaxlib 0.10 computes wrong reductions at some sizes (jax issue 39103). The flag turns off that
# fusion alone; XLA reads it once, when the CPU backend starts.
_YNN_FLAG = "xla_cpu_experimental_ynn_fusion_type"
CORRECT_REDUCTIONS = f"--{_YNN_FLAG}=-reduce"
_FIRST_CORRECT = (0, 11)  # 0.10.2 is wrong; 0.11.0, 0.11.2 and 0.12.0 were tested and are right

JAXLIB_VERSION = tuple(int(part) for part in jaxlib.__version__.split(".")[:2])


@dataclass
class _Choice:
    """What this process has chosen so far."""

    cache: bool = True
    warned: bool = False
    compiling: int = 0  # compilations that use the cache at this moment


_choice = _Choice()
_lock = threading.Lock()


def configure(cache: bool | None = None) -> bool:
    """Prepare this process for sweeps; `jsweep.plan` and `jsweep.run` call it if you have not.

    On jaxlib versions whose CPU reductions are wrong at some sizes it adds a flag to ``XLA_FLAGS``. XLA reads flags when
    its backend starts, so call it before the first JAX array is made. If the backend has started already, programs are
    compiled without the library that is at fault, at 5-15% less speed, and a warning says so once.

    Programs of sweeps are kept in a cache on disk, in a folder for each version of jaxlib and kind of processor. Only
    compilations of jsweep use it: JAX opens one cache a process, so programs that another thread compiles at the same
    moment may be kept there too. If JAX already has a cache folder, that one is used as it is.

    Args:
        cache: whether compiled programs are kept on disk. None keeps the earlier choice, which is True at the start.

    Returns:
        Whether XLA's reductions are correct at full speed: True unless the flag is needed and came too late.
    """
    if cache is not None:
        _choice.cache = cache
    if reductions_are_correct():
        return True
    if backend_started():
        _warn_once_of_late_start()
        return False
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {CORRECT_REDUCTIONS}".strip()
    return True


def reductions_are_correct() -> bool:
    """Whether this jaxlib needs no flag for correct reductions, or ``XLA_FLAGS`` carries a choice about them."""
    return JAXLIB_VERSION >= _FIRST_CORRECT or _YNN_FLAG in os.environ.get("XLA_FLAGS", "")


def _warn_once_of_late_start() -> None:
    with _lock:
        if _choice.warned or jax.local_devices()[0].platform != "cpu":
            return
        _choice.warned = True
    warnings.warn(
        "JAX started before jsweep could set XLA's flag for correct reductions: sweeps compile without XLA's fastest "
        "kernels. Call jsweep.configure() before the first JAX array.",
        stacklevel=4,
    )


def compilation_cache_folder() -> Path | None:
    """Where JAX keeps compiled programs of sweeps: a folder the user gave JAX, else jsweep's own; None if turned off."""
    users = _users_cache_folder()
    if users is not None:
        return Path(users)
    return cache_folder() / "xla" if _choice.cache else None


def cache_keeps_every_program() -> bool:
    """Whether programs are kept however fast they compile; a cache of the user's may leave some out."""
    least_seconds = jax.config.jax_persistent_cache_min_compile_time_secs  # pyright: ignore[reportAttributeAccessIssue]
    return compilation_cache_folder() is not None and (_users_cache_folder() is None or least_seconds <= 0)


@contextmanager
def compilation_cache() -> Iterator[None]:
    """Compile with the cache in `compilation_cache_folder` while the block runs."""
    folder = compilation_cache_folder()
    if folder is None or _users_cache_folder() is not None:
        yield
        return
    with _lock:
        _choice.compiling += 1
    try:
        with persistent_cache(folder):
            yield
    finally:
        with _lock:
            _choice.compiling -= 1
            if not _choice.compiling:
                close_persistent_cache()


def _users_cache_folder() -> str | None:
    return jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]


def cache_folder() -> Path:
    """The folder for files that can be made again: ``$JSWEEP_CACHE`` or ``$XDG_CACHE_HOME/jsweep``, by jaxlib and machine."""
    base = os.environ.get("JSWEEP_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "jsweep"
    )
    return Path(base) / f"jaxlib-{jaxlib.__version__}-{processor_id()}"


def processor_id() -> str:
    """A short name of this processor's kind: architecture and a hash of model name and instruction-set flags."""
    description = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            description = "".join(
                sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
            )
    except OSError:
        pass  # not Linux: only the architecture is known
    return f"{platform.machine()}-{hashlib.sha256(description.encode()).hexdigest()[:8]}"
