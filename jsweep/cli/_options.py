"""Options that several commands share, and what they stand for."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.results.objective import Objective
from jsweep.results.ranking import At

_Command = TypeVar("_Command", bound=Callable[..., Any])

store_option = click.option("--store", default="sweeps.db", show_default=True, help="The store's file.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class _AtType(click.ParamType):
    """``last``, ``best`` or a number of steps."""

    name = "last|best|STEP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> At:
        if value in ("last", "best"):
            return value
        if not str(value).isdecimal():
            self.fail(f"{value!r} is not last, best or a number of steps.", param, ctx)
        return int(value)


def objective_options(command: _Command) -> _Command:
    """Add ``--metric``, ``--mode`` and ``--at``."""
    for option in (
        click.option("--at", type=_AtType(), default="last", show_default=True, help="The evaluation that counts."),
        click.option("--mode", type=click.Choice(["min", "max"]), help="Whether low or high values of it are better."),
        click.option("--metric", help="What to choose by (default: the sweep's objective)."),
    ):
        command = option(command)
    return command


def objective_of(metric: str | None, mode: Mode | None) -> str | Objective | None:
    """What ``--metric`` and ``--mode`` ask for."""
    if mode is None:
        return metric
    if metric is None:
        raise ConfigError(f"--mode {mode} needs --metric: say which metric, as in --metric validation/loss.")
    return Objective(metric, mode)
