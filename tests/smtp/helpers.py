"""What the tests of the engine share."""

import re
from collections.abc import Hashable, Sequence

from mailer.smtp import Kind, Server, Timeouts, Transaction, Verdict

QUICK = Timeouts(
    connect=5, tls=5, greeting=5, hello=5, auth=5, mail=5, rcpt=5, data=5, block=5, dot=5, quit=1
)


def message(number: int, size: int = 0) -> Transaction:
    """The transaction of this number, told apart by a header and by its recipient."""
    content = b"Subject: test\r\nX-Number: %d\r\n\r\nhello\r\n" % number
    content += (b"0123456789abcdef" * 4 + b"\r\n") * (size // 66)
    return Transaction(number, "from@example.com", (f"to{number}@example.net",), content)


def messages(count: int) -> list[Transaction]:
    return [message(number) for number in range(count)]


def numbers(accepted: Sequence[bytes]) -> list[int]:
    """Which messages a server took."""
    return [int(re.search(rb"X-Number: (\d+)", each)[1]) for each in accepted]  # type: ignore[index]


def local(port: int, **options: object) -> Server:
    """A server on this machine without TLS unless asked for."""
    defaults: dict[str, object] = {"tls": "none", "timeouts": QUICK, "helo_name": "test.example"}
    return Server("127.0.0.1", port, **{**defaults, **options})  # type: ignore[arg-type]


class Journal:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.dots: list[Hashable] = []
        self.ends: dict[Hashable, Verdict] = {}

    def before_dot(self, key: Hashable) -> None:
        assert key not in self.dots, "a message was sent twice"
        self.dots.append(key)

    def after_reply(self, key: Hashable, verdict: Verdict) -> None:
        assert key in self.dots
        assert key not in self.ends, "a message ended twice"
        self.ends[key] = verdict


def kinds(verdicts: Sequence[Verdict]) -> list[Kind]:
    return [verdict.kind for verdict in verdicts]
