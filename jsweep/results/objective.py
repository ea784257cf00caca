"""The objective: the metric that selects a config, and whether its smallest or largest value is best."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError, UnknownNameError

DEFAULT_METRIC = "validation/loss"


@dataclass(frozen=True)
class Objective:
    """The metric to select by, and its direction; made by `maximize` and `minimize`.

    ``metric`` is a name as recorded ("validation/accuracy"). ``mode`` is "min" or "max"; None leaves it to the metric,
    whose direction the task recorded.
    """

    metric: str
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise ConfigError(
                f"metric={self.metric!r} is not valid: pass the name of a metric, as in 'validation/loss'."
            )
        if self.mode is not None and self.mode not in get_args(Mode):
            raise ConfigError(f"mode={self.mode!r} is not valid: pass 'min' or 'max'.")


def maximize(metric: str) -> Objective:
    """The objective of which the largest value is best.

    >>> maximize("validation/f1")
    Objective(metric='validation/f1', mode='max')
    """
    return Objective(metric, "max")


def minimize(metric: str) -> Objective:
    """The objective of which the smallest value is best."""
    return Objective(metric, "min")


@dataclass(frozen=True)
class Directions:
    """What a sweep's settings say about its metrics: the names recorded, the objective, and the known directions.

    ``modes`` maps names without the split ("accuracy") to "min" or "max"; ``objectives`` are all that the sweep said.
    """

    metrics: tuple[str, ...]
    objective: Objective = Objective(DEFAULT_METRIC)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = ()

    def resolve(self, metric: "str | Objective | None", sweep: str) -> Objective:
        """The objective to rank by, with its direction.

        Args:
            metric: A recorded name, an `Objective`, or None for the sweep's own objective.
            sweep: The sweep's name, for messages.

        Returns:
            An objective whose ``mode`` is not None.

        Raises:
            UnknownNameError: The metric is not recorded.
            ConfigError: Its direction is not known.
        """
        if metric is not None and not isinstance(metric, str | Objective):
            raise ConfigError(
                f"metric is a {type(metric).__name__}: pass the name of a metric; a selection is repeated by at=, rule= and "
                "simplest=."
            )
        wanted = self.objective if metric is None else metric if isinstance(metric, Objective) else Objective(metric)
        check_recorded(wanted.metric, self.metrics, sweep)
        if wanted.mode is not None:
            return wanted
        if wanted.metric == self.objective.metric and self.objective.mode is not None:
            return self.objective
        mode = self.modes.get(wanted.metric.partition("/")[2] or wanted.metric)
        if mode is None:
            raise ConfigError(
                f"the direction of {wanted.metric!r} is not known: pass js.maximize({wanted.metric!r}) or "
                f"js.minimize({wanted.metric!r}) (--mode max or --mode min)."
            )
        return Objective(wanted.metric, mode)


def directions_of(metrics: Sequence[str], settings: Mapping[str, Any]) -> Directions:
    """What a sweep's recorded settings, which were checked when they were read, say about directions."""
    said: Mapping[str, Any] = settings.get("objective") or {"metric": DEFAULT_METRIC}
    modes: Mapping[str, Any] = settings.get("modes", {"loss": "min"})
    known = {name: mode for name, mode in modes.items() if mode is not None}
    several = tuple(Objective(metric, mode) for metric, mode in settings.get("objectives", []))
    return Directions(tuple(metrics), Objective(said["metric"] or DEFAULT_METRIC, said.get("mode")), known, several)


def check_recorded(metric: str, recorded: Sequence[str], sweep: str) -> None:
    """Raise UnknownNameError, naming the closest and all recorded metrics, unless ``metric`` is among them."""
    if metric in recorded:
        return
    own = lambda name: name.partition("/")[2] or name  # without the split
    close = difflib.get_close_matches(own(metric), [own(name) for name in recorded], n=1)
    close = close or [own(name) for name in recorded if own(name).startswith(own(metric))]
    alike = sorted((name for name in recorded if own(name) in close), key=lambda name: _same_split(name, metric))
    hint = f" (the closest is {alike[0]!r})" if alike else ""
    raise UnknownNameError(
        f"metric={metric!r} is not recorded for {sweep!r}: it has {', '.join(recorded) or 'no metrics'}{hint}."
    )


def _same_split(name: str, metric: str) -> int:
    """0 for a name of the same split as ``metric``, 1 for one of the validation split, else 2."""
    split = name.partition("/")[0]
    return 0 if metric.startswith(f"{split}/") else 1 if split == "validation" else 2
