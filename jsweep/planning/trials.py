"""From configs and seeds to trials: each with its id, its length in steps and its place in the record."""

import hashlib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from jsweep import space
from jsweep._runtime.types import Value
from jsweep.data.loader import Batches
from jsweep.errors import ConfigError
from jsweep.storage.records import Trial
from jsweep.task.config import check_count
from jsweep.task.task import Task

_PLAIN = frozenset({bool, int, float, str})  # what `resolved` leaves as it is and nobody can change
_LENGTH_NAMES = frozenset({"steps", "epochs", "batch_size"})


def make_trials(
    task: Task,
    configs: Sequence[Mapping[str, Value]],
    seeds: int | Iterable[int],
    steps: int | None,
    epochs: float | None,
    examples: int | None,
) -> tuple[Trial, ...]:
    """Every config under every seed, config by config.

    Args:
        task: the task.
        configs: the configs; functions that a record has named are imported.
        seeds: a count, or different seeds.
        steps: the length of a trial whose config does not say; so are ``epochs``, of which there is one or the other.
        epochs: see ``steps``.
        examples: the training examples of an epoch; None where that is not known.

    Raises:
        ConfigError: for what cannot be trained.
    """
    chosen = space.configs(configs)
    if not chosen:
        raise ConfigError("configs is empty: pass at least one config, such as jsweep.grid({'learning_rate': [0.1]}).")
    listed = _with_folds(seed_list(seeds), task)
    trials: list[Trial] = []
    common: int | None = None  # the length of configs that say nothing about it
    for identity, given in zip(chosen.ids, chosen.rows, strict=True):
        config = given if _PLAIN.issuperset(map(type, given.values())) else {n: resolved(v) for n, v in given.items()}
        if not _LENGTH_NAMES.isdisjoint(config):
            length = _steps_of(task, config, steps, epochs, examples)
        else:
            length = common = common or _steps_of(task, config, steps, epochs, examples)
        trials += [Trial(trial_id(task.name or "task", identity, s), identity, config, s, length) for s in listed]
    return tuple(trials)


def resolved(value: Value) -> Value:
    """A value with the functions that a record names in their place."""
    if isinstance(value, space.Named):
        return value.resolve()
    if isinstance(value, list | tuple):
        return type(value)(resolved(item) for item in value)
    return {key: resolved(item) for key, item in value.items()} if isinstance(value, dict) else value


def trial_id(task_name: str, config_identity: str, seed: int) -> str:
    """16 hex digits from the task's name, the config's id and the seed."""
    return hashlib.sha256(f"{task_name}\n{config_identity}\n{seed}".encode()).hexdigest()[:16]


def seed_list(seeds: int | Iterable[int]) -> list[int]:
    """``seeds`` as a list: a count n means 0 to n - 1."""
    if isinstance(seeds, bool) or (hasattr(seeds, "__index__") and not getattr(seeds, "shape", ())):
        return list(range(check_count("seeds", seeds)))
    if isinstance(seeds, str | float) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds={seeds!r} is neither a count nor a list of seeds: pass one, such as seeds=5.")
    listed = [_seed(seed) for seed in seeds]
    if not listed or len(set(listed)) != len(listed):
        raise ConfigError(f"seeds={listed} is empty or repeats a seed: pass different seeds.")
    return listed


def _with_folds(seeds: list[int], task: Task) -> list[int]:
    """The recorded seeds: one for each fold of each seed, where there are folds."""
    if task.data.folds is None:
        return seeds
    count = task.data.folds.count
    return [_seed(seed * count + fold) for seed in seeds for fold in range(count)]


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= operator.index(seed) < 2**32:
        raise ConfigError(f"seeds holds {seed!r}: pass whole numbers from 0 to 4294967295.")
    return operator.index(seed)


def _steps_of(
    task: Task, config: Mapping[str, Value], steps: int | None, epochs: float | None, examples: int | None
) -> int:
    """The steps of one config's trials; an epoch that is not whole batches is rounded up."""
    if "steps" in config and "epochs" in config:
        raise ConfigError(f"the config {dict(config)} has both steps and epochs: leave one of them out.")
    if (steps is not None and "epochs" in config) or (epochs is not None and "steps" in config):
        given, own = ("steps", "epochs") if steps is not None else ("epochs", "steps")
        raise ConfigError(
            f"{given} is given to the sweep and the config {dict(config)} has {own}, which is how long a trial trains: leave one "
            "of them out, or rename a hyperparameter of your own algorithm that has this name."
        )
    batch_size = check_count("batch_size", config.get("batch_size", task.batch_size))
    if "batch_size" in config and isinstance(task.data.train, Batches):
        raise ConfigError(
            f"batch_size={batch_size} is swept, and data.train comes in batches of {task.batch_size}: leave it out of the space."
        )
    if examples is not None and batch_size > examples:
        raise ConfigError(
            f"batch_size={batch_size} is more than the {examples} training examples: pass a smaller one, or "
            "rename a hyperparameter of your own algorithm that has this name."
        )
    if "steps" in config:
        return check_count("steps", config["steps"])
    length = config.get("epochs", epochs)
    if length is None:
        if steps is None:
            raise ConfigError("steps and epochs are both missing: say how long to train, such as steps=2000.")
        return check_count("steps", steps)
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length < math.inf:
        raise ConfigError(f"epochs={length!r} is not a number above 0: pass one, such as epochs=10.")
    if examples is None:
        raise ConfigError(
            f"epochs={length!r} needs the length of an epoch: pass steps, or jsweep.Batches(..., examples=...)."
        )
    return max(1, math.ceil(Fraction(str(length)) * examples / batch_size))  # as written: 1.1 is eleven tenths
