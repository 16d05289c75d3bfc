"""Addresses as people write them, made into mailboxes safe in a header and an envelope."""

import re
from collections.abc import Iterable
from email.utils import getaddresses
from functools import lru_cache
from typing import NamedTuple

import idna
from email_validator import EmailNotValidError, validate_email

from mailer.errors import MessageError

# What a plain mailbox looks like (RFC 5321 4.1.2 dot-string); all else goes to email-validator.
_PLAIN = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
)


class Mailbox(NamedTuple):
    """A display name, which may be empty, and an address whose domain is in its ASCII form."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def reject_breaks(field: str, value: str) -> str:
    """Return ``value`` when it can stand in one header line, else raise MessageError."""
    # isprintable() is one pass in C and false for every control character, so the usual value
    # costs a single call here.
    if not value.isprintable():
        if "\r" in value or "\n" in value:
            raise MessageError(field, "contains a line break")
        encoded_text(field, value)
    return value


def encoded_text(field: str, text: str) -> bytes:
    """The UTF-8 of a text, or MessageError for what no text part may hold."""
    if "\0" in text:
        raise MessageError(field, "contains a NUL")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MessageError(field, "contains half a character (a lone surrogate)") from None


def address(field: str, value: str) -> str:
    """Normalise one bare address: the domain becomes its A-label, the local part stays."""
    if len(value) <= 254 and value.find("@") <= 64 and _PLAIN.fullmatch(value):
        return value
    return _looked_at(field, value)


@lru_cache(maxsize=1024)
def _looked_at(field: str, value: str) -> str:
    reject_breaks(field, value)
    try:
        found = validate_email(
            value, check_deliverability=False, globally_deliverable=False, allow_quoted_local=True
        )
    except EmailNotValidError as error:
        raise MessageError(field, f"{value!r} is not an address: {error}") from None
    return f"{found.local_part}@{found.ascii_domain}"


def mailboxes(field: str, value: str | Iterable[str] | None) -> tuple[Mailbox, ...]:
    """Read ``Ann <ann@example.net>, bob@example.net``, or an iterable of such texts."""
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else list(value)
    found = [pair for text in texts for pair in _pairs(field, text)]
    return tuple(Mailbox(name, address(field, bare)) for name, bare in found)


def mailbox(field: str, value: str) -> Mailbox:
    """Read exactly one mailbox."""
    found = mailboxes(field, value)
    if len(found) != 1:
        raise MessageError(field, f"needs exactly one address, found {len(found)}")
    return found[0]


def _pairs(field: str, text: str) -> list[tuple[str, str]]:
    if not isinstance(text, str):
        raise MessageError(field, f"needs text, not {type(text).__name__}")
    reject_breaks(field, text)
    if not text.strip():
        return []
    pairs = getaddresses([text])
    if any(not bare for _, bare in pairs):
        raise MessageError(
            field, f"{text!r} is not a list of addresses (a name with a comma needs quotes)"
        )
    return pairs


def ascii_domain(field: str, domain: str) -> str:
    """Return the A-label form of a domain (RFC 5891)."""
    try:
        return idna.encode(reject_breaks(field, domain), uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise MessageError(field, f"{domain!r} is not a domain: {error}") from None
