"""One drawn task trained in three ways, and where they differ: as jsweep decides, all names static, and by a plain loop.

The plain loop is written here, with optax and nothing of jsweep's planning or engine: it calls the program's functions with a
dict of Python values, operation by operation, with the documented keys and order of examples.
"""

import contextlib
import math
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from drawn import CLASSES, FEATURES, ROWS, DrawnTask
from interpreter import interpreted, traced

import jsweep as js
from jsweep._runtime.prng import config_key_data, root_key_data, step_key
from jsweep.data.shuffle import batch_indices
from jsweep.engine.executors.threads import Work
from jsweep.engine.retrain import retrain
from jsweep.runner.prepare import Prepared, prepare
from jsweep.space import config_id
from jsweep.storage import Trial

MOST_GRID, BATCH = 2000, 4

TOLERANCES = {"float32": 2e-4, "bfloat16": 5e-2}
"""How far two ways may lie apart, relative to the largest number of a curve or an array: sums in another order, which
a few steps make larger; a number of bfloat16 has eight bits."""

SENSITIVE = 20  # times what a change of the examples in their last bits makes: a difference within it is rounding

Key = tuple[str, int]  # of a trial: its config's id and its seed


@dataclass(frozen=True)
class Trained:
    """What one trial came to: its curves by metric and step, and the arrays of its parameters and model state."""

    curves: Mapping[tuple[str, int], float]
    arrays: Mapping[str, np.ndarray]


@dataclass
class Comparison:
    """What was found of one task; ``differences`` is empty where all is well, ``refused`` says what jsweep said no to."""

    differences: list[str] = field(default_factory=list)
    roles: Mapping[str, str] = field(default_factory=dict)
    groups: int = 0
    trials: int = 0
    invalid: int = 0
    refused: str = ""
    furthest: dict[str, float] = field(default_factory=dict)


def compare(drawn: DrawnTask, compiled: bool = False, most: int = 3) -> Comparison:
    """Train a task in all three ways.

    Args:
        drawn: the task.
        compiled: whether jsweep's programs are compiled; else they are run with NumPy, which takes a tenth.
        most: how many configs of its space are trained; all static, one less.
    """
    js.configure()
    program, found = drawn.program(), Comparison()
    configs = configs_of(program["space"], drawn.key, most)
    expected, found.invalid = _plainly(drawn, program, configs)
    try:
        prepared = _prepare(drawn, program, configs)
        static = _prepare(drawn, program, _all_static(configs, most - 1))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, js.ConfigError) and ("annotated with js.lane" in said or 'reads config["l2"]' in said):
            found.refused = said
        elif expected:
            found.differences.append(f"is refused: {said}")
        return found
    found.roles = {name: str(role.kind) for name, role in prepared.roles.items()}
    found.groups, found.trials = len(prepared.groups), len(prepared.trials)
    with contextlib.nullcontext() if compiled else interpreted():
        for way, planned, width in (("as decided", prepared, drawn.width), ("all static", static, 1)):
            found.differences += _differences(drawn, program, way, planned, width, expected, found)
    found.differences += _without_effect(prepared, expected)
    return found


