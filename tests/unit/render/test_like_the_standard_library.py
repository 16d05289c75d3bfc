"""The same message built by the standard library has to read the same, in every script."""

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.message import Attachment
from mailer.message.attachment import file_name
from tests.unit.render.make import make, parse, send

SCRIPTS = [
    "Grüße, Jörg", "工资单 十一月", "كشف الراتب", "🎉 you won 👩‍👩‍👧", 'say "hi", ok', "a\\b; c",
    "=?utf-8?q?x?=", "  spaced  out ", "x" * 300, "漢字" * 120, "tab\tinside", "日本語 and English",
    "O'Neil <x@y>", "100% {ok}", "naïve=café", "word " * 60,
]  # fmt: skip
WORDS = st.sampled_from(SCRIPTS) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60
)
NAMES = WORDS.map(lambda text: re.sub(r"[/\\]", "-", text).strip().strip(".")).filter(
    lambda name: name and file_name(name) == name
)
BODIES = st.lists(WORDS, max_size=12).map("\n".join)


def built_by_the_library(
    subject: str, name: str, text: str, html: str | None, files: list[tuple[str, bytes]]
) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = Address("Shop", addr_spec="shop@example.com")
    message["To"] = Address(name, addr_spec="ann@example.net")
    message["Subject"] = subject
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    for called, content in files:
        message.add_attachment(
            content, maintype="application", subtype="octet-stream", filename=called
        )
    return message


def seen(message: EmailMessage) -> dict[str, Any]:
    """Everything a reader can see."""
    body = {
        kind: part.get_content().replace("\r\n", "\n").rstrip("\n")
        for kind in ("plain", "html")
        if (part := message.get_body((kind,))) is not None
    }
    return {
        "subject": str(message["Subject"]),
        "to": [
            (str(make_header(decode_header(name))), address)
            for name, address in getaddresses([raw(message, "To")])
        ],
        "body": body,
        "files": [
            (one.get_filename(), one.get_content_type(), one.get_content())
            for one in message.iter_attachments()
        ],
        "shape": [part.get_content_type() for part in message.walk()],
    }


def raw(message: EmailMessage, name: str) -> str:
    # Python's own parser puts spaces between the encoded words of a name, against RFC 2047 6.2.
    return str(message_from_bytes(message.as_bytes(), policy=policy.compat32)[name])


@settings(max_examples=60, deadline=None)
@given(
    subject=WORDS,
    name=WORDS,
    text=BODIES,
    html=st.none() | BODIES,
    files=st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=2),
)
@example(subject="x" * 990, name="A, B", text=".\n..\n \n", html=None, files=[])
@example(subject="", name="", text="", html="", files=[("a b.pdf", b""), ("条款.pdf", b"\r\n")])
def test_a_reader_sees_what_the_standard_library_would_have_sent(
    subject: str, name: str, text: str, html: str | None, files: list[tuple[str, bytes]]
) -> None:
    message = make(
        to="{{ name }} <{{ email }}>", subject="{{ subject }}", text="{{ text }}",
        html=None if html is None else "{{ html | safe }}",
        attachments=[
            Attachment.from_bytes(content, f"{{{{ file{place} }}}}", "application/octet-stream")
            for place, (_, content) in enumerate(files)
        ],
    )  # fmt: skip
    values = {"subject": subject, "name": name, "text": text, "html": html}
    values |= {f"file{place}": called for place, (called, _) in enumerate(files)}
    mail = send(message, values)
    ours = seen(parse(mail))
    reference = built_by_the_library(subject, name.strip(), text, html, files)
    assert ours["body"] == seen(reference)["body"]
    assert ours["subject"] == subject
    assert ours["to"] == [(name.strip(), "ann@example.net")]
    assert ours["files"] == [
        (called, "application/octet-stream", content) for called, content in files
    ]
    if "=?" not in f"{files}":  # which the library's reader takes for an encoded word
        assert ours["files"] == seen(reference)["files"]
    assert ours["shape"] == seen(reference)["shape"]
    well_formed(mail.content)


def well_formed(content: bytes) -> None:
    """7 bit, CRLF only, no line over 998 octets, no header line over 78 where it can be folded."""
    assert content.isascii()
    assert b"\0" not in content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert len(line) <= 78 or b" " not in line.strip().partition(b": ")[2]
        assert line.strip()


def test_the_library_reads_its_own_message_the_way_this_test_does() -> None:
    reference = built_by_the_library("Grüße", "Jörg", "a\n", "<p>b</p>\n", [("ü.pdf", b"x")])
    again = message_from_bytes(reference.as_bytes(), policy=policy.default)
    assert isinstance(again, EmailMessage)
    assert seen(again) == seen(reference)
