"""The plan: what a sweep will compile, hold and take, told before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsweep.backend import cores
from jsweep.engine.feed import device_memory
from jsweep.engine.run import default_workers
from jsweep.engine.width import guess_width, measured_seconds
from jsweep.errors import UserError
from jsweep.planning import Group, Role
from jsweep.space import config_id, format_value
from jsweep.sweeps import Prepared, Sweep, prepare
from jsweep.task import Config, Task

COMPILE_SECONDS = 1.5  # a perceptron's three programs on a core of today; larger models take longer
FLOPS_A_CORE = 3e10  # what tiles of small models reach on a core of today, where nothing was measured


@dataclass(frozen=True)
class GroupPlan:
    """One compile group: what it shares, how it runs, and estimates of its bytes and seconds.

    ``bytes`` are of a tile in flight: state, gradients and updates of its lanes. ``flops`` are of all its training steps.
    ``measured`` tells whether ``run_seconds`` comes from a timing on this machine or from the operations' number.
    """

    static: Mapping[str, Any]
    lanes: tuple[str, ...]
    trials: int
    width: int
    tiles: int
    bytes: int
    flops: float
    compile_seconds: float
    run_seconds: float
    measured: bool

    @property
    def label(self) -> str:
        """The values compiled in, or "all" where there are none."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.static.items()) or "all"


@dataclass(frozen=True)
class Plan:
    """The compile groups of a sweep, the role of every name, the memory there is, and warnings worth having."""

    groups: tuple[GroupPlan, ...]
    roles: Mapping[str, Role]
    workers: int
    memory: int
    warnings: tuple[str, ...]

    @property
    def programs(self) -> int:
        """How many programs (of initialisation, training and evaluation together) will be compiled."""
        return len(self.groups)

    @property
    def seconds(self) -> float:
        """Estimated seconds in all: the first compilation, then training, the rest compiling meanwhile."""
        compiling = sum(group.compile_seconds for group in self.groups) / min(2, cores())
        return max(compiling, COMPILE_SECONDS) + sum(group.run_seconds for group in self.groups)

    def __str__(self) -> str:
        trials = sum(group.trials for group in self.groups)
        lines = [
            f"{trials} trials in {self.programs} compiled program{'s' * (self.programs > 1)}, {self.workers} workers, "
            f"about {self.seconds:.0f} s and {max(g.bytes for g in self.groups) * self.workers / 1e6:.1f} MB of state "
            f"in flight (memory: {self.memory / 1e9:.0f} GB)"
        ]
        lines += [f"  {role.name}: {role.kind}, {role.reason}" for role in self.roles.values()]
        for group in self.groups[:20]:
            lines.append(
                f"  [{group.label}] {group.trials} trials in {group.tiles} tiles of {group.width} lanes, "
                f"{group.bytes / 1e6:.2f} MB a tile, {group.flops:.2g} operations, about {group.run_seconds:.1f} s"
                f"{'' if group.measured else ' (not measured here)'}"
            )
        if len(self.groups) > 20:
            lines.append(f"  ... and {len(self.groups) - 20} more programs")
        return "\n".join(lines + [f"  mind: {warning}" for warning in self.warnings])


def plan(sweep: Sweep | Prepared) -> Plan:
    """What a sweep will do, from abstract tracing alone: nothing is compiled and no step is run.

    Raises UserError for a user's mistake, and where a single lane does not fit the device's memory.
    """
    prepared = sweep if isinstance(sweep, Prepared) else prepare(sweep)
    workers = default_workers()
    memory = device_memory(workers[0])
    groups = tuple(_plan_group(prepared, group, len(workers)) for group in prepared.groups)
    for group in groups:
        if group.bytes / group.width > memory:
            raise UserError(
                f"one lane of [{group.label}] needs {group.bytes / group.width / 1e9:.1f} GB of state, gradients and "
                f"updates, and the device has {memory / 1e9:.1f} GB: make the model smaller, or shard it yourself."
            )
    return Plan(groups, prepared.roles, len(workers), memory, tuple(_warnings(prepared, groups)))


