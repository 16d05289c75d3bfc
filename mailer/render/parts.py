"""The body: a sequence of constant bytes and of parts that vary with the recipient.

Structure: mixed( alternative( plain, related( html, images ), calendar ), files ), each layer
only when it has two children or more.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailer.message import Attachment, Message
from mailer.message.attachment import file_name, guess_type
from mailer.message.template import Template
from mailer.render import plain, source
from mailer.render.encoding import TextPart, base64_lines
from mailer.render.headers import file_headers

Personal = tuple[str, str, str]  # digest, file name, media type
_BASE64 = b"Content-Transfer-Encoding: base64\r\n\r\n"


@dataclass(slots=True)
class FileHeaders:
    """The headers of a shared file whose name is a template."""

    template: Template
    type: str

    def render(self, values: Mapping[str, object]) -> bytes:
        name = file_name(self.template.render(values))
        return file_headers("attachment", self.type, name).encode("ascii")


@dataclass(slots=True)
class PersonalPlace:
    """Where each recipient's own files go."""

    boundary: bytes


Piece = bytes | TextPart | FileHeaders | PersonalPlace
Pieces = list[Piece]


def personal_part(boundary: bytes, name: str, type_: str, content: bytes) -> bytes:
    """A recipient's own file, with the boundary before it."""
    headers = file_headers("attachment", type_, name).encode("ascii")
    return b"".join([b"--", boundary, b"\r\n", headers, _BASE64, base64_lines(content), b"\r\n"])


class Layout(NamedTuple):
    """The body: ``fixed`` with an empty place for each part that varies."""

    fixed: list[bytes]
    varying: list[tuple[int, TextPart | FileHeaders]]
    personal: tuple[int, bytes] | None  # the place of each recipient's own files, the boundary


def layout(message: Message) -> Layout:
    """Lay out the body once for all recipients."""
    pieces = _merged(_body(message))
    personal = [
        (place, piece.boundary)
        for place, piece in enumerate(pieces)
        if isinstance(piece, PersonalPlace)
    ]
    return Layout(
        [piece if isinstance(piece, bytes) else b"" for piece in pieces],
        [
            (place, piece)
            for place, piece in enumerate(pieces)
            if isinstance(piece, TextPart | FileHeaders)
        ],
        personal[0] if personal else None,
    )


def _body(message: Message) -> Pieces:
    html, images = _html(message)
    seed = hashlib.sha256(repr((message.subject, message.text, message.html)).encode()).hexdigest()
    alternatives = [
        part for part in (_text(message, html), _related(html, images, message, seed)) if part
    ]
    if message.calendar:
        alternatives.append([_calendar(message.calendar)])
    content = _multipart("alternative", alternatives, seed)
    children = [content] if content else []
    shared = [one for one in message.attachments if one.content is not None and one not in images]
    children += [_file(message, one) for one in shared]
    personal = any(one.path is not None for one in message.attachments)
    return _multipart("mixed", children, seed, personal=personal)


def _html(message: Message) -> tuple[str | None, list[Attachment]]:
    """The HTML with everything done to it that can be done once, and the images it shows."""
    html = message.html
    if html is None:
        return None, []
    images = [one for one in message.attachments if _shown(one, html)]
    html = source.with_cids(html, {str(one.name): content_id(one, message) for one in images})
    return source.inline_css(html) if message.inline_css else html, images


def _shown(one: Attachment, html: str) -> bool:
    if one.content is None or one.name is None or one.inline is not None:
        return bool(one.inline) and one.content is not None
    return (one.type or "").startswith("image/") and (
        source.mentions(html, one.name) or (one.cid is not None and source.mentions(html, one.cid))
    )


def content_id(one: Attachment, message: Message) -> str:
    """The Content-ID that was given, or one made of the content's digest."""
    return one.cid or f"{str(one.digest)[:16]}@{message.id_domain}"


def _text(message: Message, html: str | None) -> Pieces:
    if message.text is not None:
        return [_leaf("plain", message.templates["text"].runs())]
    if html is not None:
        made = Template("html", plain.text_from_html(html), locale=message.locale)
        return [_leaf("plain", made.runs())]
    return []


def _related(html: str | None, images: Sequence[Attachment], message: Message, seed: str) -> Pieces:
    if html is None:
        return []
    template = Template("html", html, html=True, locale=message.locale)
    children: list[Pieces] = [[_leaf("html", template.runs())]]
    children += [[_image(one, message)] for one in images]
    return _multipart("related", children, seed)


def _leaf(kind: str, runs: Sequence[str | Template]) -> Piece:
    part = TextPart(kind, runs)
    return part.render({}) if part.constant else part


def _image(one: Attachment, message: Message) -> bytes:
    name = file_name(str(one.name))
    headers = file_headers("inline", str(one.type), name, content_id(one, message))
    return headers.encode("ascii") + _BASE64 + base64_lines(one.content or b"")


def _file(message: Message, one: Attachment) -> Pieces:
    place = list(message.attachments).index(one) + 1
    template = message.templates[f"attachments.{place}.name"]
    encoded = _BASE64 + base64_lines(one.content or b"")
    type_ = one.type or guess_type(one.name or "")
    if template.constant is None:
        return [FileHeaders(template, type_), encoded]
    headers = file_headers("attachment", type_, file_name(template.constant))
    return [headers.encode("ascii") + encoded]


def _calendar(text: str) -> Piece:
    method = re.search(r"^METHOD:([A-Za-z]+)\s*$", text, re.MULTILINE)
    kind = f"calendar; method={method[1] if method else 'REQUEST'}"
    return _leaf(kind, [text])


def _multipart(
    subtype: str, children: Sequence[Pieces], seed: str, *, personal: bool = False
) -> Pieces:
    """Join parts, or return the only one. "=_" is in no base64 or quoted-printable text."""
    if len(children) < 2 and not personal:
        return children[0] if children else []
    boundary = f"=_{subtype}_{seed[:24]}".encode()
    pieces: Pieces = [
        f'Content-Type: multipart/{subtype};\r\n boundary="'.encode() + boundary + b'"\r\n\r\n'
    ]
    for child in children:
        pieces += [b"--" + boundary + b"\r\n", *child, b"\r\n"]
    if personal:
        pieces.append(PersonalPlace(boundary))
    return [*pieces, b"--" + boundary + b"--\r\n"]


def _merged(pieces: Iterable[Piece]) -> Pieces:
    merged: Pieces = []
    for piece in pieces:
        if isinstance(piece, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
