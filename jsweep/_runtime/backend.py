"""Set XLA up for sweeps: right reductions on CPU, and a compilation cache that outlives the process."""

import hashlib
import os
import platform
from pathlib import Path

import jax
import jaxlib

# XLA's YNNPACK reduction fusion computes wrong values at some sizes (jax issue 39103). The flag turns off the
# reductions only; it is read once, when the CPU backend starts.
_YNN_FLAG = "xla_cpu_experimental_ynn_fusion_type"
RIGHT_REDUCTIONS = f"--{_YNN_FLAG}=-reduce"


def configure(cache: bool = True) -> bool:
    """Prepare this process for sweeps; call it before anything touches a JAX array.

    Adds the flag that makes XLA's CPU reductions right to ``XLA_FLAGS`` and, with ``cache``, points JAX's persistent
    compilation cache at the user's cache folder (a folder a jaxlib version and processor, as entries of another
    crash or never hit); a cache folder that is already set stays. Accessing any name of ``jsweep`` other than
    ``jsweep.schedules`` calls this once.

    Returns True when the flag is in force, False when the backend had started without it: results are then still
    right, because programs are compiled without YNNPACK altogether, at 5-15% less speed.
    """
    if cache and _jax_setting("jax_compilation_cache_dir") is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    flags = os.environ.get("XLA_FLAGS", "")
    if _YNN_FLAG in flags:
        return True
    if backend_started():
        return False
    os.environ["XLA_FLAGS"] = f"{flags} {RIGHT_REDUCTIONS}".strip()
    return True


def backend_started() -> bool:
    """Whether JAX has started a backend in this process, after which XLA_FLAGS is no longer read."""
    from jax._src import xla_bridge  # JAX has no public way to ask

    return xla_bridge.backends_are_initialized()


def reductions_flag_in_force() -> bool:
    """Whether ``XLA_FLAGS`` carries a choice about YNNPACK (ours, or the user's own)."""
    return _YNN_FLAG in os.environ.get("XLA_FLAGS", "")


def _jax_setting(name: str) -> object:
    return jax.config.values[name]


def cache_folder() -> Path:
    """The folder for what may be thrown away: ``$JSWEEP_CACHE`` or ``$XDG_CACHE_HOME/jsweep``, by jaxlib and machine."""
    base = os.environ.get("JSWEEP_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "jsweep"
    )
    return Path(base) / f"jaxlib-{jaxlib.__version__}-{processor_id()}"


def processor_id() -> str:
    """A short name of this processor's kind: architecture and a hash of model name and instruction-set flags."""
    described = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            described = "".join(
                sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
            )
    except OSError:
        pass  # not Linux: the architecture alone has to do
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:8]}"


def cores() -> int:
    """CPU cores this process may use: its affinity, cut to the cgroup's quota where one is set."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        available = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            available = min(available, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 quota
    return max(1, available)