def _plan_group(prepared: Prepared, group: Group, workers: int) -> GroupPlan:
    task, wanted = prepared.setting.task, prepared.sweep.tile
    width = wanted if isinstance(wanted, int) else guess_width(group)
    tiles = group.tiles(width)
    lane_steps = (
        sum(max(trial.steps for trial in tile.trials) for tile in tiles) * width
    )  # padding costs what a trial does
    flops_a_step = step_flops(task, group)
    found = measured_seconds(task, group)
    if found is not None and not isinstance(wanted, int):
        width, seconds = found
        tiles = group.tiles(width)
    else:
        seconds = flops_a_step / (FLOPS_A_CORE * workers)
    return GroupPlan(
        static=dict(group.static),
        lanes=tuple(group.lanes),
        trials=len(group.trials),
        width=width,
        tiles=len(tiles),
        bytes=3 * width * group.lane_bytes,
        flops=flops_a_step * sum(trial.steps for trial in group.trials),
        compile_seconds=COMPILE_SECONDS,
        run_seconds=seconds * lane_steps,
        measured=found is not None,
    )


def step_flops(task: Task, group: Group) -> float:
    """Floating-point operations of one lane's step, as XLA counts them before it compiles."""
    lanes = {name: jax.ShapeDtypeStruct((), lane.dtype) for name, lane in group.lanes.items()}
    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((group.rows, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype)),
        task.data.train,
    )

    def one(values: dict[str, jax.Array], state: Any, batch: Any, words: jax.Array) -> Any:
        config = Config({**group.static, **{name: group.lanes[name].wrap(value) for name, value in values.items()}})
        return task.step(config, state, batch, jax.random.wrap_key_data(words))

    words = jax.ShapeDtypeStruct((2,), jnp.uint32)
    cost = jax.jit(one).lower(lanes, group.traced.state, batch, words).cost_analysis()
    return float((cost or {}).get("flops", np.nan))


def _warnings(prepared: Prepared, groups: Sequence[GroupPlan]) -> list[str]:
    told = []
    for name, role in prepared.roles.items():
        if role.kind != "group":
            continue
        values = {config_id({"v": group.static[name]}) for group in groups if name in group.static}
        lanes = sum(group.trials for group in groups) / len(groups)
        if len(values) > 3 and lanes < 16:
            told.append(f"{name} makes {len(values)} programs' worth of compiling for {lanes:.0f} trials a program")
    told += [hint for name in prepared.roles if (hint := _joining_hint(name, prepared, groups)) is not None]
    padding = sum(g.tiles * g.width for g in groups) / sum(g.trials for g in groups)
    if padding > 1.5:
        told.append(f"tiles are {1 - 1 / padding:.0%} padding: more trials a program, or a smaller tile=, waste less")
    return told


def _joining_hint(name: str, prepared: Prepared, groups: Sequence[GroupPlan]) -> str | None:
    """Whether a width would cost less as a lane, padded to the widest, than the programs it makes; None if not."""
    role = prepared.roles[name]
    if role.kind != "group" or not role.reason.startswith("used as a shape") or name == "batch_size":
        return None
    alike: dict[str, list[GroupPlan]] = {}
    for group in groups:
        if not isinstance(group.static.get(name), int):
            return None
        alike.setdefault(config_id({n: v for n, v in group.static.items() if n != name}), []).append(group)
    saved = sum(len(same) - 1 for same in alike.values()) * COMPILE_SECONDS / min(2, cores())
    wasted = 0.0
    for same in alike.values():
        widest = max(group.flops / group.trials for group in same)
        wasted += sum(group.run_seconds * (widest / (group.flops / group.trials) - 1) for group in same)
    if saved <= wasted:
        return None
    return (
        f"{name} as a lane would save about {saved:.1f} s of compiling and cost {wasted:.1f} s of masked work: "
        f"js.lane([...]), where the model masks (js.Width)"
    )
