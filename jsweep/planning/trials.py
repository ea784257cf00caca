"""From configs and seeds to trials: each with its id, its length in steps and its place in the record."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jsweep import space
from jsweep.data.loader import Batches
from jsweep.errors import ConfigError
from jsweep.storage.records import Trial
from jsweep.task.config import check_count
from jsweep.task.task import Task


def make_trials(
    task: Task,
    configs: Sequence[Mapping[str, Any]],
    seeds: int | Iterable[int],
    steps: int | None,
    epochs: float | None,
    examples: int | None,
) -> tuple[Trial, ...]:
    """Every config under every seed, config by config; ConfigError for what cannot be trained.

    ``examples`` are those of an epoch, None where that is not known.
    """
    chosen = space.configs(configs)
    if not chosen:
        raise ConfigError("configs is empty: give at least one config, such as jsweep.grid({'learning_rate': [0.1]}).")
    trials = []
    for identity, config in zip(chosen.ids, chosen, strict=True):
        length = _steps_of(task, config, steps, epochs, examples)
        trials += [
            Trial(trial_id(task.name or "task", identity, s), identity, config, s, length) for s in seed_list(seeds)
        ]
    return tuple(trials)


def trial_id(task_name: str, config_identity: str, seed: int) -> str:
    """16 hex digits from the task's name, the config's id and the seed."""
    return hashlib.sha256(f"{task_name}\n{config_identity}\n{seed}".encode()).hexdigest()[:16]


def seed_list(seeds: int | Iterable[int]) -> list[int]:
    """``seeds`` as a list: a count n means 0 to n - 1."""
    if isinstance(seeds, bool) or (isinstance(seeds, int) and seeds < 1):
        raise ConfigError(f"seeds={seeds!r} trains nothing: give a count of at least 1, or a list of seeds.")
    if isinstance(seeds, int):
        return list(range(seeds))
    if isinstance(seeds, str | float) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds={seeds!r} is neither a count nor a list of seeds: give one, such as seeds=5.")
    listed = list(seeds)
    for seed in listed:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ConfigError(f"seeds holds {seed!r}: give whole numbers from 0 to 4294967295.")
    if not listed or len(set(listed)) != len(listed):
        raise ConfigError(f"seeds={listed} is empty or repeats a seed: give different seeds.")
    return listed


def _steps_of(
    task: Task, config: Mapping[str, Any], steps: int | None, epochs: float | None, examples: int | None
) -> int:
    if "steps" in config and "epochs" in config:
        raise ConfigError(f"the config {dict(config)} has both steps and epochs: leave one of them out.")
    if "steps" in config:
        check_count("steps", config["steps"])
        return config["steps"]
    batch_size = config.get("batch_size", task.batch_size)
    check_count("batch_size", batch_size)
    if "batch_size" in config and isinstance(task.data.train, Batches):
        raise ConfigError(
            f"batch_size={batch_size} is swept, and data.train comes in batches of {task.batch_size}: leave it out of the space."
        )
    if examples is not None and batch_size > examples:
        raise ConfigError(f"batch_size={batch_size} is more than the {examples} training examples: give a smaller one.")
    epochs = config.get("epochs", epochs)
    if epochs is None:
        if steps is None:
            raise ConfigError("steps and epochs are both missing: say how long to train, such as steps=2000.")
        check_count("steps", steps)
        return steps
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 0 < epochs < math.inf:
        raise ConfigError(f"epochs={epochs!r} is not a number above 0: give one, such as epochs=10.")
    if examples is None:
        raise ConfigError(
            f"epochs={epochs!r} needs an epoch's length: give steps, or jsweep.Batches(..., examples=...)."
        )
    return max(1, math.ceil(epochs * examples / batch_size))
