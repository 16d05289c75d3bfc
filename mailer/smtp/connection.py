"""One connection: the asyncio protocol between a transport and a session."""

import asyncio
import ssl
from collections import deque
from typing import Protocol, cast

from .capabilities import Capabilities
from .errors import ConnectError, ProtocolError, SmtpError
from .model import Kind, Observer, Phase, Reply, Verdict
from .server import Server
from .session import Session
from .transcript import Transcript
from .wire import ReplyParser
from .work import Work


class Pool(Protocol):
    """What a connection needs of the pool that it belongs to."""

    def next_work(self, connection: "Connection") -> Work | None: ...
    def settle(self, work: Work, verdict: Verdict) -> None: ...
    def give_back(self, work: Work) -> None: ...
    def became_idle(self, connection: "Connection") -> None: ...
    def failed(self, transcript: Transcript) -> None: ...
    def closed(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """First answers ``say`` one by one for the handshake, then drives a session.

    ``useful`` tells whether the server ever decided a transaction here, other than by 421.
    """

    def __init__(self, server: Server, pool: Pool, observer: Observer) -> None:
        self.transcript = Transcript(f"{server.host}:{server.port}")
        self.session: Session | None = None
        self.offer = Capabilities()
        self.mail_max: int | None = None
        self.opened_at = 0.0
        self.idle_since = 0.0
        self.useful = False
        self.last_verdict: Verdict | None = None
        self._server = server
        self._pool = pool
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._unsent = 0  # octets in the transport when last looked at
        self._quitting = False
        self._gone = False
        self._deadline: float | None = None
        self._ticking: asyncio.TimerHandle | None = None
        # Time-outs are looked at this often, instead of by a timer set anew for every reply.
        self._seconds = {phase: server.timeouts.of(phase) for phase in Phase}
        self._tick = min(5.0, min(self._seconds.values()) / 4)
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._broken: SmtpError | None = None

    # The handshake

    async def say(self, phase: Phase, line: str | None, shown: str | None, seconds: float) -> Reply:
        """Send a line, if any, and wait for one reply."""
        if line is not None:
            self._write(f"{line}\r\n".encode(), shown or line)
        try:
            async with asyncio.timeout(seconds):
                while not self._replies and self._broken is None:
                    self._waiter = self._loop.create_future()
                    await self._waiter
        except TimeoutError:
            raise ConnectError(phase, f"no answer within {seconds:g} s") from None
        if self._replies:
            return self._replies.popleft()
        assert self._broken is not None  # noqa: S101 - the loop above ends in no other way
        raise type(self._broken)(phase, str(self._broken))

    async def start_tls(self, context: ssl.SSLContext, name: str) -> tuple[str, str]:
        """Forget what was sent in plain text and speak TLS from here on."""
        self._parser.reset()
        self._replies.clear()
        if self._transport is None:
            raise ConnectionResetError("the connection was lost")
        upgraded = await self._loop.start_tls(self._transport, self, context, server_hostname=name)
        if upgraded is None:
            raise ConnectionResetError("the connection was lost")
        self._transport = upgraded
        return self.tls()

    def tls(self) -> tuple[str, str]:
        """TLS version and cipher of the link."""
        assert self._transport is not None  # noqa: S101 - only asked while it stands
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        cipher = tls.cipher()
        return tls.version() or "", cipher[0] if cipher else ""

    def local_address(self) -> str:
        """The IP address of this end."""
        name = self._transport.get_extra_info("sockname") if self._transport else None
        return str(name[0]) if name else "127.0.0.1"

    def begin(self, offer: Capabilities) -> None:
        """The handshake is done: from here on a session talks."""
        self.offer = offer
        self.mail_max = offer.limit("MAILMAX")
        self.opened_at = self._loop.time()
        self.session = Session(
            offer, self, self._observer, self.transcript, flight=self._server.flight
        )

    def _hear(self, data: bytes) -> None:
        """A part of the handshake came, or (empty) the link ended."""
        self.transcript.add("S", data)
        self._replies.extend(self._parser.feed(data))
        if self._parser.garbage is not None:
            self._broken = ProtocolError(Phase.CONNECT, self._parser.garbage)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The session's owner

    def pull(self) -> Work | None:
        return self._pool.next_work(self)

    def give_back(self, work: Work) -> None:
        self._pool.give_back(work)

    def settle(self, work: Work, verdict: Verdict) -> None:
        if verdict.kind is not Kind.DELIVERED:
            self.last_verdict = verdict
            self._pool.failed(self.transcript)
        if verdict.code is not None and verdict.code != 421:
            self.useful = True
        self._pool.settle(work, verdict)

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._quitting:
            self.abort("closed")
            return
        if self.session is None:
            self._hear(data)
            return
        try:
            self.session.receive(data)
        except ProtocolError as error:
            self.abort(str(error))
            return
        self.pump()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self.session is not None and not self._quitting:
            self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f": {exc}" if exc else " by the server"
        self._end(f"the connection was closed{reason}", by_peer=True)

    @property
    def age(self) -> float:
        """Seconds since the login."""
        return self._loop.time() - self.opened_at

    def wake(self, *, check: bool) -> None:
        """There is work; ``check`` when the link was idle for so long that it may be dead."""
        if check and self.session is not None:
            self.session.check()
        self.pump()

    def pump(self) -> None:
        """Write all that the session has to say now."""
        session = self.session
        if session is None or self._gone or self._quitting or self._transport is None:
            return
        while not self._paused and (data := session.transmit()):
            self._transport.write(data)
        phase = session.waiting_for
        if phase is not None:
            self._wait(self._server.timeouts.block if self._paused else self._seconds[phase])
        else:
            self._deadline = None
        if session.finished:
            self.abort(session.broken or "the server closes the session")
        elif phase is None and session.idle:
            self._pool.became_idle(self)

    def _write(self, data: bytes, shown: str) -> None:
        self.transcript.add("C", shown)
        if self._transport is not None:
            self._transport.write(data)

    # Time-outs and the end

    def _wait(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        if self._ticking is None:
            self._ticking = self._loop.call_later(self._tick, self._look)

    def _look(self) -> None:
        self._ticking = None
        if self._deadline is None or self._gone:
            return
        if self._loop.time() < self._deadline or self._progress():
            self._ticking = self._loop.call_later(self._tick, self._look)
            return
        phase = self.session.waiting_for if self.session else None
        where = "the next block" if self._paused else str(phase or "QUIT").upper()
        self.abort(f"time-out: the server did not answer {where}")

    def _progress(self) -> bool:
        """Whether the server took more of a message since the last look."""
        if not self._paused or self._transport is None:
            return False
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self._unsent == before:
            return False
        self._wait(self._server.timeouts.block)
        return True

    def quit(self) -> None:
        """Say good-bye and close; only when idle."""
        if self._gone or self._quitting:
            return
        self._quitting = True
        self._write(b"QUIT\r\n", "QUIT")
        self._wait(self._server.timeouts.quit)

    def abort(self, problem: str) -> None:
        """Cut the link at once."""
        transport = self._transport
        self._end(problem, by_peer=False)
        if transport is not None:
            transport.abort()

    def _end(self, problem: str, *, by_peer: bool) -> None:
        if self._gone:
            return
        self._gone = True
        self._transport = None
        if self._ticking is not None:
            self._ticking.cancel()
        if self.session is None:
            self._broken = self._broken or ConnectError(Phase.CONNECT, problem)
            self._hear(b"")
            return
        self.transcript.add("C" if not by_peer else "S", f"({problem})")
        self.session.lost(problem, by_peer=by_peer)
        self._pool.closed(self)
