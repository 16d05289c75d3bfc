"""The decisions of a pool, without I/O: whose turn it is, when to open, retire or give up."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import ceil

from .model import Kind, Verdict
from .work import Work

WAITING_PER_CONNECTION = 4  # a handshake costs about as many round trips as four messages
FIRST_PAUSE = 1.0  # seconds between attempts to connect, doubled after each failure
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pool may use: connections, messages over each, seconds idle, seconds of age."""

    connections: int = 10
    messages: int = 100
    idle: float = 60.0
    age: float = 1800.0

    def worn_out(self, served: int, age: float, mail_max: int | None) -> bool:
        """Whether a connection should take no more; MAILMAX (RFC 9422) may lower our limit."""
        messages = self.messages if mail_max is None else min(self.messages, mail_max)
        return served >= messages or (served > 0 and age >= self.age)

    def to_open(self, waiting: int, connections: int, opening: int) -> int:
        """How many connections to open, when no open one is idle."""
        wanted = ceil(waiting / WAITING_PER_CONNECTION) - opening
        return max(0, min(wanted, self.connections - connections - opening))


class Queue:
    """Work in waiting; groups take turns, and each is served in its own order."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[Work]] = {}
        self._turns: deque[Hashable] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, group: Hashable, works: Iterable[Work]) -> None:
        """More work at the end of a group's line."""
        line = self._line(group)
        before = len(line)
        line.extend(works)
        self._count += len(line) - before

    def put_back(self, group: Hashable, work: Work) -> None:
        """Work that was taken and is now first in its group's line again."""
        self._line(group).appendleft(work)
        self._count += 1

    def _line(self, group: Hashable) -> deque[Work]:
        line = self._groups.get(group)
        if line is None:
            line = self._groups[group] = deque()
            self._turns.append(group)
        return line

    def pop(self) -> Work | None:
        """The next work that is still wanted, by turns between the groups."""
        while self._turns:
            group = self._turns[0]
            line = self._groups[group]
            if not line:
                del self._groups[group]
                self._turns.popleft()
                continue
            self._turns.rotate(-1)
            self._count -= 1
            work = line.popleft()
            if not work.withdrawn:
                return work
        return None

    def drain(self) -> list[Work]:
        """All of it, at once."""
        works = []
        while work := self.pop():
            works.append(work)
        return works


def for_waiting(verdict: Verdict) -> Verdict:
    """What a connection's last verdict means for work that never was on it."""
    return verdict._replace(kind=Kind.LATER, replies=())


class Backoff:
    """Keeps a server that cannot be reached from being hammered."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self._until = 0.0
        self.verdict: Verdict | None = None  # of the last failure

    def failed(self, verdict: Verdict, now: float) -> None:
        """An attempt failed. Those that failed together count as one."""
        self.verdict = verdict
        if now < self._until:
            return
        self._until = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def succeeded(self) -> None:
        self._pause = FIRST_PAUSE
        self._until = 0.0

    def remaining(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        return max(0.0, self._until - now)
