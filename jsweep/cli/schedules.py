"""The verb ``schedules``: list them, or show and draw one."""

import inspect
import json
from typing import Any

import click

from jsweep import schedules as library
from jsweep.cli._tables import print_json, print_table
from jsweep.errors import ConfigError
from jsweep.schedules import CATALOGUE, Entry


@click.command(epilog="Example:  jsweep schedules cosine_decay init_value=0.1 decay_steps=500 --plot cosine.png")
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1)
@click.option("--steps", default=1000, show_default=True, type=click.IntRange(1), help="How many steps to show.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw it (without NAME: the gallery) as a PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def schedules(name: str | None, arguments: tuple[str, ...], steps: int, plot: str | None, as_json: bool) -> None:
    """List the schedules with their formulas in words, or show NAME with its arguments given as arg=value.

    Arguments that are not given take those of the gallery. A list is written [100,200].
    """
    if name is None:
        _list(plot, as_json)
        return
    entry = next((entry for entry in CATALOGUE if entry.name == name), None)
    if entry is None:
        raise ConfigError(f"{name!r} is not a schedule: pass one of {', '.join(e.name for e in CATALOGUE)}.")
    given = _arguments(entry, arguments)
    schedule = getattr(library, name)(**given)
    counts = sorted({round(steps * i / 10) for i in range(11)})
    values = [float(schedule(count)) for count in counts]
    if plot is not None:
        from jsweep.schedules._plot import plot_schedule

        shown = ", ".join(f"{key}={value}" for key, value in given.items())
        _drawn(plot_schedule(schedule, f"{name}({shown})"[:300], steps=steps, path=_checked(plot)), as_json)
    if as_json:
        print_json({"name": name, "arguments": given, "values": dict(zip(map(str, counts), values))})
        return
    click.echo(inspect.getdoc(getattr(library, name)))
    print_table("", ["step", "value"], list(zip(counts, values)))


def _list(plot: str | None, as_json: bool) -> None:
    if plot is not None:
        from jsweep.schedules._plot import plot_gallery

        _drawn(plot_gallery(_checked(plot), vars(library)), as_json)
    if as_json:
        print_json([{"name": e.name, "words": e.words, "example": dict(e.example)} for e in CATALOGUE])
        return
    rows = [[entry.name, entry.words, ", ".join(_parameters(entry))] for entry in CATALOGUE]
    print_table("", ["schedule", "what it does", "arguments"], rows, most=200)


def _parameters(entry: Entry) -> list[str]:
    return list(inspect.signature(getattr(library, entry.name)).parameters)


def _arguments(entry: Entry, texts: tuple[str, ...]) -> dict[str, Any]:
    known = _parameters(entry)
    given = dict(entry.example)
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise ConfigError(
                f"{text!r} is not an argument of {entry.name}: write arg=value with one of {', '.join(known)}."
            )
        given[key] = _value(text, value)
    return given


def _value(text: str, value: str) -> Any:
    try:
        parsed = json.loads(value.replace("True", "true").replace("False", "false"))
    except (ValueError, RecursionError):
        parsed = value
    if isinstance(parsed, dict) or parsed == "":
        raise ConfigError(
            f"{text[:80]!r} has no value that can be read: write a number, a name, or a list such as [100,200]."
        )
    return parsed


def _checked(plot: str) -> str:
    if not plot.lower().endswith(".png"):
        raise ConfigError(f"--plot {plot!r} does not end in .png: pass a name that does.")
    return plot


def _drawn(path: Any, as_json: bool) -> None:
    click.echo(f"drawn: {path}", err=as_json)
