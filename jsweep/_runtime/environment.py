"""What a result depends on besides its task: versions, device and flags."""

import functools
import os
import platform
from importlib import metadata

import jax

from jsweep._runtime.backend import processor_id, reductions_are_correct
from jsweep._runtime.limits import cores

# Options of JAX that change numbers and that no trace shows, with their defaults.
_OPTIONS = {
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_allow_f16_reductions": True,
    "jax_accurate_erf_inv": False,
    "jax_use_hlo_logistic_lowering": None,
    "jax_disable_most_optimizations": False,
    "jax_optimization_level": "UNKNOWN",
}


def describe_environment() -> dict[str, str | int | bool]:
    """The environment that is recorded with a sweep: numbers and short texts only."""
    device = jax.local_devices()[0]
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in ("jsweep", "jax", "jaxlib", "optax", "numpy")},
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.local_device_count(),
        "cores": cores(),
        "processor": processor_id(),
        "flags": " ".join([*os.environ.get("XLA_FLAGS", "").split(), *_options()]),
        "reductions_flag": reductions_are_correct(),
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
        "matmul_precision": str(jax.config.jax_default_matmul_precision),  # pyright: ignore[reportAttributeAccessIssue]
    }


def _options() -> list[str]:
    """The options that are not at their defaults, as text."""
    values = {name: getattr(jax.config, name, default) for name, default in _OPTIONS.items()}
    return [f"{name}={value}" for name, value in values.items() if value != _OPTIONS[name]]


@functools.cache  # an imported package does not change while the process lives
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
