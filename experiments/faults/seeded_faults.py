"""Faults of a planner, each as a context in which jsweep has it, with a task of the grammar that it makes wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import numpy as np
from drawn import DrawnTask, Layer

from jsweep.planning import Group, grouping
from jsweep.task import supervised
from jsweep.task.config import Config

read, lane_values = Config.__getitem__, Group.lane_values


def read_dropped() -> AbstractContextManager[Any]:
    """Reads of s0 are not noticed, so that configs that differ in it share a group."""

    def unnoticed(self: Config, name: str) -> Any:
        return self._values[name] if name == "s0" else read(self, name)

    return patch.object(Config, "__getitem__", unnoticed)


def padding_unmasked() -> AbstractContextManager[Any]:
    """The loss of a padded batch is the mean of all its rows."""
    return patch.object(supervised, "batch_mean", lambda config, values: values.mean())


def rows_taken_to_be_apart() -> AbstractContextManager[Any]:
    """Batches are padded though a row looks at others."""
    return patch.multiple(grouping, why_rows_mix=lambda *_: None)


def lanes_mixed() -> AbstractContextManager[Any]:
    """Every lane has the numbers of its neighbour."""

    def mixed(self: Group, trials: Any) -> dict[str, np.ndarray]:
        return {name: np.roll(values, 1) for name, values in lane_values(self, trials).items()}

    return patch.object(Group, "lane_values", mixed)


PADDED = {"names": ("batch_size",), "roles": (("batch_size", "lane"),)}
FAULTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], DrawnTask]] = {
    "a read dropped": (
        read_dropped,
        DrawnTask(layers=(Layer("scale", '{"a": 0.2, "b": 0.5, "c": 0.8}[config["s0"]]', "4"),)),
    ),
    "padding unmasked": (padding_unmasked, DrawnTask(**PADDED)),
    "rows taken to be apart": (
        rows_taken_to_be_apart,
        DrawnTask(layers=(Layer("mean of rows", "0.3", "4"),), **PADDED),
    ),
    "lanes mixed": (lanes_mixed, DrawnTask(layers=(Layer("scale", 'config["f0"]', "4"),))),
}
