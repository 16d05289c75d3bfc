"""Log lines of several processes in one terminal, each with its process's name in front."""

import itertools
import threading
from contextlib import suppress

import click

_COLOURS = itertools.cycle(("cyan", "yellow", "green", "magenta", "blue", "bright_red"))
_WIDTH = len("postgres")


class Console:
    """Prints whole lines, one at a time, in a colour for each name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prefixes: dict[str, str] = {}

    def write(self, name: str, line: str) -> None:
        """Print a line under a name. A terminal that went away is no error: it is the end."""
        with self._lock, suppress(OSError):
            click.echo(self._prefix(name) + line)

    def _prefix(self, name: str) -> str:
        if name not in self._prefixes:
            self._prefixes[name] = click.style(f"{name:>{_WIDTH}} | ", fg=next(_COLOURS))
        return self._prefixes[name]
