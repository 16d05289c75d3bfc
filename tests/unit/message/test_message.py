import json
from pathlib import Path
from typing import Any

import pytest

from mailer.errors import MessageError, TemplateError
from mailer.message import Attachment, Message, digest_of


def make(**fields: Any) -> Message:
    return Message(**{"sender": "Shop <shop@example.com>", "text": "Hello", **fields})


FULL = make(
    sender="Jörg <shop@bücher.example>", sender_header="office@example.com",
    reply_to=["A <a@example.com>", "b@example.com"], to="{{ name }} <{{ email }}>",
    cc='"Doe, J." <j@example.com>', bcc=("c@example.com",), subject="{{ month }}",
    html="<p>x</p>", calendar="BEGIN:VCALENDAR\n", priority="high",
    headers={"X-B": "{{ b }}", "X-A": "1"}, envelope_sender="b+{{ token }}@example.com",
    message_id_domain="mail.example.com",
    list_unsubscribe=("https://u.example/{{ token }}", "mailto:u+{{ token }}@example.com"),
    list_id="news.example.com", feedback_id="a:b:c:d", auto_submitted="auto-generated",
    attachments=[
        Attachment.from_bytes(b"one", "a.pdf"), Attachment.from_bytes(b"one", "b.pdf"),
        Attachment.from_bytes(b"png", "c.png", inline=True, cid="<logo>"),
        Attachment.per_recipient("{{ payslip }}", name="{{ month }}.pdf"),
    ],
)  # fmt: skip


def test_a_message_survives_its_document() -> None:
    document, contents = FULL.dump()
    again = Message.load(json.loads(json.dumps(document)), contents)
    assert again == FULL
    assert again.dump() == (document, contents)
    assert Message.load(document, contents.__getitem__) == FULL


def test_each_content_is_stored_once_and_not_in_the_document() -> None:
    document, contents = FULL.dump()
    assert contents == {digest_of(b"one"): b"one", digest_of(b"png"): b"png"}
    assert "b'one'" not in repr(document)
    assert "b'one'" not in repr(FULL)


def test_a_document_of_a_later_version_is_refused() -> None:
    with pytest.raises(MessageError, match="version 9"):
        Message.load({**FULL.dump()[0], "version": 9}, {})


def test_the_message_id_domain_is_the_senders_as_an_a_label() -> None:
    assert make(sender="x@bücher.example").id_domain == "xn--bcher-kva.example"
    assert make(message_id_domain="Grün.example").id_domain == "xn--grn-ioa.example"


