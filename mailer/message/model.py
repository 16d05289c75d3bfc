"""The message: what to send, before anybody's name is filled in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self, get_args

from mailer.errors import MessageError
from mailer.message.addresses import (
    Mailbox,
    ascii_domain,
    encoded_text,
    mailbox,
    mailboxes,
    reject_breaks,
)
from mailer.message.attachment import Attachment
from mailer.message.document import Contents, contents_of, from_document, to_document
from mailer.message.fields import check_ascii, check_headers, check_links
from mailer.message.mjml import html_from_mjml
from mailer.message.template import Template

_TO = re.compile(r"(?:(?P<name>.*)<\s*\{\{\s*email\s*\}\}\s*>|\{\{\s*email\s*\}\})\s*")
Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True)
class Message:
    """A message with all its parameters; a template for as many recipients as you like.

    ``subject``, ``text``, ``html``, the values of ``headers`` and the names and paths of
    attachments are Jinja2 templates over a recipient's columns. Construction raises MessageError
    or TemplateError, naming the field, when the message can never be sent.

    sender: the From address, ``"HR <hr@example.com>"``. sender_header: the ``Sender:``, when
    somebody sends for the sender. to: what the To header says; by default the recipient's
    address, and ``"{{ name }} <{{ email }}>"`` adds the name. cc, bcc: for single sends. html
    alone gets a text part made from it. mjml: turned into html. inline_css: moves ``<style>``
    rules into the tags. calendar: an iCalendar text. envelope_sender: where bounces go, in which
    ``{{ token }}`` names the delivery (VERP). message_id_domain: by default the sender's.
    list_unsubscribe: https and mailto links with ``{{ token }}``. locale: that of dates and
    numbers.
    """

    sender: str
    _: KW_ONLY
    sender_header: str | None = None
    reply_to: str | Iterable[str] | None = None
    to: str | None = None
    cc: str | Iterable[str] = ()
    bcc: str | Iterable[str] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    mjml: str | None = None
    inline_css: bool = False
    calendar: str | None = None
    attachments: Iterable[Attachment] = ()
    priority: Priority = "normal"
    headers: Mapping[str, str] = field(default_factory=dict)
    envelope_sender: str | None = None
    message_id_domain: str | None = None
    list_unsubscribe: str | Iterable[str] = ()
    list_id: str | None = None
    feedback_id: str | None = None
    auto_submitted: str | None = None
    locale: str = "en"

    def __post_init__(self) -> None:
        self._settle()
        self._check_addresses()
        self._check_body()
        check_headers(self.headers)
        check_links(self.list_unsubscribe)
        for name in ("list_id", "feedback_id", "auto_submitted"):
            check_ascii(name, getattr(self, name) or "")
        if self.priority not in get_args(Priority):
            raise MessageError("priority", "is one of high, normal and low")
        _ = self.id_domain, self.templates  # both are checked by being made

    def _settle(self) -> None:
        """Give every field its one final form: tuples, no MJML, a mapping of its own."""
        if self.mjml is not None:
            if self.html is not None:
                raise MessageError("mjml", "give html or mjml, not both")
            self._set("html", html_from_mjml(self.mjml))
            self._set("mjml", None)
        for name in ("reply_to", "cc", "bcc"):
            found = mailboxes(name, getattr(self, name))
            self._set(name, tuple(_written(one) for one in found))
        links = self.list_unsubscribe
        self._set("list_unsubscribe", (links,) if isinstance(links, str) else tuple(links))
        self._set("attachments", tuple(self.attachments))
        self._set("headers", dict(self.headers))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_addresses(self) -> None:
        mailbox("sender", self.sender)
        if self.sender_header is not None:
            mailbox("sender_header", self.sender_header)
        if self.envelope_sender is not None:
            mailbox("envelope_sender", self.envelope_sender.replace("{{ token }}", "t"))
        if self.to is not None and self._to_name is None:
            mailboxes("to", self.to)

    def _check_body(self) -> None:
        for name in ("subject", "text", "html", "calendar"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise MessageError(name, f"needs text, not {type(value).__name__}")
            if value is not None:
                encoded_text(name, value)
        reject_breaks("subject", self.subject)
        if not any((self.text, self.html, self.calendar, self.attachments)):
            raise MessageError("text", "a message needs text, HTML or an attachment")
        for one in self.attachments:
            if not isinstance(one, Attachment):
                raise MessageError("attachments", f"needs Attachments, not {type(one).__name__}")

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return a document fit for JSON, without any content, and the contents by digest.

        Equal messages give equal documents, so a document's digest identifies its message.
        """
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "mjml"}
        return to_document(values), contents_of(self.attachments)

    @classmethod
    def load(cls, document: Mapping[str, Any], contents: Contents) -> Self:
        """Build the message again, asking ``contents`` for the bytes of each digest."""
        return cls(**from_document(document, contents))

    @cached_property
    def from_mailbox(self) -> Mailbox:
        """Name and address of the sender."""
        return mailbox("sender", self.sender)

    @cached_property
    def id_domain(self) -> str:
        """The domain of the Message-IDs, as an A-label."""
        if self.message_id_domain is None:
            return self.from_mailbox.domain
        return ascii_domain("message_id_domain", self.message_id_domain)

    @cached_property
    def _to_name(self) -> str | None:
        """The template of the name, when To is ``name <{{ email }}>``."""
        if self.to is None or "{{" not in self.to:
            return None
        found = _TO.fullmatch(self.to)
        if found is None:
            raise MessageError("to", 'is like "{{ name }} <{{ email }}>", or a fixed address')
        return (found["name"] or "").strip().strip('"')

    @cached_property
    def templates(self) -> Mapping[str, Template]:
        """Every template of the message by its field, parsed."""
        sources = {
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "to": self._to_name,
        }
        sources |= {f"headers.{name}": value for name, value in self.headers.items()}
        for place, one in enumerate(self.attachments, 1):
            sources |= {
                f"attachments.{place}.name": one.name,
                f"attachments.{place}.path": one.path,
            }
        return {
            name: Template(name, source, html=name == "html", locale=self.locale)
            for name, source in sources.items()
            if source is not None
        }

    @cached_property
    def needs(self) -> frozenset[str]:
        """The variables that must have a value for every recipient."""
        every = self.templates.values()
        named = frozenset[str]().union(*(one.names for one in every))
        return named - frozenset(("email", "unsubscribe_url")).union(
            *(one.excused for one in every)
        )


def _written(one: Mailbox) -> str:
    if not one.name:
        return one.address
    name = one.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{one.address}>'
