"""Bodies: 7bit, quoted-printable or base64, chosen by content, with CRLF at every line's end."""

import binascii
from collections.abc import Mapping, Sequence

from mailer.message.addresses import encoded_text
from mailer.message.template import Template

_LONGEST = 998  # octets in a line (RFC 5321 4.5.3.1.6)
_BASE64_LINE = 76
# What quoted-printable leaves as it is, spaces at a line's end apart.
_READABLE = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x3D) + b"\r\n\t"


class TextPart:
    """A text part of the message, headers included: its constant lines are encoded only once."""

    __slots__ = ("_escapes", "_kind", "_places", "_plain", "_printable", "_raw", "_varying")

    def __init__(self, kind: str, runs: Sequence[str | Template]) -> None:
        """``kind`` is the subtype with its parameters, such as ``plain``."""
        self._kind = kind.encode("ascii")
        self._varying = [run for run in runs if isinstance(run, Template)]
        self._places = [place for place, run in enumerate(runs) if isinstance(run, Template)]
        fixed = [lines(run) if isinstance(run, str) and run else "" for run in runs]
        self._plain = all(map(_is_plain, fixed))
        self._raw = [text.encode() for text in fixed]
        self._printable = [binascii.b2a_qp(data) for data in self._raw]
        self._escapes = sum(map(_escapes, self._raw))

    @property
    def constant(self) -> bool:
        return not self._varying

    def render(self, values: Mapping[str, object]) -> bytes:
        """Return the part for one recipient, in the encoding that his text needs."""
        texts = [lines(one.render(values)) for one in self._varying]
        data = [
            encoded_text(one.field, text) for text, one in zip(texts, self._varying, strict=True)
        ]
        if self._plain and all(map(_is_plain, texts)):
            return self._part(b"7bit", self._filled(self._raw, data))
        escapes = self._escapes + sum(map(_escapes, data))
        # Two octets more for each escape, against a third more for everything.
        if 6 * escapes > sum(map(len, self._raw)) + sum(map(len, data)):
            return self._part(b"base64", base64_lines(self._filled(self._raw, data)))
        printable = [binascii.b2a_qp(one) for one in data]
        return self._part(b"quoted-printable", self._filled(self._printable, printable))

    def _filled(self, fixed: list[bytes], varying: list[bytes]) -> bytes:
        pieces = fixed.copy()
        for place, data in zip(self._places, varying, strict=True):
            pieces[place] = data
        return b"".join(pieces)

    def _part(self, encoding: bytes, data: bytes) -> bytes:
        return (
            b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b"
            % (self._kind, encoding, data)
        )


def lines(text: str) -> str:
    """End every line, the last one too, in CRLF; a bare CR counts as a line's end."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", "\r\n")


def _is_plain(text: str) -> bool:
    """May the text stand as it is? Boundaries start with "=_", so a text with that may not."""
    return (
        text.isascii()
        and "=_" not in text
        and (len(text) <= _LONGEST or max(map(len, text.split("\r\n"))) <= _LONGEST)
    )


def _escapes(data: bytes) -> int:
    return len(data.translate(None, _READABLE))


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045 6.8)."""
    text = binascii.b2a_base64(data, newline=False)
    wrapped = [text[at : at + _BASE64_LINE] for at in range(0, len(text), _BASE64_LINE)]
    return b"\r\n".join([*wrapped, b""])
