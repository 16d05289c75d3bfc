"""A message as a document fit for JSON, and back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mailer.errors import MessageError
from mailer.message.attachment import Attachment

_VERSION = 1
_ATTACHMENT = ("name", "type", "path", "inline", "cid")

Contents = Callable[[str], bytes] | Mapping[str, bytes]


def to_document(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a message's fields: everything but the contents of the attachments."""
    document = {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    document["version"] = _VERSION
    # Pairs, as a JSON object may come back in another order.
    document["headers"] = [list(pair) for pair in fields["headers"].items()]
    document["attachments"] = [
        {name: getattr(one, name) for name in _ATTACHMENT} | {"digest": one.digest}
        for one in fields["attachments"]
    ]
    return document


def from_document(document: Mapping[str, Any], contents: Contents) -> dict[str, Any]:
    """The fields of the message. Raises MessageError for a document of another version."""
    fields = dict(document)
    version = fields.pop("version", None)
    if version != _VERSION:
        raise MessageError("version", f"cannot read a message of version {version}")
    fields["headers"] = dict(fields["headers"])
    fields["attachments"] = [_attachment(one, contents) for one in fields["attachments"]]
    return fields


def contents_of(attachments: Iterable[Attachment]) -> dict[str, bytes]:
    """The shared contents by their digests."""
    return {
        one.digest: one.content
        for one in attachments
        if one.digest is not None and one.content is not None
    }


def _attachment(document: Mapping[str, Any], contents: Contents) -> Attachment:
    digest = document["digest"]
    read = contents if callable(contents) else contents.__getitem__
    fields = {name: document[name] for name in _ATTACHMENT}
    return Attachment(**fields, content=None if digest is None else read(digest))