def keys_of(root: np.ndarray, seed: int, own: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The keys of a trial for its initialisation, order and noise, as docs/design.md has them."""
    key = jax.random.fold_in(jax.random.wrap_key_data(root), 0x6A737701)
    for number in (seed, *own):
        key = jax.random.fold_in(key, number)
    init, order, noise = (jax.random.fold_in(key, tag) for tag in (0x6A737702, 0x6A737703, 0x6A737704))
    return init, order, noise


def configs_of(space: Mapping[str, Any], key: int, most: int) -> js.Configs:
    """The whole grid where that is small, else some of its configs."""
    if not space:
        return js.configs([{}])
    sizes = [len(part) if isinstance(part, list) else 3 for part in space.values()]
    if math.prod(sizes) > MOST_GRID:
        return js.random(space, most, key=key)
    whole = js.grid(space)
    places = random.Random(key).sample(range(len(whole)), min(len(whole), most))
    return js.Configs(tuple(whole.rows[place] for place in sorted(places)), whole.spaces)


def _all_static(configs: js.Configs, most: int) -> js.Configs:
    """The first configs, with every name of their space annotated with `js.static`."""
    parts = [{name: js.static(part) for name, part in space.parts.items()} for space in configs.spaces]
    return js.Configs(configs.rows[:most], tuple(js.Space(part) for part in parts))


def splits(dtype: str = "float32", wobble: float = 0.0) -> js.Splits:
    """The data of every task; ``wobble`` changes the examples by so much of their size."""
    draws = np.random.default_rng(7)
    x = draws.normal(size=(ROWS, FEATURES))
    x[third := ROWS // 3] = 0.0  # the first example, whose loss the layer "logarithm" makes infinite
    x = (x * (1 + wobble * draws.choice([-1.0, 1.0], size=x.shape))).astype(dtype)
    y = draws.integers(0, CLASSES, ROWS).astype(np.int32)
    return js.Splits((x[third:], y[third:]), (x[:third], y[:third]))


def _prepare(drawn: DrawnTask, program: Mapping[str, Any], configs: js.Configs) -> Prepared:
    task = js.supervised(
        program["init"],
        program["apply"],
        loss=program["loss"],
        optimizer=program["optimizer"],
        data=splits(),
        batch_size=BATCH,
        has_state=bool(drawn.state),
        evaluation_params=program.get("evaluation_params"),
        name="drawn",
    )
    own_length = any({"steps", "epochs"} & config.keys() for config in configs.rows)
    sweep = js.Sweep(
        task,
        configs,
        seeds=drawn.seeds,
        steps=None if own_length else drawn.steps,
        evaluate_every=drawn.every,
        pairing=drawn.pairing,
        key=drawn.key,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error")
        warnings.filterwarnings("ignore", message="some hyperparameters (have no effect|are trained)")
        return prepare(sweep)


def _differences(
    drawn: DrawnTask,
    program: Mapping[str, Any],
    way: str,
    planned: Prepared,
    width: int,
    expected: Mapping[Key, Trained],
    found: Comparison,
) -> list[str]:
    """Where the trials of a planned sweep lie further from the plain loop's than rounding takes them."""
    said = []
    trials = {trial.id: trial for trial in planned.trials}
    for trial, error in planned.untraceable.items():
        if (trials[trial].config_id, trials[trial].seed) in expected:
            said.append(f"{way}: {trials[trial].config} does not trace: {type(error).__name__}: {error}")
    for group in planned.groups:
        scores, states = retrain(planned.setting, Work(group, tuple(group.tiles(width))), jax.devices()[0])
        for trial in group.trials:
            plain = expected.get((trial.config_id, trial.seed))
            if plain is None:
                continue
            curves = {
                (name, score.step): value
                for score in scores[trial.id].values()
                for name, value in score.metrics.items()
            }
            ours = Trained(curves, arrays_of(states[trial.id]))
            said += _apart(drawn, program, way, trial, ours, plain, found)
    return said


def _apart(
    drawn: DrawnTask,
    program: Mapping[str, Any],
    way: str,
    trial: Trial,
    ours: Trained,
    plain: Trained,
    found: Comparison,
) -> list[str]:
    """A sentence where a trial lies further from the plain loop's than rounding takes it."""
    distance, where = furthest(ours, plain)
    found.furthest[way] = max(found.furthest.get(way, 0.0), distance)
    if distance <= TOLERANCES[drawn.dtype]:
        return []
    if distance <= SENSITIVE * _sensitivity(drawn, program, trial.config, trial.seed, plain):
        return []
    return [f"{way}: {trial.config}, seed {trial.seed}: {where}, {distance:.1g} of its size apart"]


def _without_effect(prepared: Prepared, expected: Mapping[Key, Trained]) -> list[str]:
    """Names that are said to be unused and yet change what the plain loop trains."""
    unused = {name for name, role in prepared.roles.items() if role.kind == "unused"}
    first: dict[object, tuple[object, Trained]] = {}
    said = []
    for trial in prepared.trials:
        plain = expected.get((trial.config_id, trial.seed))
        if plain is None or not unused or prepared.sweep.pairing != "common":
            continue
        rest = {name: value for name, value in trial.config.items() if name not in unused}
        alike = (config_id(rest), frozenset(trial.config), trial.seed, trial.steps)
        other, same = first.setdefault(alike, (trial.config, plain))
        if furthest(plain, same)[0] > 0:
            said.append(f"{sorted(unused)} said to be unused, but {trial.config} and {other} differ")
    return said


def furthest(one: Trained, other: Trained) -> tuple[float, str]:
    """The largest difference relative to the size of what differs, and where it is."""
    distances = [(math.inf, "the evaluations differ")] if one.curves.keys() != other.curves.keys() else []
    for name, value in other.curves.items():
        distances.append(
            (_distance(one.curves.get(name, math.nan), value), f"{name}: {one.curves.get(name)} for {value}")
        )
    if one.arrays and one.arrays.keys() != other.arrays.keys():
        distances.append((math.inf, f"the states differ: {sorted(one.arrays)} for {sorted(other.arrays)}"))
    for name in one.arrays.keys() & other.arrays.keys():
        mine, right = one.arrays[name], other.arrays[name]
        mine = mine[tuple(slice(n) for n in right.shape)]  # without the masked units of a padded width
        distances.append((_distance(mine, right), f"{name}: {mine.ravel()[:4]} for {right.ravel()[:4]}"))
    return max(distances, key=lambda pair: pair[0])


def _distance(one: Any, other: Any) -> float:
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape or (np.isnan(one) != np.isnan(other)).any():
        return math.inf
    if not one.size or np.array_equal(one, other, equal_nan=True):
        return 0.0
    return float(np.nanmax(np.abs(one - other)) / max(np.nanmax(np.abs(other)), 0.1))


def arrays_of(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of parameters and model state, by their path."""
    kept = {name: state[name] for name in ("params", "model_state") if name in state}
    leaves = jax.tree_util.tree_leaves_with_path(kept)
    return {jax.tree_util.keystr(path): np.asarray(jnp.asarray(leaf, jnp.float32)) for path, leaf in leaves}


# The plain loop.


def _plainly(drawn: DrawnTask, program: Mapping[str, Any], configs: js.Configs) -> tuple[dict[Key, Trained], int]:
    """Every trial by the plain loop, and the number of configs with which the program itself fails."""
    found, invalid = {}, 0
    for config in configs.rows:
        try:
            loop = PlainLoop(drawn, program, config)
        except Exception:
            invalid += 1
            continue
        found.update({(config_id(config), seed): loop.train(seed, splits()) for seed in drawn.seeds})
    return found, invalid


class PlainLoop:
    """One config's trials by an ordinary loop over steps: every value of the config is a Python value."""

    def __init__(self, drawn: DrawnTask, program: Mapping[str, Any], given: Mapping[str, Any]):
        self.drawn, self.functions, self.given = drawn, program, given
        self.size = given.get("batch_size", BATCH)
        self.length = given.get("steps", drawn.steps)
        if "epochs" in given:
            self.length = math.ceil(given["epochs"] * len(splits().train[1]) / self.size)
        self.config = {**given, "steps": self.length}
        key, (x, y) = jax.random.key(0), splits().train
        self.init = traced(self._init, key)
        state = self.init(key)
        self.step = traced(self._step, *state, x[: self.size], y[: self.size], key)
        *after, _ = jax.eval_shape(self._step, *state, x[: self.size], y[: self.size], key)
        if [leaf.dtype for leaf in jax.tree.leaves(after)] != [
            jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(state)
        ]:
            raise TypeError("a step changes the types of the state: no loop of one program trains it")
        self.evaluate = traced(self._evaluate, *state[::2], *splits().validation)

    def train(self, seed: int, data: js.Splits) -> Trained:
        """The trial of one seed."""
        x, y = data.train
        (own,) = config_key_data([config_id(self.given)], self.drawn.pairing)
        init, order, noise = keys_of(root_key_data(self.drawn.key), seed, own)
        words = tuple(int(word) for word in jax.random.key_data(order))
        state, losses, curves = self.init(init), [], {}
        for step, rows in enumerate(batch_indices(words, len(y), self.size, 0, self.length), 1):
            *state, loss = self.step(
                *state, x[rows], y[rows], step_key(jax.random.key_data(noise), jnp.int32(step - 1))
            )
            losses.append(float(loss))
            if step % self.drawn.every == 0 or step == self.length:
                since = (step - 1) // self.drawn.every * self.drawn.every
                curves["train/loss", step] = float(np.mean(losses[since:]))
                curves["validation/loss", step] = float(self.evaluate(*state[::2], *data.validation))
        kept = {"params": state[0]} | ({"model_state": state[2]} if self.drawn.state else {})
        return Trained(curves, arrays_of(kept))

    def _init(self, key: jax.Array) -> tuple[Any, Any, Any]:
        params = self.functions["init"](self.config, key)
        params, model_state = params if self.drawn.state else (params, None)
        return params, self.functions["optimizer"](self.config).init(params), model_state

    def _step(self, params: Any, memory: Any, model_state: Any, x: jax.Array, y: jax.Array, key: jax.Array) -> Any:
        def objective(params: Any) -> Any:
            outputs, after = self._forward(params, model_state, x, key)
            mean = jnp.mean(self.functions["loss"](self.config, outputs, y).astype(jnp.float32))
            squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
            return mean + self.config.get("l2", 0.0) / 2 * squares, (mean, after)

        (value, (mean, after)), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        transform = optax.with_extra_args_support(self.functions["optimizer"](self.config))
        updates, memory = transform.update(gradients, memory, params, value=value, grad=gradients)
        return optax.apply_updates(params, updates), memory, after, mean

    def _evaluate(self, params: Any, model_state: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        if "evaluation_params" in self.functions:
            params = self.functions["evaluation_params"](self.config, {"params": params})
        outputs, _ = self._forward(params, model_state, x, None)
        return jnp.mean(self.functions["loss"](self.config, outputs, y).astype(jnp.float32))

    def _forward(self, params: Any, model_state: Any, x: jax.Array, key: jax.Array | None) -> tuple[Any, Any]:
        if self.drawn.state:
            return self.functions["apply"](self.config, params, model_state, x, key)
        return self.functions["apply"](self.config, params, x, key), None


def _sensitivity(
    drawn: DrawnTask, program: Mapping[str, Any], config: Mapping[str, Any], seed: int, right: Trained
) -> float:
    """How far the plain loop moves when the examples change in their last bits."""
    wobble, loop = 4 * float(jnp.finfo(drawn.dtype).eps), PlainLoop(drawn, program, config)
    return max(furthest(loop.train(seed, splits(wobble=sign * wobble)), right)[0] for sign in (1, -1))
