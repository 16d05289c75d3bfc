"""Header lines: encoded by RFC 2047 and 2231, folded by RFC 5322, ending in CRLF."""

import binascii
from collections.abc import Iterable
from functools import lru_cache

from mailer.errors import MessageError
from mailer.message.addresses import Mailbox, reject_breaks

_LINE = 76  # RFC 5322 2.1.1 asks for 78 at most
_LONGEST = 990  # and demands 998
_WORD = 75  # the longest encoded word (RFC 2047 2)
_ENCODING = len("=?utf-8?q??=")
# The characters an encoded word may hold as they are, in a display name too (RFC 2047 5(3)).
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = [chr(byte) if byte in _SAFE else f"={byte:02X}" for byte in range(256)]
_Q[0x20] = "_"
_ATOMS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~ "
)
_PERCENT = [
    chr(byte) if byte in _SAFE - frozenset(b"*") or byte in b"._" else f"%{byte:02X}"
    for byte in range(256)
]


def text_line(name: str, value: str, field: str) -> str:
    """A header of free text, such as a subject. Raises MessageError for a line break in it."""
    line = f"{name}: {value}\r\n"
    if len(line) <= _LINE and _plain(value):
        return line
    reject_breaks(field, value)
    if _plain(value) and "  " not in value and max(map(len, value.split(" "))) < _LONGEST:
        return _folded(name, value.split(" "))
    return f"{name}: " + "\r\n ".join(encoded_words(value, len(name) + 2)) + "\r\n"


def exact_line(name: str, value: str, field: str) -> str:
    """A header that must stay in one line as it is, such as List-Unsubscribe (RFC 8058 4)."""
    if not (value.isascii() and value.isprintable() and len(value) < _LONGEST):
        raise MessageError(field, "has to be one line of printable ASCII")
    return f"{name}: {value}\r\n"


def address_line(name: str, mailboxes: Iterable[Mailbox]) -> str:
    """A header of addresses. Raises MessageError for a line break in a name."""
    tokens: list[str] = []
    for one in mailboxes:
        if tokens:
            tokens[-1] += ","
        tokens += _mailbox(one, len(name) + 2 if not tokens else 1)
    return _folded(name, tokens)


def _mailbox(one: Mailbox, column: int) -> list[str]:
    if not one.name:
        return [one.address]
    if not _plain(one.name) or len(one.name) > 60:
        reject_breaks("to", one.name)  # all other names were looked at when the message was made
        return [*encoded_words(one.name, column), f"<{one.address}>"]
    if _ATOMS.issuperset(one.name) and "  " not in one.name:
        return [*one.name.split(" "), f"<{one.address}>"]
    quoted = one.name.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{quoted}"', f"<{one.address}>"]


def _plain(value: str) -> bool:
    """Can the value stand as it is? Spaces at an end would be lost by a parser."""
    return (
        value.isascii()
        and value.isprintable()
        and "=?" not in value
        and (value == "" or (value[0] != " " and value[-1] != " "))
    )


def _folded(name: str, tokens: Iterable[str]) -> str:
    lines, line = [], f"{name}:"
    for token in tokens:
        if len(line) + 1 + len(token) > _LINE and line.strip() != f"{name}:":
            lines.append(line)
            line = ""
        line += " " + token
    return "\r\n".join([*lines, line]) + "\r\n"


@lru_cache(maxsize=4096)
def encoded_words(value: str, column: int = 1) -> tuple[str, ...]:
    """Encode text as RFC 2047 words of at most 75 characters that split no character.

    ``column`` is where the first word starts. Q is taken when it is the shorter one.
    """
    data = value.encode()
    readable = sum(byte in _SAFE or byte == 0x20 for byte in data)
    use_q = readable + 3 * (len(data) - readable) <= (len(data) + 2) // 3 * 4
    words, start = [], 0
    while start < len(data):
        room = min(_WORD, _LINE - column) - _ENCODING
        end = _end_of_word(data, start, room, use_q)
        words.append(_word(data[start:end], use_q))
        start, column = end, 1
    return tuple(words)


def _end_of_word(data: bytes, start: int, room: int, use_q: bool) -> int:
    if use_q:
        end, used = start, 0
        while end < len(data) and used + len(_Q[data[end]]) <= room:
            used += len(_Q[data[end]])
            end += 1
    else:
        end = min(len(data), start + room // 4 * 3)
    while end < len(data) and data[end] & 0xC0 == 0x80:  # within a UTF-8 character
        end -= 1
    return end


def _word(data: bytes, use_q: bool) -> str:
    if use_q:
        return "=?utf-8?q?" + "".join([_Q[byte] for byte in data]) + "?="
    return "=?utf-8?b?" + binascii.b2a_base64(data, newline=False).decode("ascii") + "?="


def file_headers(kind: str, type_: str, name: str, cid: str | None = None) -> str:
    """The headers of an attached or inline file up to the empty line, all but the encoding.

    The name is there twice when it is not ASCII: by RFC 2231, and as encoded words for clients
    that know no better.
    """
    lines = [
        f"Content-Type: {type_};{_old_name(name)}",
        f"Content-Disposition: {kind};\r\n " + ";\r\n ".join(_names(name)),
    ]
    if cid is not None:
        lines.append(f"Content-ID: <{cid}>")
    return "\r\n".join(lines) + "\r\n"


def _old_name(name: str) -> str:
    if _plain(name):
        return f'\r\n name="{_escaped(name)}"'
    return '\r\n name="' + "\r\n ".join(encoded_words(name, 8)) + '"'


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _names(name: str) -> list[str]:
    if _plain(name):
        return [f'filename="{_escaped(name)}"']
    pieces, piece = [], "utf-8''"
    for char in name:
        encoded = "".join([_PERCENT[byte] for byte in char.encode()])
        if len(piece) + len(encoded) > 60:
            pieces.append(piece)
            piece = ""
        piece += encoded
    pieces.append(piece)
    if len(pieces) == 1:
        return [f"filename*={piece}"]
    return [f"filename*{place}*={one}" for place, one in enumerate(pieces)]
