"""The header block of a message: constant lines, and functions for those that vary."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from mailer.errors import MessageError
from mailer.message import Message
from mailer.message.addresses import mailbox, mailboxes
from mailer.message.template import Template
from mailer.render.facts import Facts
from mailer.render.headers import address_line, exact_line, text_line

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,400}@[!-;=?-~]{1,400}>")
Line = str | Callable[[Facts], str]

# MS-OXCMAIL 2.2.3.1.7 and what other readers look at; normal has no header.
_PRIORITY = {
    "high": "Importance: high\r\nX-Priority: 1\r\nPriority: urgent\r\n",
    "low": "Importance: low\r\nX-Priority: 5\r\nPriority: non-urgent\r\n",
    "normal": "",
}


class Heading:
    """All headers but those of the body's structure."""

    def __init__(self, message: Message) -> None:
        self._lines = tuple(_merged(_lines(message)))

    def render(self, facts: Facts) -> str:
        return "".join([one if isinstance(one, str) else one(facts) for one in self._lines])


def _merged(lines: Iterator[Line]) -> Iterator[Line]:
    constant = ""
    for line in lines:
        if isinstance(line, str):
            constant += line
            continue
        yield constant
        yield line
        constant = ""
    yield constant


def _lines(message: Message) -> Iterator[Line]:
    yield _date
    yield address_line("From", [message.from_mailbox])
    if message.sender_header:
        yield address_line("Sender", [mailbox("sender_header", message.sender_header)])
    if message.reply_to:
        yield address_line("Reply-To", mailboxes("reply_to", message.reply_to))
    yield _to
    if message.cc:
        yield address_line("Cc", mailboxes("cc", message.cc))
    yield _templated("Subject", message.templates["subject"])
    yield _message_id
    yield _PRIORITY[message.priority]
    yield from _list_lines(message)
    for name in message.headers:
        yield _templated(name, message.templates[f"headers.{name}"])
    yield _token
    yield "MIME-Version: 1.0\r\n"


def _list_lines(message: Message) -> Iterator[Line]:
    yield _unsubscribe
    if message.list_id:
        yield exact_line("List-ID", _list_id(message.list_id), "list_id")
    if message.feedback_id:
        yield exact_line("Feedback-ID", message.feedback_id, "feedback_id")
    if message.auto_submitted:
        yield exact_line("Auto-Submitted", message.auto_submitted, "auto_submitted")


def _list_id(value: str) -> str:
    return value if value.endswith(">") else f"<{value}>"


def _templated(name: str, template: Template) -> Line:
    if template.constant is not None:
        return text_line(name, template.constant, template.field)
    return lambda facts: text_line(name, template.render(facts.values), template.field)


def _date(facts: Facts) -> str:
    return _date_line(facts.date.replace(microsecond=0))


@lru_cache(maxsize=8)
def _date_line(date: datetime) -> str:
    return f"Date: {format_datetime(date)}\r\n"


def _message_id(facts: Facts) -> str:
    if not _MESSAGE_ID.fullmatch(facts.message_id):
        raise MessageError("message_id", f"{facts.message_id!r} is not like <id@domain>")
    return f"Message-ID: {facts.message_id}\r\n"


def _to(facts: Facts) -> str:
    return address_line("To", facts.to)


def _token(facts: Facts) -> str:
    if facts.tokens is None:
        return ""
    return f"X-Delivery-Token: {facts.tokens.make('header', facts.delivery_id)}\r\n"


def _unsubscribe(facts: Facts) -> str:
    """RFC 2369 and, for an https link, RFC 8058; neither is ever folded."""
    if not facts.links:
        return ""
    links = ", ".join([f"<{link}>" for link in facts.links])
    line = exact_line("List-Unsubscribe", links, "list_unsubscribe")
    if any(link.startswith("https:") for link in facts.links):
        line += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    return line
