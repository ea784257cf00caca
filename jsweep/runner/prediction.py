"""What a sweep would take on an accelerator that is not at hand."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

import jax

from jsweep._runtime.types import Value
from jsweep.engine.accelerators import ACCELERATORS, Accelerator, lane_cost
from jsweep.engine.input_pipeline import RESIDENT_SHARE, WINDOW_BYTES
from jsweep.engine.tile import count_stops
from jsweep.errors import ConfigError
from jsweep.planning import Group, Role
from jsweep.runner.prepare import Prepared
from jsweep.space import format_value

USABLE = 0.8  # of the memory, as the engine uses it


@dataclass(frozen=True)
class PredictedGroup:
    """One compile group on an accelerator.

    ``fit`` lanes fit its memory at once; ``lanes`` train at once, in ``waves``. ``flops`` and ``bytes`` are of one lane's
    step, as XLA counts them; ``step_seconds`` are of one step of all ``lanes``, ``run_seconds`` of all training and evaluating,
    both by the roofline.
    """

    static: Mapping[str, Value]
    trials: int
    fit: int
    lanes: int
    waves: int
    flops: float
    bytes: float
    step_seconds: float
    run_seconds: float

    @property
    def label(self) -> str:
        """The values compiled in, or "all" where there are none."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.static.items()) or "all"


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a sweep would take on one accelerator, by its data sheet: predicted, not measured.

    Attributes:
        on: the accelerator's name.
        memory: its bytes.
        groups: the compile groups that have trials left.
        roles: each name's role, and why.
        finished: trials that the store has already.
        seconds: the least that training and evaluating take, by the roofline; neither compiling nor launching kernels is in it.
        notes: what else is not counted, a sentence each.
    """

    on: str
    memory: int
    groups: tuple[PredictedGroup, ...]
    roles: Mapping[str, Role]
    finished: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def programs(self) -> int:
        """How many programs (of initialisation, training and evaluation together) would be compiled."""
        return len(self.groups)

    def __repr__(self) -> str:
        trials = sum(group.trials for group in self.groups)
        if not self.groups:
            return f"nothing is left to do: all {self.finished} trials have finished"
        lines = [
            f"predicted for one {self.on} ({self.memory / 1e9:.0f} GB), by the roofline of its published peaks: "
            f"{trials} trials in {self.programs} compiled programs, at least {self.seconds:.3g} s of training"
            f"{f'; {self.finished} finished before' if self.finished else ''}"
        ]
        lines += [f"  {role.name}: {role.kind}, {role.reason}" for role in self.roles.values()]
        for group in self.groups[:20]:
            lines.append(
                f"  [{group.label}] {group.trials} trials, {group.lanes} lanes at once ({group.fit} fit) in {group.waves} waves; "
                f"a step of a lane {group.flops:.3g} operations and {group.bytes:.3g} bytes, of all lanes at least "
                f"{1e6 * group.step_seconds:.3g} us; training at least {group.run_seconds:.3g} s"
            )
        if len(self.groups) > 20:
            lines.append(f"  ... and {len(self.groups) - 20} more programs")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def accelerator_named(on: str) -> Accelerator:
    """An accelerator; ConfigError for one that is not known."""
    if not isinstance(on, str) or on not in ACCELERATORS:
        raise ConfigError(f"on={on!r} is not a known accelerator: pass one of {', '.join(map(repr, ACCELERATORS))}.")
    return ACCELERATORS[on]


def predict(prepared: Prepared, accelerator: Accelerator, share: float, finished: Set[str]) -> Prediction:
    """What is left of a prepared sweep on an accelerator.

    Args:
        prepared: the sweep.
        accelerator: the device.
        share: of the steps that its rule leaves to train.
        finished: the trials that need no training.

    Raises:
        ConfigError: where a single lane does not fit the memory.
    """
    if prepared.setting.task.mesh is not None:
        raise ConfigError("the task has a mesh, and on= predicts for one device: leave on= out.")
    data = prepared.setting.task.data
    train = sum(leaf.nbytes for leaf in jax.tree.leaves(data.train))
    streamed = not train or train > RESIDENT_SHARE * accelerator.memory  # loaders have no arrays
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(data.validation)) + (2 * WINDOW_BYTES if streamed else train)
    left = [(group, tuple(t for t in group.trials if t.id not in finished)) for group in prepared.groups]
    groups = [
        _predict_group(prepared, replace(group, trials=trials), accelerator, share, USABLE * accelerator.memory - held)
        for group, trials in left
        if trials
    ]
    notes = ["launching kernels is not counted, which is most of the time where a step of all lanes takes under 100 us"]
    if streamed:
        notes.append("the training examples stream from the host, and the time of that is not counted")
    if any(group.traced.calls_host for group, _ in left):
        notes.append("the task calls functions on the host, and the time of that is not counted")
    return Prediction(
        on=accelerator.name,
        memory=accelerator.memory,
        groups=tuple(groups),
        roles=prepared.roles,
        finished=sum(trial.id in finished for trial in prepared.trials),
        seconds=sum(group.run_seconds for group in groups),
        notes=tuple(notes) if groups else (),
    )


def _predict_group(
    prepared: Prepared, group: Group, accelerator: Accelerator, share: float, memory: float
) -> PredictedGroup:
    cost = lane_cost(prepared.setting.task, group)
    lane = accelerator.padding * max(cost.step.held, cost.evaluation.held, 1.0)
    fit = int(max(memory, 0.0) // lane)
    if not fit:
        raise ConfigError(
            f"one lane of [{group.label}] needs {lane / 1e9:.1f} GB beside the data, and the {accelerator.name} has "
            f"{accelerator.memory / 1e9:.0f} GB: make the model smaller, or shard it yourself."
        )
    wanted = prepared.sweep.tile if isinstance(prepared.sweep.tile, int) else len(group.trials)
    lanes = min(wanted, fit)
    seconds_of = lambda cost: accelerator.seconds(lanes * cost.flops, lanes * cost.accessed)
    tiles = group.tiles(lanes)
    step, evaluation, seconds = seconds_of(cost.step), seconds_of(cost.evaluation), 0.0
    for tile in tiles:
        longest = max(trial.steps for trial in tile.trials)
        seconds += longest * step + count_stops(tile.trials, prepared.setting.evaluate_every) * evaluation
    return PredictedGroup(
        static=group.compiled_in,
        trials=len(group.trials),
        fit=fit,
        lanes=lanes,
        waves=len(tiles),
        flops=cost.step.flops,
        bytes=cost.step.accessed,
        step_seconds=step,
        run_seconds=share * seconds,
    )
