"""A message compiled once per campaign; each recipient costs only what is his own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailer.errors import MessageError
from mailer.message import Message
from mailer.message.addresses import Mailbox, address, mailbox, mailboxes
from mailer.render.facts import TOKEN, Facts, signed
from mailer.render.heading import Heading
from mailer.render.parts import (
    Personal,
    layout,
    personal_part,
)
from mailer.render.personal import PersonalFile, personal_files
from mailer.tokens import Tokens

Contents = Callable[[str], bytes]


@dataclass(slots=True)
class Mail:
    """One finished message. sender, recipient: the envelope; content: final bytes with CRLF."""

    sender: str
    recipient: str
    content: bytes
    smtputf8: bool
    eight_bit: bool


def _no_contents(digest: str) -> bytes:
    raise MessageError("attachments", "no contents were given to render with")


class Compiled:
    """Made by ``compile_message``. Holds nothing that changes, so threads may share it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.needs = message.needs
        self._heading = Heading(message)
        self._fixed, self._varying, self._personal = layout(message)
        self._envelope = message.envelope_sender or message.from_mailbox.address
        self._verp = TOKEN in self._envelope
        if not self._verp:
            self._envelope = mailbox("envelope_sender", self._envelope).address
        self._to = message.templates.get("to")
        self._fixed_to = None if self._to else mailboxes("to", message.to)

    @property
    def size(self) -> int:
        """Octets of a message, about: what all share, and the templates before they are filled."""
        shared = sum(map(len, self._fixed))
        texts = (self.message.text or "") + (self.message.html or "")
        return shared + len(texts.encode()) + 1000

    def attachments(
        self, variables: Mapping[str, object], folder: Path | None
    ) -> tuple[PersonalFile, ...]:
        """Find a recipient's own files at create, below ``folder``.

        Raises MessageError or TemplateError naming what is wrong, such as a missing file.
        """
        return personal_files(self.message, variables, folder)

    def render(
        self, variables: Mapping[str, object], *,
        email: str, delivery_id: str, message_id: str, date: datetime,
        personal: Sequence[Personal] = (), contents: Contents = _no_contents,
        to_header: str | None = None, tokens: Tokens | None = None,
        unsubscribe_url: str | None = None, sign: Callable[[bytes], bytes] | None = None,
    ) -> Mail:  # fmt: skip
        """Return one recipient's message in its final form.

        email: the envelope's recipient; to_header: what To says when that is somebody else.
        unsubscribe_url: for a message that has no ``list_unsubscribe`` of its own. sign: adds a
        DKIM signature, and takes the time that takes, so call this off the event loop then.

        Raises TemplateError or MessageError when this recipient's values make no message.
        """
        email = address("email", email)
        links = self._links(tokens, delivery_id, unsubscribe_url)
        values = {**variables, "email": email}
        for link in links:
            if link.startswith("https:"):
                values["unsubscribe_url"] = link
                break
        to = mailboxes("to", to_header) if to_header else self._to_mailboxes(values, email)
        facts = Facts(values, email, delivery_id, message_id, date, to, tokens, links)
        head = self._heading.render(facts)
        content = b"".join([head.encode(), *self._body(values, personal, contents)])
        sender = self._sender(facts)
        utf8 = not (head.isascii() and email.isascii() and sender.isascii())
        return Mail(sender, email, content if sign is None else sign(content), utf8, utf8)

    def preview(
        self, variables: Mapping[str, object], *, email: str, folder: Path | None = None,
        tokens: Tokens | None = None, unsubscribe_url: str | None = None,
    ) -> Mail:  # fmt: skip
        """Render as for a delivery that does not exist, with the files as they are now."""
        files = {one.digest: one for one in self.attachments(variables, folder)}
        return self.render(
            variables, email=email, delivery_id="00000000-0000-0000-0000-000000000000",
            message_id=f"<preview@{self.message.id_domain}>", date=datetime.now(UTC),
            personal=[(one.digest, one.name, one.type) for one in files.values()],
            contents=lambda digest: files[digest].read(),
            tokens=tokens, unsubscribe_url=unsubscribe_url,
        )  # fmt: skip

    def _links(
        self, tokens: Tokens | None, delivery_id: str, unsubscribe_url: str | None
    ) -> tuple[str, ...]:
        own = self.message.list_unsubscribe
        if not own:
            return (unsubscribe_url,) if unsubscribe_url else ()
        return tuple(
            [signed("list_unsubscribe", link, "unsubscribe", tokens, delivery_id) for link in own]
        )

    def _to_mailboxes(self, values: Mapping[str, object], email: str) -> tuple[Mailbox, ...]:
        if self._to is not None:
            return (Mailbox(self._to.render(values).strip(), email),)
        return self._fixed_to or (Mailbox("", email),)

    def _sender(self, facts: Facts) -> str:
        if not self._verp:
            return self._envelope
        return facts.signed("envelope_sender", self._envelope, "bounce")

    def _body(
        self, values: Mapping[str, object], personal: Sequence[Personal], contents: Contents
    ) -> list[bytes]:
        pieces = self._fixed.copy()
        for place, part in self._varying:
            pieces[place] = part.render(values)
        if self._personal is not None:
            place, boundary = self._personal
            pieces[place] = b"".join(
                personal_part(boundary, name, type_, contents(digest))
                for digest, name, type_ in personal
            )
        return pieces


def compile_message(message: Message) -> Compiled:
    """Do all the work that is the same for every recipient."""
    return Compiled(message)
