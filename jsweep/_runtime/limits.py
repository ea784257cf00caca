"""What this process may use of its machine: CPU cores and memory, within the limits of its control group."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_ASSUMED = 8 << 30  # bytes of memory where a machine does not tell


def cores() -> int:
    """CPU cores this process may use: those of its affinity, at most the control group's quota."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        available = os.cpu_count() or 1
    for quota, period in _cpu_quotas():
        available = min(available, quota // period)
    return max(1, available)


def memory_bytes() -> int:
    """Bytes of memory this process may use: the machine's, at most the control group's limit."""
    return min([_machine_bytes(), *_memory_limits()])


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # in bytes on macOS, in KiB elsewhere


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except AttributeError:  # Windows, where the standard library does not tell
        return _ASSUMED


def _cpu_quotas() -> Iterator[tuple[int, int]]:
    """Quota and period in microseconds, wherever one is set."""
    for folder in _folders(""):
        if numbers := _numbers(folder / "cpu.max"):
            yield numbers[0], numbers[-1] if len(numbers) > 1 else 100_000
    for folder in _folders("cpu"):
        quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
        if quota and period and quota[0] > 0 and period[0] > 0:
            yield quota[0], period[0]


def _memory_limits() -> Iterator[int]:
    """Bytes, wherever a limit is set; without one, version 1 has a number beyond any machine's memory."""
    for folder in _folders(""):
        yield from _numbers(folder / "memory.max")[:1]
    for folder in _folders("memory"):
        yield from _numbers(folder / "memory.limit_in_bytes")[:1]


def _folders(controller: str) -> Iterator[Path]:
    """The control group of this process and those above it; ``controller`` "" is version 2's single hierarchy."""
    root = CGROUP / controller
    yield root
    try:
        lines = [line.split(":", 2) for line in _OWN_CGROUP.read_text().splitlines()]
    except OSError:
        return  # not Linux
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controller in controllers.split(","):
            parts = [part for part in path.split("/") if part and part != ".."]
            yield from (root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _numbers(file: Path) -> list[int]:
    """The whole numbers of a limit's file; empty where there is no file or it says "max"."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
