"""The catcher's SMTP side: a server that takes every message, fast, and keeps it.

One object per connection, fed with bytes as they come: all replies to what came together leave in
one write, as pipelining clients expect (RFC 2920). Speaks RFC 5321 with 8BITMIME, SMTPUTF8, SIZE,
PIPELINING, ENHANCEDSTATUSCODES, AUTH (any password will do) and STARTTLS where it has a
certificate.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

Stage = Literal["greeting", "auth", "mail", "rcpt", "data", "message"]
# Decides the reply to a stage; the address is the sender (mail), the recipient (rcpt) or the
# first recipient (data, message). None: take it. A reply of 421 closes the connection after it,
# DROP closes it without a reply.
Script = Callable[[Stage, str], str | None]
DROP = "drop"

MAX_SIZE = 50 * 1024 * 1024
_LONGEST_LINE = 64 * 1024  # RFC 5321 asks for 512 or more; AUTH for 12,288 (RFC 4954)
_PATH = re.compile(
    rb'(?:FROM|TO):\s*<((?:"(?:\\.|[^"\\])*"|[^">])*)>\s*(.*)', re.IGNORECASE | re.DOTALL
)
_SIZE = re.compile(rb"(?:^|\s)SIZE=(\d+)", re.IGNORECASE)
_END = b"\r\n.\r\n"
_EMPTY = b".\r\n"  # the end of a message without content


@dataclass(frozen=True)
class Rules:
    """How all connections of one catcher behave."""

    keep: Callable[[str, list[str], bytes], object]
    script: Script
    tls: ssl.SSLContext | None = None
    max_size: int = MAX_SIZE
    sessions: "set[Session]" = field(default_factory=set)  # the open ones


class Session(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._buffer = bytearray()
        self._replies: list[bytes] = []
        self._secure = False
        self._closing = False
        self._step: Callable[[], bool] = self._command
        self._prompts: list[str] = []  # what AUTH has yet to ask
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._searched = 0  # how much of the buffer holds no end of the message

    # Bytes in, replies out

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._rules.sessions.add(self)
        self._transport = cast("asyncio.Transport", transport)
        self._answer("greeting", "", b"220 catcher ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; what it had not finished is dropped."""
        self._rules.sessions.discard(self)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take every complete command and message."""
        self._buffer += data
        while self._buffer and not self._closing and self._step():
            pass
        self._flush()

    def _flush(self) -> None:
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()
        if self._closing:
            self._transport.close()

    def _reply(self, line: bytes) -> None:
        self._replies.append(line + b"\r\n")

    def _answer(self, stage: Stage, address: str, accepted: bytes) -> bool:
        """Reply as the script says, else ``accepted``; True when accepted."""
        reply = self._rules.script(stage, address)
        if reply is None:
            self._reply(accepted)
            return True
        if reply != DROP:
            self._reply(reply.encode())
        self._closing = reply == DROP or reply.startswith("421")
        return False

    # Commands

    def _command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _LONGEST_LINE:
                self._refuse_and_close(b"500 5.5.2 Line too long")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._prompts:
            self._auth_answer(line)
            return True
        verb, _, rest = line.partition(b" ")
        handler = _HANDLERS.get(verb.upper())
        if handler is None:
            self._reply(b"500 5.5.2 Unknown command")
        else:
            handler(self, rest)
        return True

    def _refuse_and_close(self, reply: bytes) -> None:
        self._reply(reply)
        self._closing = True

    def _helo(self, _: bytes) -> None:
        self._reset()
        self._reply(b"250 catcher")

    def _ehlo(self, _: bytes) -> None:
        self._reset()
        extensions = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        extensions += ["AUTH PLAIN LOGIN", f"SIZE {self._rules.max_size}"]
        if self._rules.tls and not self._secure:
            extensions.append("STARTTLS")
        lines = ["catcher", *extensions]
        for line in lines[:-1]:
            self._reply(f"250-{line}".encode())
        self._reply(f"250 {lines[-1]}".encode())

    def _mail(self, rest: bytes) -> None:
        path = _PATH.match(rest)
        size = _SIZE.search(path[2]) if path and path[2] else None
        if path is None:
            self._reply(b"501 5.5.4 Syntax: MAIL FROM:<address>")
        elif self._sender is not None:
            self._reply(b"503 5.5.1 MAIL already given")
        elif size and int(size[1]) > self._rules.max_size:
            self._reply(b"552 5.3.4 Message too big")
        else:
            sender = path[1].decode(errors="replace")
            if self._answer("mail", sender, b"250 2.1.0 Sender OK"):
                self._sender = sender

    def _rcpt(self, rest: bytes) -> None:
        path = _PATH.match(rest)
        if self._sender is None:
            self._reply(b"503 5.5.1 MAIL first")
        elif path is None or not path[1]:
            self._reply(b"501 5.5.4 Syntax: RCPT TO:<address>")
        else:
            recipient = path[1].decode(errors="replace")
            if self._answer("rcpt", recipient, b"250 2.1.5 Recipient OK"):
                self._recipients.append(recipient)

    def _data(self, _: bytes) -> None:
        if not self._recipients:
            self._reply(b"503 5.5.1 RCPT first")
        elif self._answer("data", self._recipients[0], b"354 End with a dot on a line of its own"):
            self._step = self._message

    def _rset(self, _: bytes) -> None:
        self._reset()
        self._reply(b"250 2.0.0 OK")

    def _noop(self, _: bytes) -> None:
        self._reply(b"250 2.0.0 OK")

    def _vrfy(self, _: bytes) -> None:
        self._reply(b"252 2.5.0 Send it and see")

    def _quit(self, _: bytes) -> None:
        self._refuse_and_close(b"221 2.0.0 Bye")

    # The message

    def _message(self) -> bool:
        if self._searched == 0 and self._buffer.startswith(_EMPTY):
            end, start_of_next = 0, len(_EMPTY)
        else:
            end = self._buffer.find(_END, self._searched) + 2  # the content keeps its last CRLF
            start_of_next = end + len(_EMPTY)
        if end == 1:
            return self._more()
        content = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:start_of_next]
        if b"\r\n." in content or content.startswith(b"."):
            content = content.removeprefix(b".").replace(b"\r\n.", b"\r\n")
        self._step = self._command
        if self._answer("message", self._recipients[0], b"250 2.0.0 Kept"):
            self._rules.keep(self._sender or "", self._recipients, content)
        self._reset()
        return True

    def _more(self) -> bool:
        self._searched = max(0, len(self._buffer) - len(_END) + 1)
        if len(self._buffer) > self._rules.max_size + _LONGEST_LINE:
            self._refuse_and_close(b"552 5.3.4 Message too big")
        return False

    # AUTH, RFC 4954

    def _auth(self, rest: bytes) -> None:
        mechanism, _, initial = rest.partition(b" ")
        asks = {b"PLAIN": [""], b"LOGIN": ["UGFzc3dvcmQ6", "VXNlcm5hbWU6"]}.get(mechanism.upper())
        if asks is None:
            self._reply(b"504 5.5.4 PLAIN or LOGIN")
            return
        self._prompts = asks[:-1] if initial else asks
        self._next_prompt()

    def _auth_answer(self, line: bytes) -> None:
        self._prompts.pop()
        if line == b"*":
            self._prompts = []
            self._reply(b"501 5.7.0 Cancelled")
        else:
            self._next_prompt()

    def _next_prompt(self) -> None:
        if self._prompts:
            self._reply(f"334 {self._prompts[-1]}".encode())
        else:
            self._answer("auth", "", b"235 2.7.0 Welcome")

    # STARTTLS, RFC 3207

    def _starttls(self, _: bytes) -> None:
        if self._rules.tls is None or self._secure:
            self._reply(b"502 5.5.1 Not available")
            return
        self._reply(b"220 2.0.0 Go ahead")
        self._flush()
        self._buffer.clear()  # what was pipelined behind STARTTLS came in the clear: not trusted
        self._reset()
        self._upgrade = asyncio.ensure_future(self._start_tls(self._rules.tls))

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            upgraded = await loop.start_tls(self._transport, self, context, server_side=True)
        except (OSError, ssl.SSLError):
            self._transport.abort()  # the client did not like our certificate
            return
        self._secure = True
        self._transport = cast("asyncio.Transport", upgraded)


_HANDLERS: dict[bytes, Callable[[Session, bytes], None]] = {
    b"HELO": Session._helo,
    b"EHLO": Session._ehlo,
    b"MAIL": Session._mail,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"NOOP": Session._noop,
    b"VRFY": Session._vrfy,
    b"AUTH": Session._auth,
    b"STARTTLS": Session._starttls,
    b"QUIT": Session._quit,
}


async def listen(rules: Rules, host: str, port: int) -> asyncio.Server:
    """Serve these rules on a port; 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Session(rules), host, port, backlog=1024)
