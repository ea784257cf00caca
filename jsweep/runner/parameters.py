"""The parameters of a finished trial, from its checkpoint or trained again."""

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.engine.executors.threads import default_workers
from jsweep.engine.retrain import retrain, tiles_to_retrain
from jsweep.errors import ConfigError
from jsweep.storage import Trial
from jsweep.storage.arrays import restore
from jsweep.storage.checkpoints import read_checkpoint, to_bytes, write_atomically
from jsweep.task.config import Config


def state_of(result: Any, trial: str) -> Any:
    """A finished trial's state at its end, from its checkpoint or, where none was kept, trained again."""
    row = result.trial(trial)
    if row.status != "finished":
        raise ConfigError(f"trial {row.id} is {row.status}: its parameters are there when it has finished.")
    saved = result.saved(row.id)
    if saved is not None and saved.step == row.steps:
        found = read_checkpoint(result.folder, saved.file, saved.sha256)
        group = next(group for group in result.prepared.groups if any(t.id == row.id for t in group.trials))
        if found is not None:
            lanes = {name: value[None] for name, value in found[0].items()}
            state = restore(group.traced.state, lanes)
            if state is not None:
                return _at_own_width(result, row, jax.tree.map(lambda a: jnp.asarray(a[0]), state))
        warnings.warn(f"the checkpoint {saved.file} is missing or damaged: the trial is trained again.", stacklevel=4)
    share = tiles_to_retrain(result.prepared.setting, result.prepared.groups, {row.id: row.width or 1}, False)[0]
    return _at_own_width(result, row, retrain(result.prepared.setting, share, default_workers()[0])[1][row.id])


def _at_own_width(result: Any, row: Trial, state: Any) -> Any:
    """A state without the masked units of widths that were padded: of every array the first, which are the real ones."""
    prepared = result.prepared
    group = next(group for group in prepared.groups if any(trial.id == row.id for trial in group.trials))
    if not any(lane.most for lane in group.lanes.values()):
        return state
    trial = next(trial for trial in group.trials if trial.id == row.id)
    config = Config({**trial.config, "steps": trial.steps})
    own = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, prepared.setting.task.init(config, jax.random.key(0))))
    return jax.tree.map(lambda shape, leaf: leaf[tuple(slice(n) for n in shape.shape)], own, state)


def write_params(result: Any, trial: str, out: str) -> list[list[str]]:
    """Write a finished trial's parameters to a safetensors file; name, shape and type of each array."""
    params = result.params(trial)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {_dotted(path): np.asarray(leaf) for path, leaf in leaves}
    try:
        write_atomically(Path(out), to_bytes(arrays, {"trial": result.trial(trial).id}))
    except OSError as error:
        raise ConfigError(f"--out {out!r} cannot be written ({error.strerror}): give another path.") from error
    return [[name, str(array.shape), str(array.dtype)] for name, array in arrays.items()]


def _dotted(path: Any) -> str:
    """A path in a pytree as model files write it: ``layers.0.w``."""
    parts = (getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path)
    return ".".join(str(part) for part in parts) or "params"
