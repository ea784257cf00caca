"""One config as a task reads it."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsweep.errors import ConfigError


class Config(dict):
    """One config as the task sees it: lane values are tracers, static values Python values; reads are noted."""

    def __init__(self, values: Mapping[str, Any], reads: set[str] | None = None):
        super().__init__(values)
        self.reads: set[str] = set() if reads is None else reads

    def __getitem__(self, name: str) -> Any:
        if not super().__contains__(name):
            raise ConfigError(
                f"the task reads config[{name!r}], which this config does not have (it has: {', '.join(self.names())}): "
                "add it to the space, or read it with config.get."
            )
        self.reads.add(name)
        return super().__getitem__(name)

    def names(self) -> list[str]:
        """The names of this config, without noting a read."""
        return list(super().keys())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 (dict.get would not note the read)

    def __iter__(self) -> Iterator[str]:
        self.reads.update(super().keys())
        return super().__iter__()

    def keys(self):
        self.reads.update(super().keys())
        return super().keys()

    def items(self):
        self.reads.update(super().keys())
        return super().items()

    def values(self):
        self.reads.update(super().keys())
        return super().values()


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise ConfigError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"{name}={value!r} is not a whole number of at least {least}: give one, such as {max(least, 10)}."
        )
