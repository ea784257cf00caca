"""The options that several commands share, and what they stand for."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import click

from jsweep.errors import ConfigError

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
    """How a config is selected; None leaves it to the sweep's objective and the library's defaults."""

    metric: str | None = None
    mode: Literal["min", "max"] | None = None
    at: Literal["last", "best"] | int | None = None
    rule: Literal["mean", "one-standard-error"] | None = None
    simplest: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode is not None and self.metric is None:
            raise ConfigError(f"--mode {self.mode} needs a metric: pass --metric as well.")
        if (self.rule == "one-standard-error") != bool(self.simplest):
            raise ConfigError(
                "--rule one-standard-error and --simplest go together: pass both, as in "
                "--rule one-standard-error --simplest width,layers."
            )

    @property
    def ranking(self) -> dict[str, Any]:
        """The arguments of ``Result.ranking``."""
        given: dict[str, Any] = {}
        if self.metric is not None:
            given["metric"] = self.metric
        if self.metric is not None and self.mode is not None:
            from jsweep.results.objective import Objective

            given["metric"] = Objective(self.metric, self.mode)
        if self.at is not None:
            given["at"] = self.at
        return given

    @property
    def best(self) -> dict[str, Any]:
        """The arguments of ``Result.best`` and ``Session.test``."""
        if self.rule is None:
            return self.ranking
        return {**self.ranking, "rule": self.rule, **({"simplest": self.simplest} if self.simplest else {})}


class At(click.ParamType):
    """A step, or one of the words "last" and "best"."""

    name = "last|best|STEP"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("last", "best"):
            return str(value)
        try:
            return int(str(value))
        except ValueError:
            self.fail(f"{value!r} is not valid: pass last, best or a step.", param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
progress_option = click.option(
    "--progress",
    type=click.Choice(["live", "plain", "off"]),
    help="Progress on standard error: a live display, a line every few seconds (for log files), or none. "
    "[default: live on a terminal, else off]",
)
environment_option = click.option(
    "--any-environment", is_flag=True, help="Resume a sweep that was begun under other versions or on another machine."
)
_limits = [
    click.option(
        "--wall-time", help="End after training for so long, as in 90s, 10min or 1h30min, in all runs together."
    ),
    click.option("--target", type=float, help="End once a config's objective is as good as this."),
    click.option("--no-improvement", type=int, help="End once so many configs have ended since the best one did."),
]
top_option = click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows of the table.")

store_option = click.option("--store", default=STORE, show_default=True, help="The store's file.")

_store = click.option("--store", help=f"The record's file. [default: the experiment's own, or {STORE}]")
_name = click.option("--name", help="The sweep's name in the record.")
_length = [
    click.option("--seeds", type=int, help="Train every config under this many seeds."),
    click.option("--steps", type=int, help="Train each trial for this many steps."),
    click.option("--epochs", type=float, help="Train each trial for this many epochs."),
]
_ranking = [
    click.option("--metric", help="The metric to select by. [default: the sweep's objective]"),
    click.option("--mode", type=click.Choice(["min", "max"]), help="Which values of --metric are better."),
    click.option("--at", type=At(), help="The evaluation to select by. [default: last]"),
]
_selection = [
    *_ranking,
    click.option("--rule", type=click.Choice(["mean", "one-standard-error"]), help="The rule. [default: mean]"),
    click.option("--simplest", help="Names whose smaller values are simpler, as in width,layers."),
]


def experiment_options(command: Command[T]) -> Command[T]:
    """Add FILE, --store, --name, --seeds, --steps and --epochs; the command takes them as ``experiment``."""
    return _with_options(_with_experiment(command), [click.argument("file"), _store, _name, *_length])


def recorded_options(command: Command[T]) -> Command[T]:
    """Add FILE, --store and --name; the command takes them as ``experiment``."""
    return _with_options(_with_experiment(command), [click.argument("file"), _store, _name])


def limit_options(command: Command[T]) -> Command[T]:
    """Add --wall-time, --target and --no-improvement; the command takes them as ``limits``."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> T:
        limits = {name: options.pop(name) for name in ("wall_time", "target", "no_improvement")}
        return command(*args, limits=limits, **options)

    return _with_options(wrapped, _limits)


def selection_options(command: Command[T]) -> Command[T]:
    """Add --metric, --mode, --at, --rule and --simplest; the command takes them as ``selection``."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> T:
        names = options.pop("simplest") or ""
        simplest = tuple(name.strip() for name in names.split(",") if name.strip())
        chosen = {name: options.pop(name) for name in ("metric", "mode", "at", "rule")}
        return command(*args, selection=Selection(**chosen, simplest=simplest), **options)

    return _with_options(wrapped, _selection)


def ranking_options(command: Command[T]) -> Command[T]:
    """Add --metric, --mode and --at; the command takes them as ``selection``."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> T:
        chosen = {name: options.pop(name) for name in ("metric", "mode", "at")}
        return command(*args, selection=Selection(**chosen), **options)

    return _with_options(wrapped, _ranking)


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
