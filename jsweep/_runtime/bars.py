"""The line that every display of progress begins with."""

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

MOST_NAME = 30  # characters


def bar_line(name: str, fraction: float, counts: str) -> Table:
    """A sweep's name, a bar as wide as is left, its percentage, and counts."""
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True, max_width=MOST_NAME, overflow="ellipsis")
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True)
    line.add_row(Text(name, "bold"), ProgressBar(total=1.0, completed=fraction), Text(f"{fraction:4.0%}"), Text(counts))
    return line
