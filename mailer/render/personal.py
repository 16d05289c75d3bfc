"""Each recipient's own files: found, confined to one folder, and named by their digest."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailer.errors import MessageError
from mailer.message import Attachment, Message, digest_of
from mailer.message.attachment import file_name, guess_type


@dataclass(frozen=True, slots=True)
class PersonalFile:
    """A file of one recipient. ``digest`` is the hex SHA-256 under which its bytes are stored."""

    digest: str
    name: str
    type: str
    origin: Path | bytes = field(repr=False)

    def read(self) -> bytes:
        """Return the bytes. Raises MessageError when the file changed since it was found."""
        if isinstance(self.origin, bytes):
            return self.origin
        try:
            content = self.origin.read_bytes()
        except OSError as error:
            raise MessageError("attachments", f"{self.origin}: {error.strerror}") from None
        if digest_of(content) != self.digest:
            raise MessageError("attachments", f"{self.origin}: changed while it was being read")
        return content


def personal_files(
    message: Message, variables: Mapping[str, object], folder: Path | None
) -> tuple[PersonalFile, ...]:
    """Find the files of one recipient, in the order of the message's attachments."""
    return tuple(
        _find(message, place, one, variables, folder)
        for place, one in enumerate(message.attachments, 1)
        if one.path is not None
    )


def _find(
    message: Message, place: int, one: Attachment, variables: Mapping[str, object],
    folder: Path | None,
) -> PersonalFile:  # fmt: skip
    template = message.templates[f"attachments.{place}.path"]
    named = message.templates.get(f"attachments.{place}.name")
    given = variables.get(template.lone) if template.lone else None
    name = named.render(variables) if named else None
    if isinstance(given, Attachment):
        return _from_bytes(given.content or b"", name or given.name, one.type or given.type)
    if isinstance(given, bytes):
        return _from_bytes(given, name, one.type)
    path = _confined(template.render(variables), folder)
    shown = file_name(name or path.name)
    return PersonalFile(_digest(path), shown, one.type or guess_type(shown), path)


def _from_bytes(content: bytes, name: str | None, type_: str | None) -> PersonalFile:
    if not name:
        raise MessageError("attachments", "bytes given per recipient need a name")
    shown = file_name(name)
    return PersonalFile(digest_of(content), shown, type_ or guess_type(shown), content)


def _confined(text: str, folder: Path | None) -> Path:
    """Resolve a path that must be a file below ``folder``, links followed."""
    if folder is None:
        raise MessageError("attachments", "no folder was given for the recipients' own files")
    if not text.strip() or "\0" in text or ".." in Path(text.replace("\\", "/")).parts:
        raise MessageError("attachments", f"{text[:200]!r} is not a path below the folder")
    root = folder.resolve()
    try:
        path = (root / text.strip()).resolve(strict=True)
    except (OSError, RuntimeError):
        raise MessageError("attachments", f"no file {text.strip()!r}") from None
    if not path.is_relative_to(root):
        raise MessageError("attachments", f"{text.strip()!r} is outside the folder")
    if not path.is_file():
        raise MessageError("attachments", f"{text.strip()!r} is not a file")
    return path


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MessageError("attachments", f"{path}: {error.strerror}") from None
