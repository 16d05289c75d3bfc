"""A session and a scripted server that talk in memory, so that bytes can be cut anywhere."""

from collections.abc import Callable, Iterable

from mailer.smtp import Capabilities, Reply, Transaction, Verdict
from mailer.smtp.capabilities import parse
from mailer.smtp.session import Session
from mailer.smtp.transcript import Transcript
from mailer.smtp.work import Work
from tests.smtp.helpers import Journal
from tests.smtp.peer import PIPELINED, Conversation, Fault, Script


class Dialogue:
    """The owner of a session over a server in memory.

    ``cut`` turns what the server says into the pieces in which it arrives. ``flights`` holds what
    was written in one go.
    """

    def __init__(
        self,
        transactions: Iterable[Transaction],
        *,
        extensions: tuple[str, ...] = PIPELINED,
        rule: Callable[[str, int, str], Fault | None] = lambda *_: None,
        flight: int = 1,
        cut: Callable[[bytes], Iterable[bytes]] = lambda data: [data],
    ) -> None:
        self.waiting = [Work(each) for each in transactions]
        self.verdicts: dict[object, Verdict] = {}
        self.given_back: list[object] = []
        self.journal = Journal()
        self.script = Script(extensions, rule)
        self.server = Conversation(self.script)
        self.flights: list[bytes] = []
        self._cut = cut
        self.session = Session(
            offer(*extensions), self, self.journal, Transcript("test"), flight=flight
        )

    def pull(self) -> Work | None:
        return self.waiting.pop(0) if self.waiting else None

    def settle(self, work: Work, verdict: Verdict) -> None:
        assert work.transaction.key not in self.verdicts, "a second verdict"
        self.verdicts[work.transaction.key] = verdict

    def give_back(self, work: Work) -> None:
        self.given_back.append(work.transaction.key)

    def send(self) -> bytes:
        """All that the session has to say now."""
        out = b""
        while data := self.session.transmit():
            out += data
        if out:
            self.flights.append(out)
        return out

    def run(self) -> dict[object, Verdict]:
        """Talk until both sides fall silent; the verdicts so far."""
        while said := self.send():
            for piece in self._cut(self.server.feed(said)):
                self.session.receive(piece)
        return self.verdicts


def offer(*extensions: str) -> Capabilities:
    return parse(Reply(250, (b"peer.example", *(each.encode() for each in extensions))))
