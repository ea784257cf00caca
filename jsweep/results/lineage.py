"""What configs were trained with where a rule let them go on from copies of others: followed back from the record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from jsweep._runtime.types import Value
from jsweep.errors import StoreError
from jsweep.storage.records import Copy


@dataclass(frozen=True)
class Stretch:
    """Training between two copies: the config in whose lane it was, from its step ``begin`` to ``end``, and its values."""

    config_id: str
    begin: int
    end: int
    config: Mapping[str, Value]


@dataclass(frozen=True)
class Lineage:
    """The copies of a sweep, by the config that was replaced; ``configs`` are the configs as they began, by id."""

    configs: Mapping[str, Mapping[str, Value]]
    copies: Mapping[str, Sequence[Copy]] = field(default_factory=dict)

    def path(self, config_id: str, step: int) -> list[Stretch]:
        """How the state that a config had after ``step`` steps came about, from the first step on.

        Raises:
            StoreError: where the copies name configs that are not there.
        """
        back: list[tuple[str, int, int, Mapping[str, int | float]]] = []
        while True:
            if config_id not in self.configs:
                raise StoreError(
                    f"config {config_id} was copied and is not in the record, as its trials were dropped: run the sweep again to "
                    "train them."
                )
            copy = self._last(config_id, step)
            back.append((config_id, copy.step if copy else 0, step, copy.values if copy else {}))
            if copy is None:
                break
            config_id, step = copy.source, copy.step
        config = self.configs[config_id]
        stretches = []
        for identity, begin, end, values in reversed(back):
            config = {**config, **values}
            stretches.append(Stretch(identity, begin, end, config))
        return stretches

    def trained(self, config_id: str, step: int) -> Mapping[str, Value]:
        """What a config trained with as it came to ``step``."""
        return self.path(config_id, step)[-1].config if self.changed(config_id, step) else self.configs[config_id]

    def changed(self, config_id: str, step: int) -> int:
        """How often a config had been replaced by a copy as it came to ``step``."""
        return sum(copy.step < step for copy in self.copies.get(config_id, ()))

    def schedule(self, config_id: str, step: int) -> dict[str, Float64[np.ndarray, " steps"]]:
        """The value of every numeric hyperparameter at each of the ``step`` steps that led to a config's state."""
        path = self.path(config_id, step)
        lengths = [stretch.end - stretch.begin for stretch in path]
        columns = {name: [stretch.config.get(name) for stretch in path] for name in path[-1].config}
        return {
            name: np.repeat(np.array(v, np.float64), lengths) for name, v in columns.items() if all(map(_number, v))
        }

    def _last(self, config_id: str, before: int) -> Copy | None:
        found = [copy for copy in self.copies.get(config_id, ()) if copy.step < before]
        return max(found, key=lambda copy: copy.step, default=None)


def lineage_of(configs: Mapping[str, Mapping[str, Value]], copies: Iterable[Copy]) -> Lineage:
    """The lineage of configs, which are given by id as they began."""
    found: dict[str, list[Copy]] = {}
    for copy in copies:
        found.setdefault(copy.config_id, []).append(copy)
    return Lineage(configs, found)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
