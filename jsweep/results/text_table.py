"""Tables as text that fit a given width: headings break between words, and columns that do not fit go below."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len

from jsweep._runtime.text import MOST_TEXT, clean
from jsweep.space import format_value

GAP = 2  # spaces between columns
DIGITS = (4, 6, 9, 12, 17)  # significant digits of a float, as few as keep different values apart
NARROWEST = 12  # characters below which a cell's text is not broken


def number(value: float) -> str:
    """A score to five figures; "-" for what is not finite."""
    return f"{value:.5g}" if math.isfinite(value) else "-"


def spread(value: float) -> str:
    """A standard deviation or error to two figures; "-" for what is not finite."""
    return f"{value:.2g}" if math.isfinite(value) else "-"


def names_of(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every name in ``configs``, in order of first appearance."""
    return list(dict.fromkeys(name for config in configs for name in config))


def config_columns(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The values of every name in ``configs`` as text, by name: a text for each config, "-" where it has none."""
    columns = {}
    for name in names_of(configs):
        shown = iter(distinct([config[name] for config in configs if name in config]))
        columns[name] = [next(shown) if name in config else "-" for config in configs]
    return columns


def distinct(values: Sequence[Any]) -> list[str]:
    """Values as text, floats with as few digits as tell different values apart; where text is cut, a number does."""
    shown: list[str] = []
    different = list(dict.fromkeys(map(repr, values)))
    for digits in DIGITS:
        shown = [_with_digits(value, digits) for value in values]
        if len(set(shown)) == len(different):
            return shown
    return [f"{text} ({different.index(repr(value)) + 1})" for text, value in zip(shown, values)]


def config_lines(config: Mapping[str, Any]) -> str:
    """A config with a line for each name, floats with all their digits."""
    size = max((cell_len(clean(name)) for name in config), default=0)
    lines = []
    for name, value in config.items():
        shown = format_value(value)
        exact = repr(value) if type(value) is float and float(shown) != value else shown
        lines.append(f"  {clean(name)}{' ' * (size - cell_len(clean(name)))}  {clean(exact)}")
    return "\n".join(lines)


def format_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], width: int, most: int = MOST_TEXT
) -> str:
    """A table in lines of at most ``width`` characters.

    Where all columns do not fit, headings take more lines, breaking after a space or "/"; then long texts do; then
    the last columns go into further blocks, which repeat the first column. Text from a store is made harmless.

    Args:
        title: A line above the table; "" for none.
        columns: The headings.
        rows: The cells: floats are shown to five figures, everything else as text of at most ``most`` characters.
        width: The width to fit, in characters.
        most: The longest text of a cell.

    Returns:
        The lines, joined; a word that is wider than ``width`` makes its line wider.
    """
    made = [_column(heading, [row[index] for row in rows], most) for index, heading in enumerate(columns)]
    blocks = [block for block in _blocks(made, width) if block]
    texts = ["\n".join(_block_lines(block, width)) for block in blocks]
    lines = [clean(title, 200)] if title else []
    return "\n".join([*lines, "\n\n".join(texts)])


@dataclass(frozen=True)
class _Column:
    """A column's heading and cells as text, and the least and the natural width, in characters."""

    heading: str
    cells: tuple[str, ...]
    numeric: bool

    @property
    def least(self) -> int:
        heading = max((cell_len(word) for word in _pieces(self.heading)), default=0)
        cells = max((self._least_of(cell) for cell in self.cells), default=0)
        return max(heading, cells, 1)

    @property
    def natural(self) -> int:
        return max([cell_len(self.heading), 1, *(cell_len(cell) for cell in self.cells)])

    @property
    def body(self) -> int:
        """The width at which no cell breaks."""
        heading = max((cell_len(word) for word in _pieces(self.heading)), default=0)
        return max([heading, 1, *(cell_len(cell) for cell in self.cells)])

    def _least_of(self, cell: str) -> int:
        if self.numeric or cell_len(cell) <= NARROWEST:
            return cell_len(cell)
        return max(NARROWEST, *(cell_len(word) for word in cell.split(" ")))


def _with_digits(value: Any, digits: int) -> str:
    plain = clean(value if isinstance(value, str) else format_value(value))
    return plain if type(value) is not float or digits == DIGITS[0] else f"{value:.{digits}g}"


def _column(heading: str, cells: Sequence[object], most: int) -> _Column:
    numeric = bool(cells) and all(isinstance(cell, int | float) or _is_number(cell) for cell in cells)
    texts = (number(cell) if isinstance(cell, float) else clean(cell, most) for cell in cells)
    return _Column(clean(heading), tuple(texts), numeric)


def _is_number(cell: object) -> bool:
    """Whether a text is a number as `format_value` writes it, or stands for none."""
    return cell in ("", "-") or (isinstance(cell, str) and re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell) is not None)


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns in as many blocks as the width needs; each begins with the first column."""
    if _total([column.least for column in columns]) <= width:
        return [list(columns)]
    blocks: list[list[_Column]] = []
    current = [columns[0]]
    for column in columns[1:]:
        if len(current) > 1 and _total([c.body for c in current] + [column.body]) > width:
            blocks.append(current)
            current = [columns[0]]
        current.append(column)
    return [*blocks, current]


def _block_lines(columns: Sequence[_Column], width: int) -> list[str]:
    widths = _widths(columns, width)
    headings = [_wrap(_pieces(column.heading), size) for column, size in zip(columns, widths)]
    lines = _stacked(columns, widths, headings, bottom=True)
    for row in range(len(columns[0].cells)):
        cells = [_wrap_cell(column.cells[row], size) for column, size in zip(columns, widths)]
        lines += _stacked(columns, widths, cells, bottom=False)
    return lines


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """The widths of a block's columns: natural where they fit, else with headings broken, else with texts broken too."""
    for start, wanted in (("body", "natural"), ("least", "body"), ("least", "least")):
        sizes = [getattr(column, start) for column in columns]
        if _total(sizes) <= width or wanted == "least":
            goals = [getattr(column, wanted) for column in columns]
            return _grown(sizes, goals, width)
    raise AssertionError


