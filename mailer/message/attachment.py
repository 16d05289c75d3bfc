"""Files that go with a message: the same for all, or each recipient's own."""

import hashlib
import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mailer.errors import MessageError
from mailer.message.addresses import reject_breaks

_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")
_CID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")
# Control characters, and the marks that turn "exe.fdp" into "pdf.exe" on the screen.
_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
_LONGEST_NAME = 255  # what file systems take
_ANYTHING = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """One file. Make it with ``from_path``, ``from_bytes``, ``from_file`` or ``per_recipient``.

    content: the bytes, for a file that all recipients share; path: the template of a path, for a
    file of each recipient's own. name: what the reader sees, a template too. inline: an image
    shown in the HTML; None makes it so when the HTML mentions the image by its file name or cid.
    """

    name: str | None = None
    type: str | None = None
    content: bytes | None = field(default=None, repr=False)
    path: str | None = None
    inline: bool | None = None
    cid: str | None = None
    digest: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.type is not None:
            object.__setattr__(self, "type", media_type(self.type))
        if self.cid is not None:
            object.__setattr__(self, "cid", self.cid.strip("<>"))
            if not _CID.fullmatch(self.cid):
                raise MessageError("attachments", f"{self.cid!r} cannot be a Content-ID")
        if self.content is not None:
            object.__setattr__(self, "digest", digest_of(self.content))

    @classmethod
    def from_path(
        cls, path: str | Path, name: str | None = None, type: str | None = None,  # noqa: A002
        *, inline: bool | None = None, cid: str | None = None,
    ) -> "Attachment":  # fmt: skip
        """Read a file now. Raises MessageError when it cannot be read."""
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MessageError("attachments", f"{path}: {error.strerror}") from None
        return cls(
            name=name or path.name, type=type or guess_type(name or path.name), content=content,
            inline=inline, cid=cid,
        )  # fmt: skip

    @classmethod
    def from_bytes(
        cls, content: bytes, name: str, type: str | None = None,  # noqa: A002
        *, inline: bool | None = None, cid: str | None = None,
    ) -> "Attachment":  # fmt: skip
        """Take the content as it is."""
        return cls(
            name=name, type=type or guess_type(name), content=bytes(content), inline=inline, cid=cid
        )

    @classmethod
    def from_file(
        cls, file: BinaryIO, name: str | None = None, type: str | None = None,  # noqa: A002
        *, inline: bool | None = None, cid: str | None = None,
    ) -> "Attachment":  # fmt: skip
        """Read a file object, opened in binary mode, to its end."""
        name = name or Path(str(getattr(file, "name", "") or "attachment")).name
        content: object = file.read()
        if not isinstance(content, bytes):
            raise MessageError("attachments", f"{name}: the file is not opened in binary mode")
        return cls.from_bytes(content, name, type, inline=inline, cid=cid)

    @classmethod
    def per_recipient(
        cls, path: str | Path, name: str | None = None, type: str | None = None,  # noqa: A002
    ) -> "Attachment":  # fmt: skip
        """A file of each recipient's own: ``per_recipient("{{ staff_no }}.pdf")``.

        The path is one below the campaign's folder of attachments. When the template is a lone
        variable such as ``{{ payslip }}``, its value may also be bytes or an Attachment.
        """
        if not str(path).strip():
            raise MessageError("attachments", "per_recipient needs a path such as {{ payslip }}")
        return cls(name=name, type=type, path=str(path))


def digest_of(content: bytes) -> str:
    """The name under which a content is stored: hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def media_type(text: str) -> str:
    """Check an explicit media type such as ``application/pdf``."""
    main = text.lower().partition("/")[0]
    if not _TYPE.fullmatch(text) or main in ("multipart", "message"):
        # RFC 2046 5.2.1 forbids base64 for message/*, and we send files as base64 only.
        raise MessageError("attachments", f"{text[:60]!r} is not a type a file can have")
    return text.lower()


def guess_type(name: str) -> str:
    """The media type that a file's name suggests."""
    guess, encoding = mimetypes.guess_type(name, strict=False)
    if guess is None or encoding is not None or not _TYPE.fullmatch(guess):
        return _ANYTHING
    return _ANYTHING if guess.startswith(("message/", "multipart/")) else guess


def file_name(text: str) -> str:
    """The name a reader may see: no folders, no control characters, 255 characters at most."""
    reject_breaks("attachments", text)
    name = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = _UNSEEN.sub("", name).strip()
    if name in ("", ".", ".."):
        raise MessageError("attachments", f"{text[:60]!r} leaves no file name")
    return name if len(name) <= _LONGEST_NAME else _shortened(name)


def _shortened(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 20:
        return name[:_LONGEST_NAME]
    return stem[: _LONGEST_NAME - len(suffix) - 1] + "." + suffix
