"""What the commands print: tables for people, JSON for machines; names from a record can do no harm on a terminal."""

import dataclasses
import json
import math
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from jsweep._runtime.text import MOST_TEXT
from jsweep.results.ranking import ConfigScore
from jsweep.results.reports import ranking_text
from jsweep.results.text_table import format_table
from jsweep.space import encode

PIPE_WIDTH = 160  # characters of a line where the output is not a terminal


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], most: int = MOST_TEXT) -> None:
    """A table on standard output, as wide as the terminal allows; see `format_table`."""
    click.echo(format_table(title, columns, list(rows), terminal_width(), most))


def terminal_width() -> int:
    """The width of the terminal in characters: ``COLUMNS``, else what it says itself, else `PIPE_WIDTH`."""
    return max(40, shutil.get_terminal_size((PIPE_WIDTH, 24)).columns)


def wrapped(text: str) -> str:
    """An item of a list in lines as wide as the terminal allows, all but the first indented."""
    return textwrap.fill(text, terminal_width(), subsequent_indent="  ", break_on_hyphens=False)


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


def print_ranking(title: str, ranking: Sequence[ConfigScore], most: int) -> None:
    """The first ``most`` configs of a ranking with their scores, best first."""
    click.echo(ranking_text(title, ranking, terminal_width(), most))
