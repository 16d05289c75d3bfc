"""Tables for people."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

# In a file or a pipe there is no edge to wrap at.
_WIDE = 240


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table. The first column is never cut: it is what the next command needs."""
    table = Table(box=None)
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
