"""Bytes on the wire: replies coming in, commands and content going out (RFC 5321, RFC 5322)."""

import re

from .model import Dsn, Reply, Transaction

# RFC 5321 allows 512 octets a line; real servers write more. The bounds keep a peer from filling
# the memory of a worker.
MAX_LINE = 8192
MAX_LINES = 200

_CODES = {str(code).encode(): code for code in range(200, 600)}
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

# A path without anything that could end it or the command. The quoted form may hold spaces.
_QUOTED = r'(?:"(?:[ !#-;=?-\[\]-~%s]|\\[ -;=?-~])+"@)?[!-;=?-~%s]+'
_PATH = re.compile(_QUOTED.replace("%s", ""))
_UTF8_PATH = re.compile(_QUOTED.replace("%s", r"\xa1-\ud7ff\ue000-\U0010ffff"))
MAX_PATH = 254  # octets, RFC 5321 4.5.3.1.3 without the angle brackets


class ReplyParser:
    """Cuts what arrives into replies, however it was cut on its way."""

    __slots__ = ("_code", "_lines", "_rest", "garbage")

    def __init__(self) -> None:
        self.garbage: str | None = None  # what was no reply; nothing after it counts
        self.reset()

    def reset(self) -> None:
        """Forget everything not yet complete (RFC 3207, after STARTTLS)."""
        self._rest = b""
        self._code = 0
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that ``data`` completes, up to the first garbage."""
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(data) > MAX_LINE and max(map(len, [self._rest, *lines])) > MAX_LINE:
            self.garbage, lines = "a reply line without end", []
        replies: list[Reply] = []
        for line in lines:
            code = _CODES.get(line[:3])
            if line[3:4] == b" " and code is not None and not self._lines:  # nearly every reply
                replies.append(Reply(code, (line[4:].rstrip(b"\r"),)))
            elif reply := self._part(code, line.rstrip(b"\r")):
                replies.append(reply)
            if self.garbage is not None:
                break
        return replies

    def _part(self, code: int | None, line: bytes) -> Reply | None:
        """One line of a reply of several, or a code alone."""
        mark = line[3:4]
        if code is None or mark not in (b" ", b"-", b""):
            self.garbage = f"not an SMTP reply: {line[:60]!r}"
        elif self._lines and code != self._code:
            self.garbage = f"a reply of two codes, {self._code} and {code}"
        elif len(self._lines) >= MAX_LINES:
            self.garbage = "a reply without end"
        if code is None or self.garbage is not None:
            return None
        self._code = code
        self._lines.append(line[4:])
        if mark == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines = []
        return reply


def crlf(content: bytes) -> bytes:
    """Content with every bare CR or LF made CRLF, ending in CRLF.

    Done before dot-stuffing: a server that takes a bare LF for a line end would otherwise see the
    end of the message inside it (SMTP smuggling).
    """
    pairs = content.count(b"\r\n")
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        content = _BARE.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def dot_stuffed(content: bytes) -> bytes:
    """Content, which ends in CRLF, ready for DATA: leading dots doubled, and the final dot."""
    content = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    return b"." + content if content.startswith(b".") else content


def is_path(address: str, smtputf8: bool) -> bool:
    """Whether an address can stand in angle brackets: nothing in it may end the command."""
    if address.isascii():
        return len(address) <= MAX_PATH and _PATH.fullmatch(address) is not None
    return (
        smtputf8
        and len(address.encode("utf-8", "surrogatepass")) <= MAX_PATH
        and _UTF8_PATH.fullmatch(address) is not None
    )


def xtext(text: str) -> str:
    """Text as an ESMTP parameter value (RFC 3461, 4)."""
    return "".join(
        c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{b:02X}" for b in c.encode())
        for c in text
    )


def mail_options(transaction: Transaction, size: int | None, dsn: Dsn | None) -> str:
    """The parameters of MAIL, each with a space in front; ``size`` and ``dsn`` where offered."""
    options = f" SIZE={size}" if size is not None else ""
    if transaction.eight_bit:
        options += " BODY=8BITMIME"
    if transaction.smtputf8:
        options += " SMTPUTF8"
    if dsn and dsn.ret:
        options += f" RET={dsn.ret}"
    if dsn and dsn.envelope_id:
        options += f" ENVID={xtext(dsn.envelope_id)}"
    return options


def rcpt_options(recipient: str, dsn: Dsn) -> str:
    """The parameters of RCPT (RFC 3461), each with a space in front."""
    options = f" NOTIFY={','.join(dsn.notify)}" if dsn.notify else ""
    if not dsn.original_recipient:
        return options
    if recipient.isascii():
        return f"{options} ORCPT=rfc822;{xtext(recipient)}"
    return options  # a utf-8 ORCPT (RFC 6533) tells a server nothing that RCPT does not
