"""From the first byte to a session that takes mail: greeting, EHLO, STARTTLS, AUTH. No I/O.

``handshake`` is a generator: it yields a step, receives what the step gave, and returns what the
server offers. Whoever drives it does the I/O (see connection.py).
"""

import base64
import binascii
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from . import auth, capabilities
from .capabilities import Capabilities
from .errors import AuthError, ConnectError, ProtocolError, SmtpError, TlsError
from .model import Phase, Reply
from .server import Server


@dataclass(frozen=True, slots=True)
class Say:
    """Send a line (None: only listen); gives the Reply. ``shown`` is fit for a log."""

    phase: Phase
    line: str | None = None
    shown: str | None = None


@dataclass(frozen=True, slots=True)
class StartTls:
    """Throw away what is buffered and begin TLS; gives the TLS version and the cipher."""


@dataclass(frozen=True, slots=True)
class GetToken:
    """Ask the caller's token source; gives the token."""

    refresh: bool


Step = Say | StartTls | GetToken
Handshake = Generator[Step, Any, Capabilities]


def handshake(server: Server, helo_name: str) -> Handshake:
    """Log in. Raises ConnectError, TlsError, AuthError or ProtocolError."""
    greeting: Reply = yield Say(Phase.GREETING)
    if greeting.code != 220:
        raise ConnectError.from_reply(Phase.GREETING, "the server turns us away", greeting)
    offer = yield from _hello(helo_name)
    if server.tls == "starttls":
        tls = yield from _starttls(offer)
        offer = replace((yield from _hello(helo_name)), tls_version=tls[0], tls_cipher=tls[1])
    if server.username is not None:
        yield from _authenticate(server, offer)
    return offer


def _hello(helo_name: str) -> Handshake:
    reply: Reply = yield Say(Phase.HELLO, f"EHLO {helo_name}")
    if reply.code // 100 == 5:
        reply = yield Say(Phase.HELLO, f"HELO {helo_name}")
        reply = Reply(reply.code, reply.lines[:1])  # HELO offers nothing
    if reply.code // 100 != 2:
        raise ConnectError.from_reply(Phase.HELLO, "EHLO was refused", reply)
    return capabilities.parse(reply)


def _starttls(offer: Capabilities) -> Generator[Step, Any, tuple[str, str]]:
    if not offer.has("STARTTLS"):
        raise TlsError(Phase.TLS, "the server does not offer STARTTLS")
    reply: Reply = yield Say(Phase.TLS, "STARTTLS")
    if reply.code != 220:
        raise TlsError.from_reply(Phase.TLS, "STARTTLS was refused", reply)
    tls: tuple[str, str] = yield StartTls()
    return tls


def _authenticate(server: Server, offer: Capabilities) -> Generator[Step, Any, None]:
    mechanism = auth.choose(offer.auth, server.auth, token=server.token is not None)
    if mechanism is None:
        offered = " ".join(offer.auth) or "none"
        raise AuthError(Phase.AUTH, f"no AUTH mechanism fits; the server offers: {offered}")
    secret = server.password or ""
    if server.token is not None:
        secret = yield GetToken(refresh=False)
    reply = yield from _exchange(mechanism, server.username or "", secret)
    if server.token is not None and reply.code // 100 == 5:  # it may have expired meanwhile
        secret = yield GetToken(refresh=True)
        reply = yield from _exchange(mechanism, server.username or "", secret)
    if reply.code // 100 != 2:
        raise AuthError.from_reply(Phase.AUTH, f"AUTH {mechanism} was refused", reply)


def _exchange(mechanism: str, username: str, secret: str) -> Generator[Step, Any, Reply]:
    exchange = auth.MECHANISMS[mechanism](username, secret)
    line = f"AUTH {mechanism}"
    first = next(exchange)
    if first is not None:
        line += f" {_base64(first)}"
    reply: Reply = yield Say(Phase.AUTH, line, f"AUTH {mechanism} ***")
    while reply.code == 334:
        try:
            answer = exchange.send(_challenge(reply))
        except StopIteration:
            raise _endless(mechanism) from None
        reply = yield Say(Phase.AUTH, _base64(answer or b""), "***")
    return reply


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _challenge(reply: Reply) -> bytes:
    """Some servers prompt for LOGIN in plain words; no mechanism but CRAM-MD5 looks at it."""
    try:
        return base64.b64decode(reply.lines[0], validate=True)
    except binascii.Error:
        return reply.lines[0]


def _endless(mechanism: str) -> SmtpError:
    return ProtocolError(Phase.AUTH, f"the server asks for more than AUTH {mechanism} has")
