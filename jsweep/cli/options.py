"""The options that several commands share, and what they stand for."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from jsweep.cli._options import objective_of, objective_options
from jsweep.errors import ConfigError
from jsweep.results.objective import Objective
from jsweep.results.ranking import At, Rule

STORE = "sweeps.db"

T = TypeVar("T")
Command = Callable[..., T]


@dataclass(frozen=True)
class Experiment:
    """An experiment file, and what the command line changes about its sweep (None: nothing)."""

    file: str
    store: str | None = None
    name: str | None = None
    seeds: int | None = None
    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(
                f"--steps {self.steps} and --epochs {self.epochs:g} exclude each other: pass one of them."
            )


@dataclass(frozen=True)
class Selection:
    """How a config is selected: by which metric (None: the sweep's objective), at which step, by which rule."""

    metric: str | Objective | None = None
    at: At = "last"
    rule: Rule = "mean"
    simplest: tuple[str, ...] | None = None

    @property
    def best(self) -> dict[str, Any]:
        """The arguments of ``Result.best`` and ``Session.test``."""
        return {"metric": self.metric, "at": self.at, "rule": self.rule, "simplest": self.simplest}


progress_option = click.option(
    "--progress",
    type=click.Choice(["live", "plain", "off"]),
    help="Progress on standard error: a live display, a line every few seconds (for log files), or none. "
    "[default: live on a terminal, else off]",
)
environment_option = click.option(
    "--any-environment", is_flag=True, help="Resume a sweep that was begun under other versions or on another machine."
)
top_option = click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows of the table.")

_store = click.option("--store", help=f"The record's file. [default: the experiment's own, or {STORE}]")
_name = click.option("--name", help="The sweep's name in the record.")
_length = [
    click.option("--seeds", type=int, help="Train every config under this many seeds."),
    click.option("--steps", type=int, help="Train each trial for this many steps."),
    click.option("--epochs", type=float, help="Train each trial for this many epochs."),
]
_rule = [
    click.option(
        "--rule", type=click.Choice(["mean", "one-standard-error"]), default="mean", help="See jsweep best -h."
    ),
    click.option("--simplest", help="See jsweep best -h."),
]


def experiment_options(command: Command[T]) -> Command[T]:
    """Add FILE, --store, --name, --seeds, --steps and --epochs; the command takes them as ``experiment``."""
    return _with_options(_with_experiment(command), [click.argument("file"), _store, _name, *_length])


def recorded_options(command: Command[T]) -> Command[T]:
    """Add FILE, --store and --name; the command takes them as ``experiment``."""
    return _with_options(_with_experiment(command), [click.argument("file"), _store, _name])


def selection_options(command: Command[T]) -> Command[T]:
    """Add --metric, --mode, --at, --rule and --simplest; the command takes them as ``selection``."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> T:
        metric = objective_of(options.pop("metric"), options.pop("mode"))
        names = options.pop("simplest")
        simplest = tuple(name.strip() for name in names.split(",")) if names else None
        selection = Selection(metric, options.pop("at"), options.pop("rule"), simplest)
        return command(*args, selection=selection, **options)

    return objective_options(_with_options(wrapped, _rule))


def _with_experiment(command: Command[T]) -> Command[T]:
    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> T:
        return command(*args, experiment=Experiment(**_taken(options)), **options)

    return wrapped


def _taken(options: dict[str, Any]) -> Mapping[str, Any]:
    """Take the fields of `Experiment` out of ``options``."""
    return {name: options.pop(name) for name in Experiment.__dataclass_fields__ if name in options}


def _with_options(command: Command[T], decorators: list[Callable[[Command[T]], Command[T]]]) -> Command[T]:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
