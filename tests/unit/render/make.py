"""Rendering with the facts that a test does not care about."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from mailer.message import Message
from mailer.render import Mail, compile_message

DELIVERY = "0192f0c4-7b1e-7c3a-9d55-1f2e3d4c5b6a"
DATE = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def make(**fields: Any) -> Message:
    return Message(**{"sender": "Shop <shop@example.com>", "text": "Hello\n", **fields})


def send(message: Message, values: Mapping[str, object] | None = None, **facts: Any) -> Mail:
    given = {
        "email": "ann@example.net",
        "delivery_id": DELIVERY,
        "message_id": "<1@example.com>",
        "date": DATE,
    }
    return compile_message(message).render(values or {}, **{**given, **facts})


def parse(mail: Mail) -> EmailMessage:
    """Read a message as a mail reader would; nothing in it may be odd."""
    found = message_from_bytes(mail.content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    for part in found.walk():
        assert not part.defects
    return found


def read(
    message: Message, values: Mapping[str, object] | None = None, **facts: Any
) -> EmailMessage:
    return parse(send(message, values, **facts))
