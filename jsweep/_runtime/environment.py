"""What a result depends on beside its task: versions, device, flags."""

import functools
import os
import platform
from importlib import metadata
from typing import Any

import jax

from jsweep._runtime.backend import cores, processor_id, reductions_flag_in_force


def describe_environment() -> dict[str, Any]:
    """The environment that is recorded with a sweep: numbers and short texts only."""
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in ("jsweep", "jax", "jaxlib", "optax", "numpy")},
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "cores": cores(),
        "processor": processor_id(),
        "flags": os.environ.get("XLA_FLAGS", ""),
        "reductions_flag": reductions_flag_in_force(),
        "x64": bool(jax.config.values["jax_enable_x64"]),
        "matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
    }


@functools.cache  # what is imported stays what it is while the process lives
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
