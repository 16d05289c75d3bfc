"""Where to send and how to log in."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from .model import Phase

TokenSource = Callable[[bool], str | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait, per phase; the defaults from MAIL on are those of RFC 5321, 4.5.3.2."""

    connect: float = 30
    tls: float = 30
    greeting: float = 300
    hello: float = 300
    auth: float = 120
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180  # for the server to take more of a message
    dot: float = 600
    reset: float = 15  # the check of a connection that was idle
    quit: float = 5

    def of(self, phase: Phase) -> float:
        """Seconds to wait for the reply of a phase."""
        return _SECONDS[phase](self)


_SECONDS: dict[Phase, Callable[[Timeouts], float]] = {
    Phase.CONNECT: lambda t: t.connect,
    Phase.TLS: lambda t: t.tls,
    Phase.GREETING: lambda t: t.greeting,
    Phase.HELLO: lambda t: t.hello,
    Phase.AUTH: lambda t: t.auth,
    Phase.MAIL: lambda t: t.mail,
    Phase.RCPT: lambda t: t.rcpt,
    Phase.DATA: lambda t: t.data,
    Phase.DOT: lambda t: t.dot,
    Phase.RSET: lambda t: t.reset,
    Phase.QUIT: lambda t: t.quit,
}


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP account. Secrets are never in its repr.

    ``tls``: "starttls" requires it, "implicit" speaks TLS from the first byte (RFC 8314), "none"
    refuses to log in. ``auth`` names the mechanisms allowed, best first; empty leaves the choice
    to the engine. ``token(refresh)`` gives an OAuth 2 access token, a fresh one when ``refresh``;
    it may be a coroutine function, and a plain function may block. ``flight`` above 1 lets up to
    that many whole transactions travel unanswered by BDAT where the server offers CHUNKING.
    """

    host: str
    port: int = 587
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: tuple[str, ...] = ()
    token: TokenSource | None = field(default=None, repr=False)
    verify: bool = True
    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    server_name: str | None = None  # the name its certificate must hold; the host when None
    source_address: str | None = None
    helo_name: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    flight: int = 1

    def __post_init__(self) -> None:
        if self.tls == "none" and self.username is not None:
            raise ValueError("credentials are never sent over plain text: set tls, or no username")
        if self.username is not None and self.password is None and self.token is None:
            raise ValueError("a username needs a password or a token")
        if self.helo_name is not None and not re.fullmatch(r"[!-~]{1,255}", self.helo_name):
            raise ValueError("helo_name is a host name or an address literal")
        if self.flight < 1:
            raise ValueError("flight is at least 1")
