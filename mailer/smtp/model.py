"""The words of the engine: what goes in (a transaction) and what comes out (a verdict)."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Literal, NamedTuple, Protocol

MAX_TEXT = 1000  # characters of a reply kept in a verdict; longer texts are always boilerplate
ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")  # RFC 2034


class Kind(StrEnum):
    """How a transaction ended."""

    DELIVERED = auto()  # the server took the message, for at least one recipient
    REFUSED = auto()  # a 5xx, or the server lacks what the message needs; it is not accepted
    LATER = auto()  # a 4xx, or no connection, or the link lost before the end; it is not accepted
    IN_DOUBT = auto()  # the end of the message was sent and no answer came


class Phase(StrEnum):
    """Where in the dialogue a transaction ended."""

    CONNECT = auto()
    TLS = auto()
    GREETING = auto()
    HELLO = auto()
    AUTH = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    DOT = auto()  # the end of the message: the final dot, or the last BDAT chunk
    RSET = auto()
    QUIT = auto()


class Reply(NamedTuple):
    """One reply of the server: its code and its lines without code, bounded by the parser."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code of the first line (RFC 3463), such as ``"5.1.1"``."""
        return parted(self)[0]

    @property
    def text(self) -> str:
        """All lines as one printable line of at most 1000 characters, without their codes."""
        return parted(self)[1]


def parted(reply: Reply) -> tuple[str | None, str]:
    """Enhanced code and text of a reply."""
    first = reply.lines[0].decode("utf-8", "replace")
    found = ENHANCED.match(first) if first[1:2] == "." else None
    if len(reply.lines) > 1:
        lines = (line.decode("utf-8", "replace") for line in reply.lines)
        first = " ".join(ENHANCED.sub("", line, count=1).strip() for line in lines)
    elif found is not None:
        first = first[found.end() :]
    return found.group(1) if found is not None else None, printable(first)


def printable(text: str) -> str:
    """``text`` as one bounded line without control characters."""
    if not text.isprintable():
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:MAX_TEXT]


@dataclass(frozen=True, slots=True)
class Dsn:
    """What to ask of delivery status notifications (RFC 3461). Ignored where not offered.

    ``notify`` holds SUCCESS, FAILURE and DELAY, or NEVER alone. ``envelope_id`` is printable ASCII.
    """

    ret: Literal["FULL", "HDRS"] | None = "HDRS"
    envelope_id: str | None = None
    notify: tuple[str, ...] = ("FAILURE", "DELAY")
    original_recipient: bool = True

    def __post_init__(self) -> None:
        known = {"SUCCESS", "FAILURE", "DELAY"}
        if self.ret not in (None, "FULL", "HDRS"):
            raise ValueError("ret is FULL or HDRS")
        if self.notify != ("NEVER",) and not known.issuperset(self.notify):
            raise ValueError("notify holds SUCCESS, FAILURE and DELAY, or NEVER alone")


class Transaction(NamedTuple):
    """One message to one envelope.

    ``key`` is the caller's own name for it, handed to the observer. ``content`` is the whole
    message; bare CR and LF become CRLF. ``eight_bit`` says that it holds octets above 127,
    ``smtputf8`` that an address or a header does (RFC 6531). Domains are A-labels.
    """

    key: Hashable
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False
    eight_bit: bool = False
    dsn: Dsn | None = None


class Verdict(NamedTuple):
    """How a transaction ended, and the reply that decided it.

    ``code`` is None when no reply did (the link was lost). ``text`` is one printable line.
    ``replies`` are those to RCPT, in the order of the recipients, as far as they came: also a
    delivered transaction may hold refused ones.
    """

    kind: Kind
    phase: Phase
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    replies: tuple[Reply, ...] = ()

    def __str__(self) -> str:
        reply = " ".join(str(part) for part in (self.code, self.enhanced, self.text) if part)
        return f"{self.kind} at {self.phase}: {reply}"


class Observer(Protocol):
    """Hears of each message at the two moments that matter to a journal.

    Both are called in the thread of the loop and must be quick. For every ``before_dot`` exactly
    one ``after_reply`` follows, unless the process dies, also when ``send()`` was cancelled.
    """

    def before_dot(self, key: Hashable) -> None:
        """The bytes that can complete the message are about to be handed to the transport."""

    def after_reply(self, key: Hashable, verdict: Verdict) -> None:
        """The message is delivered, refused, to be tried later, or in doubt."""


class Lease(Protocol):
    """A share in a limit on connections that several processes have in common."""

    async def acquire(self) -> bool:
        """One more connection: True when it may be opened. Whoever grants it keeps it alive."""

    async def release(self) -> None:
        """One connection is closed."""


class NoObserver:
    """Nobody listens."""

    def before_dot(self, key: Hashable) -> None:
        pass

    def after_reply(self, key: Hashable, verdict: Verdict) -> None:
        pass


class NoLease:
    """This process alone decides how many connections there are."""

    async def acquire(self) -> bool:
        return True

    async def release(self) -> None:
        pass
