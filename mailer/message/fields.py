"""Checks of a message's own headers and unsubscribe links."""

import re
from collections.abc import Iterable, Mapping

from mailer.errors import MessageError
from mailer.message.addresses import reject_breaks

_NAME = re.compile(r"[!-9;-~]{1,70}")  # RFC 5322 3.6.8
_LINK = re.compile(r"(?:https://[^\s<>]+|mailto:[^\s<>@]+@[^\s<>]+)")
# Headers that other parameters make, so that two cannot contradict each other.
_MADE_BY = {
    "from": "sender", "sender": "sender_header", "reply-to": "reply_to", "to": "to", "cc": "cc",
    "bcc": "bcc", "subject": "subject", "importance": "priority", "priority": "priority",
    "x-priority": "priority", "list-id": "list_id", "list-unsubscribe": "list_unsubscribe",
    "list-unsubscribe-post": "list_unsubscribe", "feedback-id": "feedback_id",
    "auto-submitted": "auto_submitted", "return-path": "envelope_sender",
    "message-id": "message_id_domain",
}  # fmt: skip
_OURS = frozenset(["date", "mime-version", "received", "dkim-signature"])


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise MessageError for a header that cannot be, or that another parameter makes."""
    seen = set[str]()
    for name, value in headers.items():
        lower = name.lower()
        if not _NAME.fullmatch(name):
            raise MessageError("headers", f"{name[:80]!r} is not a header's name")
        if lower in _MADE_BY:
            raise MessageError(f"headers.{name}", f"use the parameter {_MADE_BY[lower]}")
        if lower in _OURS or lower.startswith(("content-", "resent-", "arc-")):
            raise MessageError(f"headers.{name}", "is made by the mailer")
        if lower in seen:
            raise MessageError(f"headers.{name}", "is there twice")
        if not isinstance(value, str):
            raise MessageError(f"headers.{name}", f"needs text, not {type(value).__name__}")
        reject_breaks(f"headers.{name}", value)
        seen.add(lower)


def check_ascii(field: str, value: str) -> None:
    """Raise MessageError for what cannot stand in a header as it is."""
    if not (value.isascii() and value.isprintable() and len(value) < 900):
        raise MessageError(field, "has to be one line of printable ASCII")


def check_links(links: Iterable[str]) -> None:
    """Raise MessageError for an unsubscribe link that RFC 8058 does not allow."""
    for link in links:
        reject_breaks("list_unsubscribe", link)
        bare = link.replace("{{ token }}", "t")
        if not _LINK.fullmatch(bare) or not bare.isascii() or len(bare) > 800:
            raise MessageError("list_unsubscribe", f"{link[:80]!r} is no https: or mailto: link")
