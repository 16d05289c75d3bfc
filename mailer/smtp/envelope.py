"""The commands of an envelope, fitted to what the server offers."""

from collections.abc import Sequence

from . import wire
from .capabilities import Capabilities
from .model import Phase, Transaction, Verdict
from .work import Work, local


class Envelopes:
    """Writes the envelopes of one session; remembers the domains it has asked for (RFC 9422)."""

    def __init__(self, offer: Capabilities) -> None:
        self._size_offered = offer.has("SIZE")
        self._size = offer.size
        self._dsn = offer.has("DSN")
        self._utf8 = offer.has("SMTPUTF8")
        self._eight_bit = offer.has("8BITMIME")
        self._recipients = offer.limit("RCPTMAX")
        self._max_domains = offer.limit("RCPTDOMAINMAX")
        self._domains: set[str] = set()
        self._good_sender: str | None = None

    def begin(self, work: Work) -> Verdict | None:
        """Prepare content and recipients; a verdict when the server could only refuse them.

        ``work.asked`` is empty afterwards when this session may ask for none of the recipients.
        """
        transaction = work.transaction
        content = wire.crlf(transaction.content)
        asked = transaction.recipients
        if verdict := self._problem(transaction, len(content)):
            return verdict
        if self._recipients is not None or self._max_domains is not None:
            asked = self._allowed(asked)
        work.begin(content, asked)
        return None

    def _problem(self, transaction: Transaction, size: int) -> Verdict | None:
        if self._size is not None and size > self._size:
            reply = f"552 5.3.4 {size} octets, the server takes {self._size}"
            return local(Phase.MAIL, reply)
        if transaction.smtputf8 and not self._utf8:
            return local(Phase.MAIL, "550 5.6.7 The server does not offer SMTPUTF8")
        if transaction.eight_bit and not self._eight_bit:
            return local(Phase.MAIL, "554 5.6.3 The server does not offer 8BITMIME")
        return self._bad_address(transaction)

    def _bad_address(self, transaction: Transaction) -> Verdict | None:
        utf8, sender = transaction.smtputf8, transaction.sender
        if sender != self._good_sender:  # most often it is that of the message before
            if sender and not wire.is_path(sender, utf8):
                return local(Phase.MAIL, "553 5.1.7 The sender's address is malformed")
            self._good_sender = sender if sender.isascii() else None
        if not transaction.recipients:
            return local(Phase.RCPT, "554 5.5.1 No recipients")
        for recipient in transaction.recipients:
            if not wire.is_path(recipient, utf8):
                if not recipient.isascii() and not utf8:
                    return local(Phase.RCPT, "550 5.6.7 The address needs SMTPUTF8")
                return local(Phase.RCPT, "553 5.1.3 The recipient's address is malformed")
        return None

    def _allowed(self, recipients: Sequence[str]) -> tuple[str, ...]:
        allowed = []
        for recipient in recipients[: self._recipients]:
            domain = recipient.rpartition("@")[2].lower()
            if self._max_domains is not None and domain not in self._domains:
                if len(self._domains) >= self._max_domains:
                    continue
                self._domains.add(domain)
            allowed.append(recipient)
        return tuple(allowed)

    def commands(self, work: Work) -> list[str]:
        """MAIL and each RCPT, without line ends."""
        transaction = work.transaction
        dsn = transaction.dsn if self._dsn else None
        size = len(work.content) if self._size_offered else None
        options = wire.mail_options(transaction, size, dsn)
        commands = [f"MAIL FROM:<{transaction.sender}>{options}"]
        for recipient in work.asked:
            options = wire.rcpt_options(recipient, dsn) if dsn else ""
            commands.append(f"RCPT TO:<{recipient}>{options}")
        return commands
