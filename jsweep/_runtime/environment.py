"""What a result depends on besides its task: versions, device and flags."""

import functools
import os
import platform
from importlib import metadata

import jax

from jsweep._runtime.backend import processor_id, reductions_are_correct
from jsweep._runtime.limits import cores


def describe_environment() -> dict[str, str | int | bool]:
    """The environment that is recorded with a sweep: numbers and short texts only."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in ("jsweep", "jax", "jaxlib", "optax", "numpy")},
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.local_device_count(),
        "cores": cores(),
        "processor": processor_id(),
        "flags": os.environ.get("XLA_FLAGS", ""),
        "reductions_flag": reductions_are_correct(),
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
        "matmul_precision": str(jax.config.jax_default_matmul_precision),  # pyright: ignore[reportAttributeAccessIssue]
    }


@functools.cache  # an imported package does not change while the process lives
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