def test_the_needs_are_those_of_all_templates_together() -> None:
    assert FULL.needs == {"name", "month", "b", "payslip"}
    assert (
        make(text="{{ a }}{{ email }}{{ unsubscribe_url }}", html="{{ a | d('') }}").needs == set()
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sender": "nobody"}, "sender"),
        ({"sender": "a@example.com, b@example.com"}, "sender"),
        ({"sender": "Doe, J. <a@example.com>"}, "sender"),
        ({"sender": "a@example.com\r\nBcc: x@example.com"}, "sender"),
        ({"sender": ""}, "sender"),
        ({"sender_header": "x"}, "sender_header"),
        ({"reply_to": ["a@example.com", "b@"]}, "reply_to"),
        ({"cc": "a b@example.com"}, "cc"),
        ({"cc": [1]}, "cc"),
        ({"to": "Ann <{{ mail }}>"}, "to"),
        ({"to": "{{ email }}, b@example.com"}, "to"),
        ({"to": "nobody"}, "to"),
        ({"subject": "a\nb"}, "subject"),
        ({"subject": b"x"}, "subject"),
        ({"subject": "half \ud800"}, "subject"),
        ({"text": "a\0b"}, "text"),
        ({"text": None}, "text"),
        ({"priority": "urgent"}, "priority"),
        ({"headers": {"X Y": "1"}}, "headers"),
        ({"headers": {"X-Y:": "1"}}, "headers"),
        ({"headers": {"X-Y": "1\r\nBcc: a@example.com"}}, "headers.X-Y"),
        ({"headers": {"X-Y": 1}}, "headers.X-Y"),
        ({"headers": {"X-Y": "1", "x-y": "2"}}, "headers.x-y"),
        ({"headers": {"Bcc": "a@example.com"}}, "headers.Bcc"),
        ({"headers": {"Content-Type": "text/plain"}}, "headers.Content-Type"),
        ({"headers": {"Message-ID": "x"}}, "headers.Message-ID"),
        ({"envelope_sender": "x"}, "envelope_sender"),
        ({"envelope_sender": "b+{{ other }}@example.com"}, "envelope_sender"),
        ({"message_id_domain": "a b"}, "message_id_domain"),
        ({"list_unsubscribe": "http://plain.example/{{ token }}"}, "list_unsubscribe"),
        ({"list_unsubscribe": "https://a.example/\r\nX: y"}, "list_unsubscribe"),
        ({"list_id": "a\nb"}, "list_id"),
        ({"feedback_id": "a\rb"}, "feedback_id"),
        ({"auto_submitted": "a\0b"}, "auto_submitted"),
        ({"attachments": ["a.pdf"]}, "attachments"),
        ({"mjml": "<mjml></mjml>", "html": "x"}, "mjml"),
    ],
)
def test_what_can_never_be_sent_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(MessageError) as caught:
        make(**fields)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_a_template_error_names_field_and_line() -> None:
    with pytest.raises(TemplateError, match="html, line 2"):
        make(html="<p>\n{{ x")
    with pytest.raises(TemplateError, match=r"headers\.X-A, line 1"):
        make(headers={"X-A": "{{"})
    with pytest.raises(TemplateError, match=r"attachments\.1\.path"):
        make(attachments=[Attachment.per_recipient("{{")])


def test_mjml_becomes_html() -> None:
    pytest.importorskip("mjml")
    source = "<mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section>"
    source = f"<mjml><mj-body>{source}</mj-body></mjml>"
    message = make(mjml=source)
    assert "Hi {{ name }}" in (message.html or "")
    assert message.mjml is None
    with pytest.raises(MessageError, match="mjml"):
        make(mjml="<mjml><nosuch")


def test_an_attachment_is_made_of_a_path_bytes_or_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "Rechnung ü.pdf"
    path.write_bytes(b"%PDF")
    by_path = Attachment.from_path(path)
    with path.open("rb") as file:
        by_file = Attachment.from_file(file)
    assert by_path == by_file == Attachment.from_bytes(b"%PDF", "Rechnung ü.pdf")
    assert by_path.type == "application/pdf"
    named = Attachment.from_path(path, name="x.bin", type="Text/CSV")
    assert (named.name, named.type) == ("x.bin", "text/csv")


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("a.pdf", "application/pdf"), ("a.PNG", "image/png"), ("a.csv", "text/csv"),
        ("a", "application/octet-stream"), ("a.tar.gz", "application/octet-stream"),
        ("a.eml", "application/octet-stream"), ("a.ics", "text/calendar"),
    ],
)  # fmt: skip
def test_a_type_is_guessed_from_the_name(name: str, type_: str) -> None:
    assert Attachment.from_bytes(b"", name).type == type_


def test_attachments_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MessageError, match="No such file"):
        Attachment.from_path(tmp_path / "none.pdf")
    for type_ in ("pdf", "a/b\r\nX: y", "message/rfc822", "multipart/mixed"):
        with pytest.raises(MessageError, match="not a type"):
            Attachment.from_bytes(b"", "a", type_)
    with pytest.raises(MessageError, match="Content-ID"):
        Attachment.from_bytes(b"", "a", cid="a b")
    with pytest.raises(MessageError, match="path"):
        Attachment.per_recipient(" ")
    text = tmp_path / "a.txt"
    text.write_text("x")
    with text.open() as file, pytest.raises(MessageError, match="binary"):
        Attachment.from_file(file)  # type: ignore[arg-type]
