"""The dialogue of a connection, kept for the operator and written to the debug log.

Contents appear as their size, secrets as stars: whoever records a secret hands in the stars.
"""

import logging
from collections import deque

from .model import MAX_TEXT, printable

logger = logging.getLogger("mailer.smtp")

KEPT = 40  # entries; one entry is what went or came at once


class Transcript:
    """The last entries, kept as they are and only made readable when somebody asks."""

    __slots__ = ("_entries", "_logged", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: deque[tuple[str, bytes | str | int]] = deque(maxlen=KEPT)
        self._logged = logger.isEnabledFor(logging.DEBUG)

    def add(self, side: str, what: bytes | str | int) -> None:
        """``side`` is C or S; an int is the size of a message in octets."""
        self._entries.append((side, what))
        if self._logged:
            for line in _readable(side, what):
                logger.debug("%s %s", self.name, line)

    def snapshot(self) -> "Transcript":
        """A copy that later entries do not touch."""
        copy = Transcript(self.name)
        copy._entries = self._entries.copy()
        return copy

    def __str__(self) -> str:
        lines = [line for side, what in self._entries for line in _readable(side, what)]
        return "\n".join([self.name, *lines])


def _readable(side: str, what: bytes | str | int) -> list[str]:
    if isinstance(what, int):
        return [f"{side}: <{what} octets of a message>"]
    text = what.decode("utf-8", "replace") if isinstance(what, bytes) else what
    return [f"{side}: {printable(line)}" for line in text[: 20 * MAX_TEXT].splitlines()]
