"""The state of a trial: from its checkpoint, or trained again."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jsweep._runtime.prng import GENERATOR
from jsweep._runtime.types import Value
from jsweep.engine.placement import workers_of
from jsweep.engine.retrain import retrain, tiles_to_retrain
from jsweep.errors import ConfigError, StoreError
from jsweep.planning import Group
from jsweep.planning.groups import seen_by_task
from jsweep.planning.state import StateTemplate, template_of
from jsweep.planning.traced import LaneFunctions
from jsweep.results.lineage import Lineage
from jsweep.runner.descent import followed
from jsweep.runner.prepare import Prepared
from jsweep.runner.recorded import Curves, check_equal, evaluated
from jsweep.storage import Checkpoint, Trial
from jsweep.storage.arrays import restore
from jsweep.storage.checkpoints import read_checkpoint, to_bytes, write_atomically
from jsweep.task.config import Config
from jsweep.task.task import Task


def saved_state(prepared: Prepared, folder: Path, saved: Checkpoint) -> PyTree | None:
    """The arrays of a finished trial's state from its checkpoint; None, with a warning, where that is damaged."""
    group = prepared.group_of(saved.tile)
    found = read_checkpoint(folder, saved)
    state = None if found is None else restore(group.traced.state, found[0])
    if state is not None and saved.tile in saved.trials:
        lane = saved.trials.index(saved.tile)
        if all(lane < len(leaf) for leaf in jax.tree.leaves(state)):
            one = jax.tree.map(lambda array: array[lane, ...], state)  # over a mesh too large for one device, perhaps
            return one if prepared.setting.task.mesh is not None else jax.tree.map(jnp.asarray, one)
    warnings.warn(f"the checkpoint {saved.file} is missing or damaged: the trial is trained again.", stacklevel=4)
    return None


def trained_again(prepared: Prepared, trial: Trial, step: int, recorded: Curves, lineage: Lineage) -> PyTree:
    """The arrays of a trial's state after ``step`` steps, trained again and checked against the ``recorded`` scores.

    Raises:
        ConfigError: where the trial was not evaluated after ``step`` steps.
        IncompatibleSweepError: where it comes out otherwise than it is recorded.
    """
    steps = evaluated(recorded)
    if step not in steps[trial.id]:
        raise ConfigError(f"step={step} is not an evaluation of trial {trial.id}: pass one of the steps of its curve.")
    share = tiles_to_retrain(prepared.setting, prepared.groups, {trial.id: trial.width or 1}, False)[0]
    wanted, device = {trial.id: step}, workers_of(prepared.setting.task)[0]
    share = followed(lineage, prepared.trials, share, wanted)
    scores, states = retrain(prepared.setting, share, device, steps=wanted, evaluated=steps)
    check_equal(recorded, scores, wanted)
    return states[trial.id]


def whole_state(prepared: Prepared, trial: Trial, arrays: PyTree) -> PyTree:
    """A state as its task made it: with what is not an array, and without the masked units of padded widths.

    Args:
        prepared: the sweep.
        trial: the trial, with what it trained with.
        arrays: the arrays of its state.
    """
    group = prepared.group_of(trial.id)
    if any(lane.most for lane in group.lanes.values()):
        own = _own_shapes(prepared.setting.task, group, trial.config)
        arrays = jax.tree.map(lambda shape, leaf: leaf[tuple(slice(n) for n in shape.shape)], own, arrays)
    template = group.traced.template
    if template.remade:
        template = _made_again(prepared.setting.task, group, trial)
    return template.whole(arrays)


def _made_again(task: Task, group: Group, trial: Trial) -> StateTemplate:
    """The template of a trial's state outside a trace.

    Equinox tells arrays from Python numbers, and Flax tells both from traced values: taken is what has the same arrays.
    """
    traced = group.traced.template
    for config in (_seen_in_lanes(group, trial), Config(seen_by_task(trial))):
        found = template_of(task.init(config, jax.random.key(0, impl=GENERATOR)))
        if [leaf is None for leaf in found.static] == [leaf is None for leaf in traced.static]:
            return found
    raise ConfigError(
        f"init returned a state with other arrays than when it was traced, for trial {trial.id}: return the same structure each "
        "time."
    )


def _seen_in_lanes(group: Group, trial: Trial) -> Config:
    """A trial's config with arrays where its program has them, so that what is an array in the state is one again."""
    seen: dict[str, Any] = dict(seen_by_task(trial))
    for name, lane in group.lanes.items():
        if not lane.most:
            number = lane.dtype.type(lane.encode(seen[name]))
            seen[name] = lane.wrap(jnp.asarray(number.item() if lane.shape().weak_type else number))
    return Config(seen)


def _own_shapes(task: Task, group: Group, config: Mapping[str, Value]) -> PyTree:
    """The shapes of the state that a config has without padding: its widths static, its other lanes as they are."""
    padded = {name: config[name] for name, lane in group.lanes.items() if lane.most}
    lanes = {name: lane for name, lane in group.lanes.items() if name not in padded}
    functions = LaneFunctions(task, {**group.static, **padded}, lanes, group.traced.template)
    values = {name: lane.shape() for name, lane in lanes.items()}
    return jax.eval_shape(lambda traced: functions.init(traced, jax.random.key(0, impl=GENERATOR)), values)


def write_params(params: PyTree[Array], trial: str, out: str) -> list[list[str]]:
    """Write parameters to a safetensors file.

    Args:
        params: a pytree of arrays.
        trial: the id of the trial they are of, which is kept in the file's metadata.
        out: the file to write.

    Returns:
        The name, shape and type of each array.

    Raises:
        StoreError: where the file cannot be written.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {_dotted(path): np.asarray(leaf) for path, leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)}
    try:
        write_atomically(Path(out), to_bytes(arrays, {"trial": trial}))
    except OSError as error:
        raise StoreError(f"--out {out!r} cannot be written ({error.strerror}): pass another path.") from error
    return [[name, str(array.shape), str(array.dtype)] for name, array in arrays.items()]


def _dotted(path: jax.tree_util.KeyPath) -> str:
    """A path in a pytree as model files write it: ``layers.0.w``."""
    parts = (getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path)
    return ".".join(str(part) for part in parts) or "params"
