"""The dialogue after the login, without I/O: what to send next, and what each reply decides.

Replies are matched by counting: ``_expected`` holds, in order, every command on the wire that is
still unanswered. Three ways to talk, by what the server offers and the provider allows:

lockstep    one command, one reply.
pipelined   MAIL, RCPT and DATA in one flight, which rides with the final dot of the message
            before (RFC 2920, 3.1): one round trip a message.
flights     up to N whole transactions on the wire at once, by BDAT (RFC 3030).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from . import wire
from .capabilities import Capabilities
from .envelope import Envelopes
from .errors import ProtocolError
from .model import Observer, Phase, Reply, Verdict
from .transcript import Transcript
from .work import Work, cut_off, from_reply, without_content, without_recipients

BLOCK = 256 * 1024  # octets handed to the transport at once; larger content goes in pieces
FLIGHT_BYTES = 1024 * 1024  # content unanswered on the wire, over all of a flight


# Python 3.11 takes 0.2 us to look up a member of an enumeration; a message needs a dozen.
_MAIL, _RCPT, _DATA, _DOT = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT


class Owner(Protocol):
    """Gives work to a session and takes it back."""

    def pull(self) -> Work | None:
        """The next work for this session, if any."""

    def settle(self, work: Work, verdict: Verdict) -> None:
        """The work has ended."""

    def give_back(self, work: Work) -> None:
        """The link broke before the content of this work: it may go over another."""


class Session:
    """One logged-in connection.

    The driver calls ``receive`` with what arrives, then ``transmit`` until it gives nothing, and
    ``lost`` once at the end. ``served`` counts the transactions begun. After ``farewell`` (a 421)
    or ``broken`` (why the link must be cut) nothing more is sent.
    """

    def __init__(
        self,
        offer: Capabilities,
        owner: Owner,
        observer: Observer,
        transcript: Transcript,
        *,
        flight: int = 1,
    ) -> None:
        self.served = 0
        self.farewell: Reply | None = None
        self.broken: str | None = None
        self.retired = False  # takes no more work
        self._farewell_phase = Phase.QUIT
        self._envelopes = Envelopes(offer)
        self._owner = owner
        self._observer = observer
        self._transcript = transcript
        self._parser = wire.ReplyParser()
        self._pipelined = offer.has("PIPELINING")
        self._flight = flight if self._pipelined and offer.has("CHUNKING") else 1
        if not self._pipelined:
            self._next_commands = self._next_step
        else:
            self._next_commands = self._next_flight if self._flight > 1 else self._next_envelope
        self._expected: deque[tuple[Work | None, Phase]] = deque()
        self._steps: deque[tuple[Work, Phase, str]] = deque()  # lockstep: what is still to say
        self._current: Work | None = None  # its envelope is on the wire, the end of it is not
        self._body: bytes | None = None  # what may be sent now of a message
        self._offset = 0  # how much of it was
        self._flying = 0  # octets of content on the wire in flights
        self._reset_due = False
        self._checking = False

    @property
    def waiting_for(self) -> Phase | None:
        """The phase of the oldest unanswered command."""
        return self._expected[0][1] if self._expected else None

    @property
    def idle(self) -> bool:
        """Nothing is unanswered and nothing half sent."""
        return not self._expected and self._current is None and not self._reset_due

    @property
    def finished(self) -> bool:
        """The link is of no more use: cut it."""
        if self.broken is not None:
            return True
        return self.farewell is not None and not any(w and w.ended for w, _ in self._expected)

    def check(self) -> None:
        """Ask for a sign of life before the next work is taken."""
        self._checking = self._reset_due = True

    # What arrives

    def receive(self, data: bytes) -> None:
        """Take what arrived. Raises ProtocolError when it makes no sense."""
        self._transcript.add("S", data)
        expected = self._expected
        for reply in self._parser.feed(data):
            if reply.code == 421:
                self.farewell, self._farewell_phase = reply, self.waiting_for or Phase.QUIT
            if expected:
                work, phase = expected.popleft()
                _HANDLERS[phase](self, work, reply)
            elif reply.code != 421:
                raise ProtocolError(Phase.QUIT, f"an answer to nothing: {reply.code} {reply.text}")
        if self._parser.garbage is not None:
            raise ProtocolError(self.waiting_for or Phase.QUIT, self._parser.garbage)

    def _on_mail(self, work: Work, reply: Reply) -> None:
        work.mail_reply = reply
        work.mail_ok = reply.code < 300
        if self._steps and not work.mail_ok:
            self._refused(work, without_content(work, reply))

    def _on_rcpt(self, work: Work, reply: Reply) -> None:
        work.rcpt_replies.append(reply)
        if reply.code < 300:
            work.accepted += 1
        if not work.accepted and len(self._steps) == 1:  # lockstep, and only DATA is left
            self._refused(work, without_recipients(work))

    def _refused(self, work: Work, verdict: Verdict) -> None:
        """The envelope came to nothing."""
        self._steps.clear()
        self._current = None
        self._reset_due = True
        self._owner.settle(work, verdict)

    def _on_data(self, work: Work, reply: Reply) -> None:
        kind = reply.code // 100
        if kind == 2:
            raise ProtocolError(_DATA, f"DATA was answered {reply.code}")
        if kind != 3:
            self._refused(work, without_content(work, reply))
        elif work.mail_ok and work.accepted and not work.withdrawn:
            self._start_body(work, wire.dot_stuffed(work.content))
        else:
            self._on_unwanted_go_ahead(work, reply)

    def _on_unwanted_go_ahead(self, work: Work, reply: Reply) -> None:
        """354, but nobody is to get this content."""
        self._current = None
        if work.accepted:  # a dot would send them an empty message
            self.broken = "a message was given up after DATA"
        else:
            self._body = b".\r\n"  # RFC 2920, 3.1
            self._expected.append((None, _DOT))
        self._owner.settle(work, without_content(work, reply))

    def _on_dot(self, work: Work | None, reply: Reply) -> None:
        kind = reply.code // 100
        if work is None:
            return
        if kind == 3 or (kind == 2 and not work.ended):
            self._expected.appendleft((work, _DOT))
            raise ProtocolError(_DOT, f"the message was answered {reply.code}")
        if not work.ended:  # refused before its end: the rest of it cannot be taken back
            self._current = None
            self.broken = "a message was refused before its end"
            self._owner.settle(work, from_reply(work, _DOT, reply))
            return
        self._flying -= len(work.content)
        taken = work.accepted and (work.mail_ok or kind == 2)
        verdict = from_reply(work, _DOT, reply) if taken else without_content(work, reply)
        self._observer.after_reply(work.transaction.key, verdict)
        self._owner.settle(work, verdict)

    def _on_reset(self, _: Work | None, reply: Reply) -> None:
        self._checking = False
        if reply.code // 100 != 2:
            self.broken = f"RSET was answered {reply.code}"

    def lost(self, problem: str, *, by_peer: bool) -> None:
        """The link is gone. What was never ended is to be tried later, the rest is in doubt."""
        farewell = self.farewell if by_peer or self.finished else None
        left = [(work, phase) for work, phase in self._expected if work is not None]
        if self._current is not None:
            left.append((self._current, _DATA))
        self._expected.clear()
        self._current = None
        seen: set[int] = set()
        for work, phase in left:
            if id(work) not in seen:
                seen.add(id(work))
                self._cut_off(work, phase, problem, farewell, by_peer=by_peer)

    def _cut_off(
        self, work: Work, phase: Phase, problem: str, farewell: Reply | None, *, by_peer: bool
    ) -> None:
        fresh = self.served == 1 or work.retried or work.withdrawn
        if by_peer and not farewell and not work.ended and not fresh:
            work.retried = True  # most often the server closed a connection that it found old
            self._owner.give_back(work)
            return
        where = _DOT if work.ended else phase
        verdict = cut_off(work, self._farewell_phase if farewell else where, problem, farewell)
        if work.ended:
            self._observer.after_reply(work.transaction.key, verdict)
        self._owner.settle(work, verdict)

    # What is sent

    def transmit(self) -> bytes:
        """The next bytes to write; empty when the server is to speak, or there is no work."""
        if self.farewell is not None or self.broken is not None:
            return b""
        if self._body is not None:
            return self._next_block(self._body)
        return self._next_commands()

    def _start_body(self, work: Work, body: bytes) -> None:
        self._current = work
        self._body = body
        self._offset = 0
        self._expected.append((work, _DOT))

    def _next_block(self, body: bytes) -> bytes:
        """More of a message; with its end the next envelope, where that is allowed."""
        block = body[self._offset : self._offset + BLOCK] if len(body) > BLOCK else body
        self._offset += len(block)
        self._transcript.add("C", len(block))
        if self._offset < len(body):
            return block
        self._body, self._offset = None, 0
        if self._current is not None:
            self._end(self._current)
            self._current = None
        return block + self._next_envelope() if self._pipelined and self._flight == 1 else block

    def _end(self, work: Work) -> None:
        work.ended = True
        self._observer.before_dot(work.transaction.key)

    def _next_work(self) -> Work | None:
        """Work that can go on the wire; what the server could only refuse is settled at once."""
        while not self.retired and (work := self._owner.pull()):
            if verdict := self._envelopes.begin(work):
                self._owner.settle(work, verdict)
            elif work.asked:
                self.served += 1
                return work
            else:  # RCPTDOMAINMAX of the session is used up
                self.retired = True
                self._owner.give_back(work)
        return None

    def _reset(self) -> bytes:
        """RSET when the last transaction ended badly, or before a connection is used again."""
        if not self._reset_due:
            return b""
        self._reset_due = False
        self._expected.append((None, Phase.RSET))
        self._transcript.add("C", "RSET")
        return b"RSET\r\n"

    def _next_envelope(self) -> bytes:
        """Pipelined: RSET if due, MAIL, RCPT and DATA of the next work."""
        if self._current is not None:
            return b""
        reset = self._reset() if self._reset_due else b""
        if self._checking or (work := self._next_work()) is None:
            return reset
        self._current = work
        envelope = self._expect_envelope(work) + b"DATA\r\n"
        self._expected.append((work, _DATA))
        self._transcript.add("C", envelope)
        return reset + envelope

    def _expect_envelope(self, work: Work) -> bytes:
        expected = self._expected
        expected.append((work, _MAIL))
        for _ in work.asked:
            expected.append((work, _RCPT))
        return "\r\n".join([*self._envelopes.commands(work), ""]).encode()

    def _next_step(self) -> bytes:
        """Lockstep: one command, once nothing is unanswered."""
        if self._expected:
            return b""
        if reset := self._reset():
            return reset
        if not self._steps:
            if self._current is not None or (work := self._next_work()) is None:
                return b""
            self._current = work
            mail, *rcpts = self._envelopes.commands(work)
            self._steps.append((work, _MAIL, mail))
            self._steps.extend((work, _RCPT, rcpt) for rcpt in rcpts)
            self._steps.append((work, _DATA, "DATA"))
        work, phase, command = self._steps.popleft()
        self._expected.append((work, phase))
        self._transcript.add("C", command)
        return f"{command}\r\n".encode()

    def _next_flight(self) -> bytes:
        """Whole transactions, until the flight or its bytes are used up."""
        parts: list[bytes] = [self._reset()]
        unanswered = sum(phase is _DOT for _, phase in self._expected)
        while not self._checking and unanswered < self._flight and self._flying < FLIGHT_BYTES:
            work = self._next_work()
            if work is None:
                break
            unanswered += 1
            parts.append(self._chunk_envelope(work))
            if len(work.content) > BLOCK:
                self._start_body(work, work.content)
                self._flying += len(work.content)
                break
            self._add_chunk(work, parts)
        return b"".join(parts)

    def _chunk_envelope(self, work: Work) -> bytes:
        """RSET first, so that a transaction never depends on how the one before it went."""
        self._expected.append((None, Phase.RSET))
        chunk = b"BDAT %d LAST\r\n" % len(work.content)
        envelope = b"RSET\r\n" + self._expect_envelope(work) + chunk
        self._transcript.add("C", envelope)
        return envelope

    def _add_chunk(self, work: Work, parts: list[bytes]) -> None:
        self._end(work)
        self._expected.append((work, _DOT))
        self._flying += len(work.content)
        self._transcript.add("C", len(work.content))
        parts.append(work.content)


_HANDLERS: dict[Phase, Callable[[Session, Any, Reply], None]] = {
    Phase.MAIL: Session._on_mail,
    Phase.RCPT: Session._on_rcpt,
    Phase.DATA: Session._on_data,
    Phase.DOT: Session._on_dot,
    Phase.RSET: Session._on_reset,
}
