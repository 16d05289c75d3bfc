"""A caught message, taken apart for people to read. What is broken shows as far as it goes."""

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage, MIMEPart
from email.policy import default

_CID = re.compile(r"\bcid:([^\"'\s)>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree; ``number`` counts leaves from 0."""

    number: int
    content_type: str
    name: str
    content_id: str
    content: bytes


class Parsed:
    """A message's headers, bodies and attachments."""

    def __init__(self, content: bytes) -> None:
        self._message: EmailMessage = email.message_from_bytes(content, policy=default)

    def header(self, name: str) -> str:
        """A header's decoded text; empty when absent, a note when it cannot be decoded."""
        try:
            return str(self._message.get(name, ""))
        except (ValueError, LookupError, AttributeError):
            return "(unreadable)"  # the standard library fails on some malformed headers

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Every header, decoded, in order; of a repeated one the first value each time."""
        return [(name, self.header(name)) for name in self._message.keys()]  # noqa: SIM118

    @property
    def text(self) -> str | None:
        """The plain text body."""
        return self._body("plain")

    @property
    def html(self) -> str | None:
        """The HTML body as it was sent."""
        return self._body("html")

    def _body(self, kind: str) -> str | None:
        part = self._message.get_body(preferencelist=(kind,))
        return None if part is None else _text(part)

    def html_with_images(self, base: str) -> str:
        """The HTML body with each ``cid:`` replaced by the address of that part below ``base``."""
        numbers = {part.content_id: part.number for part in self.parts() if part.content_id}

        def address(match: re.Match[str]) -> str:
            number = numbers.get(match[1])
            return match[0] if number is None else f"{base}/{number}"

        return _CID.sub(address, self.html or "")

    @property
    def attachments(self) -> list[Part]:
        """Everything but the bodies."""
        bodies = [self._message.get_body(preferencelist=(kind,)) for kind in ("plain", "html")]
        leaves = enumerate(self._leaves())
        return [_part(n, leaf) for n, leaf in leaves if all(leaf is not b for b in bodies)]

    def parts(self) -> list[Part]:
        """Every leaf of the MIME tree."""
        return [_part(number, leaf) for number, leaf in enumerate(self._leaves())]

    def _leaves(self) -> Iterator[EmailMessage]:
        for part in self._message.walk():
            if not part.is_multipart() and isinstance(part, EmailMessage):
                yield part


def _part(number: int, leaf: EmailMessage) -> Part:
    content = leaf.get_payload(decode=True)
    return Part(
        number,
        leaf.get_content_type(),
        leaf.get_filename() or f"part-{number}",
        str(leaf.get("Content-ID", "")).strip("<> "),
        content if isinstance(content, bytes) else b"",
    )


def _text(part: MIMEPart) -> str:
    content = part.get_payload(decode=True)
    raw = content if isinstance(content, bytes) else b""
    try:
        return raw.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:  # a charset that Python does not know
        return raw.decode("utf-8", errors="replace")
