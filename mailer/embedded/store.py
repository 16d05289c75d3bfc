"""What the catcher keeps: the newest messages, and a count of all by recipient."""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

KEPT_MESSAGES = 50_000
KEPT_BYTES = 256 * 1024 * 1024


class Caught(NamedTuple):
    """One message as it arrived: the envelope, and the content without dot-stuffing."""

    id: int  # 1 for the first that arrived
    envelope_from: str
    recipients: tuple[str, ...]
    content: bytes
    received_at: datetime


class Store:
    """Messages in memory, bounded; the counts go on for ever. Safe to share between threads."""

    def __init__(self, messages: int = KEPT_MESSAGES, size: int = KEPT_BYTES) -> None:
        self._limits = messages, size
        self._kept: deque[Caught] = deque()
        self._size = 0
        self._count = 0
        self._by_recipient: Counter[str] = Counter()
        self._changed = threading.Condition()

    def add(self, envelope_from: str, recipients: Sequence[str], content: bytes) -> Caught:
        """Keep a message, and let go of the oldest beyond the limits."""
        with self._changed:
            self._count += 1
            caught = Caught(
                self._count, envelope_from, tuple(recipients), content, datetime.now(UTC)
            )
            self._kept.append(caught)
            self._size += len(content)
            for address in recipients:
                self._by_recipient[address] += 1
            self._forget()
            self._changed.notify_all()
        return caught

    def _forget(self) -> None:
        messages, size = self._limits
        while len(self._kept) > messages or (self._size > size and len(self._kept) > 1):
            self._size -= len(self._kept.popleft().content)

    @property
    def count(self) -> int:
        """How many messages arrived, kept or not."""
        return self._count

    def recipients(self) -> dict[str, int]:
        """How many messages each address was sent."""
        with self._changed:
            return dict(self._by_recipient)

    def newest_first(self) -> list[Caught]:
        """The messages that are kept."""
        with self._changed:
            return list(reversed(self._kept))

    def get(self, number: int) -> Caught | None:
        """The message with this id; None when it never was or is not kept any more."""
        with self._changed:
            oldest = self._count - len(self._kept) + 1
            return self._kept[number - oldest] if oldest <= number <= self._count else None

    def search(self, address: str) -> Iterator[Caught]:
        """Messages whose sender or a recipient contains ``address``, newest first."""
        wanted = address.casefold()
        for caught in self.newest_first():
            if any(wanted in a.casefold() for a in (caught.envelope_from, *caught.recipients)):
                yield caught

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until ``count`` messages arrived in all; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout)