def _grown(sizes: list[int], goals: Sequence[int], width: int) -> list[int]:
    """Widths that grow to their goals, those that lack least first, as far as the total allows."""
    sizes = list(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: goals[i] - sizes[i]):
        sizes[index] += max(0, min(goals[index] - sizes[index], width - _total(sizes)))
    return sizes


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + GAP * (len(sizes) - 1)


def _pieces(heading: str) -> list[str]:
    """Where a heading may break: after a space or a slash, which stay with the piece before, but never within a name."""
    return re.findall(r"[^ /]*/+|[^ /]+ ?| ", heading)


def _wrap(pieces: Sequence[str], size: int) -> list[str]:
    """Pieces joined into lines of at most ``size`` characters; a piece is never broken."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cell_len((lines[-1] + piece).rstrip()) <= size:
            lines[-1] += piece
        else:
            lines.append(piece)
    return [line.rstrip() for line in lines] or [""]


def _wrap_cell(text: str, size: int) -> list[str]:
    return [text] if cell_len(text) <= size else _wrap([f"{word} " for word in text.split(" ")], size)


def _stacked(
    columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[Sequence[str]], bottom: bool
) -> list[str]:
    """The lines of a row whose cells have several; cells of fewer lines stand at the ``bottom`` or at the top."""
    height = max(len(cell) for cell in cells)
    padded = [[""] * (height - len(cell)) + list(cell) if bottom else list(cell) for cell in cells]
    lines = []
    for parts in zip_longest(*padded, fillvalue=""):
        placed = (
            " " * (size - cell_len(part)) + part if column.numeric else part + " " * (size - cell_len(part))
            for column, size, part in zip(columns, widths, parts)
        )
        lines.append((" " * GAP).join(placed).rstrip())
    return lines
