"""No value can add a header, a recipient, a part or a command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.errors import MailerError, MessageError
from mailer.message import Attachment
from mailer.render import compile_message
from tests.unit.render.make import DATE, DELIVERY, make, parse, send

ATTACKS = [
    "a\r\nBcc: evil@example.com", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0b", "\r\n\r\n<html>evil",
    "a, evil@example.com", "<evil@example.com>", '"', "\\", "a\x0bX-Evil: 1", "a\x1cX-Evil: 1",
    "a\x85X-Evil: 1", "a\u2028X-Evil: 1", "\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    "--=_mixed", "=?utf-8?q?=0D=0ABcc:_evil@example.com?=", "=_", "\ud800",
]  # fmt: skip
VALUES = (
    st.sampled_from(ATTACKS)
    | st.text(max_size=40)
    | st.builds("{}{}".format, st.text(max_size=8), st.sampled_from(ATTACKS))
)
MESSAGE = make(
    to="{{ v }} <{{ email }}>", subject="{{ v }}", text="{{ v }}", html="<p>{{ v }}</p>",
    headers={"X-Own": "{{ v }}"},
    attachments=[Attachment.from_bytes(b"x", "{{ v }}.pdf", "application/pdf")],
)  # fmt: skip
COMPILED = compile_message(MESSAGE)
NAMES = ["Date", "From", "To", "Subject", "Message-ID", "X-Own", "MIME-Version", "Content-Type"]
SHAPE = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"]


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_no_value_of_a_recipient_changes_the_shape_of_a_message(value: str) -> None:
    try:
        mail = COMPILED.render(
            {"v": value}, email="ann@example.net", delivery_id=DELIVERY, message_id="<1@a.example>",
            date=DATE,
        )  # fmt: skip
    except MailerError:
        return
    found = parse(mail)
    assert found.keys() == NAMES
    assert [part.get_content_type() for part in found.walk()] == SHAPE
    assert mail.content.count(b"\r\n--=_mixed") == 3
    assert [line.addr_spec for line in found["To"].addresses] == ["ann@example.net"]
    assert (mail.sender, mail.recipient) == ("shop@example.com", "ann@example.net")
    assert b"\0" not in mail.content
    assert mail.content.replace(b"\r\n", b"").isascii()
    assert b"\n" not in mail.content.replace(b"\r\n", b"")


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from(["email", "message_id", "unsubscribe_url", "to_header"]))
def test_no_fact_of_a_delivery_changes_the_shape_of_a_message(value: str, fact: str) -> None:
    try:
        mail = send(make(), **{fact: value})
    except MailerError:
        return
    known = {"Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type",
             "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"}  # fmt: skip
    heads = mail.content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert {line.partition(b":")[0].decode() for line in heads if line[:1] != b" "} <= known
    assert not set(mail.sender + mail.recipient) & set("\r\n\0<> ")


@pytest.mark.parametrize("field", ["subject", "headers.X-Own", "to"])
def test_a_line_break_in_a_value_is_refused_with_the_fields_name(field: str) -> None:
    fields = {
        "subject": {"subject": "{{ v }}"},
        "headers.X-Own": {"headers": {"X-Own": "{{ v }}"}},
        "to": {"to": "{{ v }} <{{ email }}>"},
    }[field]
    for value in ("a\r\nb", "a\nb", "a\rb", "a\0b"):
        with pytest.raises(MessageError) as caught:
            send(make(**fields), {"v": value})
        assert caught.value.field == field


def test_a_nul_in_a_body_is_refused() -> None:
    for field in ("text", "html"):
        with pytest.raises(MessageError, match="NUL") as caught:
            send(make(**{field: "{{ v }}"}), {"v": "a\0b"})
        assert caught.value.field == field
