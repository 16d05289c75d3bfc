"""A scripted SMTP server: what it says is plain code, so that it can err at any chosen point.

``Script`` is shared by all connections to one server and records what was accepted;
``Conversation`` is one connection without I/O; ``serve`` puts them behind a socket.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

LOCKSTEP = ("SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES")
PIPELINED = (*LOCKSTEP, "PIPELINING")
CHUNKED = (*PIPELINED, "CHUNKING")

GOOD = {"MAIL": "250 2.1.0 Ok", "RCPT": "250 2.1.5 Ok", "DATA": "354 Go", "DOT": "250 2.0.0 Taken"}


@dataclass(frozen=True)
class Fault:
    """What to do instead of the usual answer. ``take`` stores the message first (at DOT)."""

    answer: bytes = b""
    close: bool = False
    stall: bool = False
    take: bool = False


@dataclass
class Script:
    """What a server offers and where it errs: ``rule(phase, transaction, argument)``.

    ``transaction`` counts MAIL commands over all connections, from 0.
    """

    extensions: tuple[str, ...] = PIPELINED
    rule: Callable[[str, int, str], Fault | None] = lambda *_: None
    greeting: bytes = b"220 peer.example ESMTP\r\n"
    answers: dict[str, list[bytes]] = field(default_factory=dict)  # by verb, first come first
    context: ssl.SSLContext | None = None
    after_starttls: bytes = b""  # said in plain text right behind the answer to STARTTLS
    accepted: list[bytes] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    mails: int = -1


class Conversation:
    """One connection: ``feed`` takes bytes and gives the bytes to answer."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.closed = False
        self.upgrade = False
        self._stalled = False
        self._buffer = b""
        self._content: bytearray | None = None  # while inside DATA
        self._chunk: tuple[int, bool] | None = None  # octets to come and whether to keep them
        self._auth = False
        self._forget()

    def _forget(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        out = bytearray()
        while not (self.closed or self._stalled or self.upgrade):
            if self._chunk is not None:
                step = self._read_chunk()
            elif self._content is not None:
                step = self._read_content()
            else:
                step = self._read_command()
            if step is None:
                break
            out += step
        return bytes(out)

    def _read_command(self) -> bytes | None:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        self._buffer = rest
        text = line.decode()
        self.script.commands.append(text)
        verb = "(AUTH)" if self._auth else text.partition(" ")[0].upper()
        if self.script.answers.get(verb):
            answer = self.script.answers[verb].pop(0)
            self._auth = answer.startswith(b"334")
            self.closed = answer.startswith(b"421")
            return answer
        self._auth = False
        return self._command(verb, text)

    def _command(self, verb: str, text: str) -> bytes:
        match verb:
            case "EHLO":
                lines = ["peer.example", *self.script.extensions]
                marks = ["-"] * (len(lines) - 1) + [" "]
                pairs = zip(marks, lines, strict=True)
                return "".join(f"250{mark}{line}\r\n" for mark, line in pairs).encode()
            case "STARTTLS":
                self.upgrade = True
                self._buffer = b""
                return b"220 Go ahead\r\n" + self.script.after_starttls
            case "MAIL":
                return self._mail(text)
            case "RCPT":
                return self._rcpt(text)
            case "DATA":
                return self._data()
            case "BDAT":
                self._chunk = (int(text.split()[1]), bool(self._recipients))
                return b""
            case "RSET":
                self._forget()
            case "QUIT":
                self.closed = True
                return b"221 Bye\r\n"
            case "AUTH":
                return b"535 5.7.8 No\r\n"
        return b"250 2.0.0 Ok\r\n"

    def _fault(self, phase: str, argument: str = "") -> Fault | None:
        fault = self.script.rule(phase, self.script.mails, argument)
        if fault is not None:
            self.closed = fault.close
            self._stalled = fault.stall
        return fault

    def _mail(self, text: str) -> bytes:
        self.script.mails += 1
        if fault := self._fault("MAIL", text):
            return fault.answer
        found = re.match(r"MAIL FROM:<([^>]*)>", text, re.IGNORECASE)
        self._forget()
        self._sender = found[1] if found else None
        return f"{GOOD['MAIL']}\r\n".encode()

    def _rcpt(self, text: str) -> bytes:
        if self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        if fault := self._fault("RCPT", text):
            return fault.answer
        found = re.match(r"RCPT TO:<([^>]*)>", text, re.IGNORECASE)
        self._recipients.append(found[1] if found else "")
        return f"{GOOD['RCPT']}\r\n".encode()

    def _data(self) -> bytes:
        if fault := self._fault("DATA"):
            if fault.answer.startswith(b"354"):
                self._content = bytearray()
            return fault.answer
        if not self._recipients:
            return b"554 5.5.1 No valid recipients\r\n"
        self._content = bytearray()
        return f"{GOOD['DATA']}\r\n".encode()

    def _read_content(self) -> bytes | None:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        self._buffer = rest
        if line != b".":
            assert self._content is not None
            self._content += line.removeprefix(b".") + b"\r\n"
            return b""
        content, self._content = bytes(self._content or b""), None
        return self._end(content, keep=bool(self._recipients))

    def _read_chunk(self) -> bytes | None:
        assert self._chunk is not None
        size, keep = self._chunk
        if len(self._buffer) < size:
            return None
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        self._chunk = None
        return self._end(content, keep=keep)

    def _end(self, content: bytes, *, keep: bool) -> bytes:
        if not keep:
            self._forget()
            return b"554 5.5.1 No valid recipients\r\n"
        fault = self._fault("DOT")
        if fault is None or fault.take:
            self.script.accepted.append(content)
            self.script.envelopes.append((self._sender or "", self._recipients))
        self._forget()
        return fault.answer if fault else f"{GOOD['DOT']}\r\n".encode()


class _Protocol(asyncio.Protocol):
    def __init__(self, script: Script) -> None:
        self._conversation = Conversation(script)
        self._script = script
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = self._transport is None
        self._transport = cast("asyncio.Transport", transport)
        if first:
            self._script.connections += 1
            self._transport.write(self._script.greeting)
            if not self._script.greeting.startswith(b"220"):
                self._transport.close()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if answer := self._conversation.feed(data):
            self._transport.write(answer)
        if self._conversation.closed:
            self._transport.close()
        elif self._conversation.upgrade:
            self._conversation.upgrade = False
            self._task = asyncio.ensure_future(self._upgrade(self._transport))

    async def _upgrade(self, transport: asyncio.Transport) -> None:
        assert self._script.context is not None
        try:
            self._transport = await asyncio.get_running_loop().start_tls(
                transport, self, self._script.context, server_side=True
            )
        except OSError:
            transport.abort()


@asynccontextmanager
async def serve(script: Script, *, implicit: bool = False) -> AsyncIterator[int]:
    """The port on 127.0.0.1 where the script is played."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Protocol(script), "127.0.0.1", 0, ssl=script.context if implicit else None
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
