"""Bodies: 7bit, quoted-printable or base64, chosen by content, with CRLF at every line's end."""

import binascii

_LONGEST = 998  # octets in a line (RFC 5321 4.5.3.1.6)
_BASE64_LINE = 76
# What quoted-printable leaves as it is, spaces at a line's end apart.
_READABLE = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x3D) + b"\r\n\t"


def lines(text: str) -> str:
    """End every line, the last one too, in CRLF; a bare CR counts as a line's end."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", "\r\n")


def body(text: str) -> tuple[bytes, bytes]:
    """Encode text that has CRLF lines. Returns the transfer encoding and the encoded body."""
    data = text.encode()
    if text.isascii() and "=_" not in text and max(map(len, data.split(b"\r\n"))) <= _LONGEST:
        return b"7bit", data
    return encoded(data)


def encoded(data: bytes) -> tuple[bytes, bytes]:
    """Quoted-printable or base64, whichever is shorter."""
    escaped = len(data.translate(None, _READABLE))
    if 6 * escaped > len(data):  # 2 octets more for each escape, against a third more for all
        return b"base64", base64_lines(data)
    return b"quoted-printable", binascii.b2a_qp(data)


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045 6.8)."""
    text = binascii.b2a_base64(data, newline=False)
    wrapped = [text[at : at + _BASE64_LINE] for at in range(0, len(text), _BASE64_LINE)]
    return b"\r\n".join([*wrapped, b""])
