"""The task: three pure functions and the data; `supervised` writes them for the common case."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

import jax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped

from jsweep._runtime.types import Mode
from jsweep.data.arrays import Arrays
from jsweep.data.loader import Batches
from jsweep.data.splits import Splits
from jsweep.errors import ConfigError
from jsweep.task.config import Config, check_count

Metrics = Mapping[str, Shaped[Array, ""]]
State = PyTree


class Init(Protocol):
    """``init(config, key) -> state``: the state that training begins with."""

    def __call__(self, config: Config, key: PRNGKeyArray, /) -> State: ...


class Step(Protocol):
    """``step(config, state, batch, key) -> (state, metrics)``: one training step."""

    def __call__(self, config: Config, state: State, batch: Arrays, key: PRNGKeyArray, /) -> tuple[State, Metrics]: ...


class Evaluate(Protocol):
    """``evaluate(config, state, split) -> metrics``: scores on a whole split."""

    def __call__(self, config: Config, state: State, split: Arrays, /) -> Metrics: ...


class PerExample(Protocol):
    """``per_example(config, state, batch, key) -> losses``: the loss of each row of a batch."""

    def __call__(
        self, config: Config, state: State, batch: Arrays, key: PRNGKeyArray, /
    ) -> Shaped[Array, " batch"]: ...


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained: three pure functions and the data.

    ``config`` maps names to values; those in lanes are tracers. ``config["steps"]`` is always there: the number of steps
    that the trial trains.

    Args:
        init: ``init(config, key) -> state``, any pytree of arrays.
        step: ``step(config, state, batch, key) -> (state, metrics)``, one training step. ``batch`` is ``data.train`` with
            ``batch_size`` rows taken, ``key`` is a new one each step, ``metrics`` a dict of scalars, which are averaged over
            the steps between two evaluations and recorded as ``train/NAME``.
        evaluate: ``evaluate(config, state, split) -> metrics``. ``split`` is the whole of ``data.validation`` (recorded as
            ``validation/NAME``), or of ``data.test`` when that is opened.
        data: the examples, as `jsweep.Splits`.
        batch_size: the examples in a batch, for configs without a ``batch_size`` of their own; `jsweep.Batches` have theirs.
        name: what the sweep is called in the record unless it has a name of its own; part of the ids of trials.
        modes: whether the smallest ("min") or the largest ("max") value of a metric is best, by its name without the split.
        per_example: ``per_example(config, state, batch, key) -> losses``, one for each row of a batch, of which ``step`` uses
            the first ``config["batch_size"]`` alone. Where it is given, and each loss is proven to depend on its own row only,
            batches may be padded so that batch sizes share a program.
        mesh: devices of this process over which each trial is trained, for a model that is too large for one: lanes are
            trained one by one. What is sharded, and how, the functions say with `jax.lax.with_sharding_constraint`; all else
            is on every device.

    Raises:
        ConfigError: if ``data``, ``batch_size``, ``modes`` or ``mesh`` is not as described.
    """

    init: Init
    step: Step
    evaluate: Evaluate
    _: KW_ONLY
    data: Splits
    batch_size: int = 64
    name: str | None = None
    modes: Mapping[str, Mode] = field(default_factory=lambda: {"loss": "min"})
    per_example: PerExample | None = None
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        for name in ("init", "step", "evaluate"):
            if not callable(value := getattr(self, name)):
                raise ConfigError(f"{name} is of type {type(value).__name__}: pass a function.")
        check_splits(self.data)
        if isinstance(self.data.train, Batches):
            object.__setattr__(self, "batch_size", self.data.train.size)
        object.__setattr__(self, "batch_size", check_count("batch_size", self.batch_size))
        _check_mesh(self.mesh)
        if not isinstance(self.modes, Mapping):
            raise ConfigError(f'modes={self.modes!r} is not valid: pass a dict, such as {{"accuracy": "max"}}.')
        for name, mode in self.modes.items():
            if "/" in name:
                own = name.rpartition("/")[2]
                raise ConfigError(f"modes names {name!r}: leave out the split, as in {own!r}.")
            if mode not in ("min", "max"):
                raise ConfigError(f'modes[{name!r}]={mode!r} is not valid: pass "min" or "max".')


def _check_mesh(mesh: object) -> None:
    """Raise ConfigError unless ``mesh`` is None or a mesh of this process's devices."""
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise ConfigError(
            f"mesh is a {type(mesh).__name__}: pass a jax.sharding.Mesh, such as jax.make_mesh((4,), ('model',))."
        )
    if any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ConfigError("mesh has devices of other processes: make it of jax.local_devices().")


def check_splits(data: object) -> Splits:
    """``data``; ConfigError unless it is a `Splits`."""
    if not isinstance(data, Splits):
        kind = type(data).__name__
        if hasattr(data, "__iter__") and not isinstance(data, tuple | list | dict) and not hasattr(data, "shape"):
            raise ConfigError(
                f"data is a {kind}: pass jsweep.Splits(train, validation), whose train is jsweep.Batches(make) where "
                "examples come from a data loader, and whose validation is arrays."
            )
        raise ConfigError(f"data is a {kind}: pass jsweep.Splits, or split arrays with jsweep.split(x, y).")
    return data
