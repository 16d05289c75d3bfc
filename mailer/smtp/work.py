"""A transaction under way, and the verdicts that replies lead to."""

from .model import Kind, Phase, Reply, Transaction, Verdict, parted

NOT_ASKED = Reply(452, (b"4.5.3 Beyond the server's limit of recipients, not asked",))


class Work:
    """One transaction and what the server has said to it so far."""

    __slots__ = (
        "accepted",
        "asked",
        "content",
        "ended",
        "mail_ok",
        "mail_reply",
        "rcpt_replies",
        "retried",
        "transaction",
        "withdrawn",
    )

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.withdrawn = False  # nobody waits for it any more: no content may follow
        self.retried = False  # it was on a link that broke before its content
        self.ended = False  # the end of the message is on the wire

    def begin(self, content: bytes, asked: tuple[str, ...]) -> None:
        """Start (over) on a connection; ``asked`` are the recipients that the server may get."""
        self.content = content
        self.asked = asked
        self.mail_ok = False
        self.mail_reply: Reply | None = None
        self.rcpt_replies: list[Reply] = []
        self.accepted = 0

    @property
    def replies(self) -> tuple[Reply, ...]:
        """The replies to RCPT in the order of the recipients, as far as they came."""
        if self.asked is self.transaction.recipients:
            return tuple(self.rcpt_replies)
        answered = dict(zip(self.asked, self.rcpt_replies, strict=False))
        return tuple(answered.get(r, NOT_ASKED) for r in self.transaction.recipients)


_KINDS = {2: Kind.DELIVERED, 3: Kind.LATER, 4: Kind.LATER, 5: Kind.REFUSED}


def from_reply(work: Work, phase: Phase, reply: Reply, kind: Kind | None = None) -> Verdict:
    """The verdict that this one reply gives."""
    enhanced, text = parted(reply)
    if kind is None:
        kind = _KINDS[reply.code // 100]
    return Verdict(kind, phase, reply.code, enhanced, text, work.replies)


def without_content(work: Work, data: Reply) -> Verdict:
    """The verdict when the server did not want the content: the first reply that says why.

    ``data`` is the reply to DATA or BDAT. With recipients refused for good and for now, the
    whole is to be tried later. 552 to RCPT counts as 452 (RFC 5321, 4.5.3.1.10).
    """
    if work.mail_reply is not None and not work.mail_ok:
        return from_reply(work, Phase.MAIL, work.mail_reply)
    if work.accepted:
        if data.code // 100 == 3:
            return Verdict(Kind.LATER, Phase.DATA, text="withdrawn", replies=work.replies)
        return from_reply(work, Phase.DATA, data)
    return without_recipients(work)


def without_recipients(work: Work) -> Verdict:
    """The verdict when no recipient was accepted."""
    replies = work.replies
    for reply in replies:
        if reply.code // 100 != 5 or reply.code == 552:
            return from_reply(work, Phase.RCPT, reply, Kind.LATER)
    return from_reply(work, Phase.RCPT, replies[0])


def cut_off(work: Work, phase: Phase, problem: str, farewell: Reply | None) -> Verdict:
    """The verdict when the link ended without the last reply.

    After a 421 the server does nothing more (RFC 5321, 3.8), so a message behind it was not taken.
    """
    if farewell is not None:
        return from_reply(work, phase, farewell, Kind.LATER)
    kind = Kind.IN_DOUBT if work.ended else Kind.LATER
    return Verdict(kind, phase, text=problem, replies=work.replies)


def local(phase: Phase, reply: str) -> Verdict:
    """Our own refusal of what the server could only refuse; nothing was sent."""
    code, _, text = reply.partition(" ")
    enhanced, _, text = text.partition(" ")
    return Verdict(Kind.REFUSED, phase, int(code), enhanced, f"{text} (not sent)")
