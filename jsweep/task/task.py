"""The task: three pure functions and the data; `supervised` writes them for the common case."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import jax
import jax.core

from jsweep.data.loader import Batches
from jsweep.data.splits import Splits
from jsweep.errors import ConfigError
from jsweep.task.config import Config, check_count


@dataclass(frozen=True)
class Task:
    """What is trained: three pure functions, the data, and a name for the record.

    - ``init(config, key) -> state``, any pytree of arrays.
    - ``step(config, state, batch, key) -> state, metrics``: one training step; ``batch`` is ``data.train`` with
      ``batch_size`` rows taken, ``key`` is fresh each step, ``metrics`` a dict of scalars (averaged over the steps
      between two evaluations and recorded as ``train/NAME``).
    - ``evaluate(config, state, split) -> metrics``: ``split`` is the whole of ``data.validation`` (recorded as
      ``validation/NAME``), or of ``data.test`` when that is opened.

    ``config`` maps names to values; its lane values are tracers. ``config["steps"]`` is always there: the number of
    steps the trial trains. ``batch_size`` holds where a config has no ``batch_size`` of its own; of `Batches` it is theirs.
    ``higher_is_better`` names the metrics of which more is better.
    """

    init: Callable[[Config, jax.Array], Any]
    step: Callable[[Config, Any, Any, jax.Array], tuple[Any, Mapping[str, jax.Array]]]
    evaluate: Callable[[Config, Any, Any], Mapping[str, jax.Array]]
    _: KW_ONLY
    data: Splits
    batch_size: int = 64
    name: str = "task"
    higher_is_better: frozenset[str] = field(default_factory=frozenset)
    masks_batch: bool = False
    """Whether ``step`` ignores the rows of a batch past ``config["batch_size"]``, so that batch size may be a lane."""

    def __post_init__(self) -> None:
        if not isinstance(self.data, Splits):
            raise ConfigError(
                f"data is a {type(self.data).__name__}: give jsweep.Splits, or make one with jsweep.split."
            )
        if isinstance(self.data.train, Batches):
            object.__setattr__(self, "batch_size", self.data.train.size)
        check_count("batch_size", self.batch_size)
