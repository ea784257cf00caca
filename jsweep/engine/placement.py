"""Where tiles are trained: each on a device of its own or, where the task names a mesh, one at a time over all of that."""

import jax
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jsweep._runtime.limits import cores
from jsweep.errors import ConfigError
from jsweep.task.task import Task


def default_workers() -> list[jax.Device]:
    """A worker for every device; on CPU with its usual single device, one for every core."""
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return devices * cores()
    return devices


def workers_of(task: Task) -> list[jax.Device]:
    """The devices of the workers that train a task by default: of a mesh the first, as all of it is one worker."""
    return default_workers() if task.mesh is None else [task.mesh.devices.flat[0]]


def placement(task: Task, device: jax.Device) -> Sharding:
    """Where the arrays of a worker are: on its device, or on every device of the task's mesh."""
    return SingleDeviceSharding(device) if task.mesh is None else NamedSharding(task.mesh, PartitionSpec())


def check_mesh(task: Task, tile: int | str, workers: object, executor: object) -> None:
    """Raise ConfigError for what a task with a mesh cannot have: several lanes in a tile, workers, an executor."""
    if task.mesh is None:
        return
    if isinstance(tile, int) and tile > 1:
        raise ConfigError(
            f"tile={tile} and the task has a mesh, over which lanes are trained one by one: leave tile out."
        )
    if workers is not None:
        raise ConfigError("workers is given and the task has a mesh, which is its only worker: leave workers out.")
    if executor is not None:
        raise ConfigError(
            "executor is given and the task has a mesh, which is of this process's devices: leave executor out, or run a shard "
            "on each machine (shard='1/4')."
        )
