"""What the commands print: tables for people, JSON for machines; names from a record can do no harm on a terminal."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jsweep._runtime.text import MOST_TEXT, clean
from jsweep.space import encode, format_value


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], most: int = MOST_TEXT) -> None:
    """A table on standard output; numbers to the right, text cut at ``most`` characters."""
    table = Table(title=Text(clean(title)), title_justify="left", header_style="bold", box=None, pad_edge=False)
    rows = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] in ("", "-") for row in rows) and rows
        table.add_column(Text(clean(column)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(number(cell) if isinstance(cell, float) else clean(cell, most)) for cell in row))
    console().print(table)


def console() -> Console:
    """Standard output; as wide as the terminal, and wide enough for tables in a pipe."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def number(value: float) -> str:
    """A score to five figures."""
    return f"{value:.5g}" if math.isfinite(value) else "-"


def print_json(value: Any) -> None:
    """One JSON document on standard output; what is not a finite number is null."""
    click.echo(json.dumps(jsonable(value), indent=2, allow_nan=False))


def jsonable(value: Any) -> Any:
    """Dataclasses and numbers as JSON; configs by their canonical encoding."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, list | set | frozenset | tuple):
        return [jsonable(item) for item in value]
    return encode(value)


def config_cells(config: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The values of ``names`` in a config, in words; "-" where it has none."""
    return [clean(format_value(config[name])) if name in config else "-" for name in names]


def names_of(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every name in ``configs``, in order of first appearance."""
    return list(dict.fromkeys(name for config in configs for name in config))


def print_ranking(title: str, ranking: Sequence[Any], most: int) -> None:
    """Configs with their scores, best first."""
    names = names_of(score.config for score in ranking)
    rows = [
        [
            place,
            *config_cells(s.config, names),
            s.mean,
            s.std,
            len(s.values),
            "" if s.complete else "not finite or unfinished",
        ]
        for place, s in enumerate(ranking[:most], 1)
    ]
    metric = ranking[0].metric if ranking else "score"
    print_table(title, ["", *names, f"{metric} mean", "std", "seeds", ""], rows)
    if len(ranking) > most:
        click.echo(f"... and {len(ranking) - most} more configs (--top N shows more)")
