from uuid import UUID

import pytest

from mailer.errors import InputError, MessageError
from mailer.tokens import Tokens
from tests.unit.render.make import DELIVERY, make, read, send

TOKENS = Tokens("a secret of sixteen")


def head(content: bytes) -> str:
    return content.partition(b"\r\n\r\n")[0].decode()


def test_the_headers_stand_in_their_usual_order() -> None:
    message = make(
        sender="HR <hr@example.com>", sender_header="Bot <bot@example.com>",
        reply_to="a@example.com", cc=["Bob <b@example.com>", "c@example.com"], bcc="d@example.com",
        subject="Hello", priority="high", headers={"X-Team": "ops"},
        auto_submitted="auto-generated", list_id="news.example.com", feedback_id="a:b:c:d",
    )  # fmt: skip
    assert head(send(message).content) == "\r\n".join(
        [
            "Date: Mon, 23 Nov 2026 09:30:00 +0000",
            "From: HR <hr@example.com>",
            "Sender: Bot <bot@example.com>",
            "Reply-To: a@example.com",
            "To: ann@example.net",
            "Cc: Bob <b@example.com>, c@example.com",
            "Subject: Hello",
            "Message-ID: <1@example.com>",
            "Importance: high",
            "X-Priority: 1",
            "Priority: urgent",
            "List-ID: <news.example.com>",
            "Feedback-ID: a:b:c:d",
            "Auto-Submitted: auto-generated",
            "X-Team: ops",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
        ]
    )


def test_bcc_is_in_no_header() -> None:
    mail = send(make(bcc="secret@example.com"))
    assert b"secret" not in mail.content
    assert b"bcc" not in mail.content.lower()


def test_low_priority_has_its_headers_and_normal_has_none() -> None:
    assert read(make(priority="low"))["X-Priority"] == "5"
    assert "Importance" not in read(make())


def test_the_to_header_names_the_recipient_or_what_the_message_says() -> None:
    assert str(read(make())["To"]) == "ann@example.net"
    named = make(to='"{{ name }}" <{{ email }}>')
    assert str(read(named, {"name": "Ann, B."})["To"]) == '"Ann, B." <ann@example.net>'
    fixed = make(to="Team <team@example.com>, x@example.com")
    assert str(read(fixed)["To"]) == "Team <team@example.com>, x@example.com"
    other = read(named, {"name": "x"}, to_header="Boss <boss@example.com>")
    assert str(other["To"]) == "Boss <boss@example.com>"
    assert str(read(make(to="{{ email }}"))["To"]) == "ann@example.net"


def test_an_idn_domain_is_sent_as_its_a_label_without_smtputf8() -> None:
    mail = send(make(sender="Jörg <shop@bücher.example>"), email="ann@grün.example")
    assert (mail.sender, mail.recipient) == (
        "shop@xn--bcher-kva.example",
        "ann@xn--grn-ioa.example",
    )
    assert not mail.smtputf8
    assert mail.content.isascii()


def test_only_a_local_part_beyond_ascii_asks_for_smtputf8() -> None:
    mail = send(make(), email="jörg@bücher.example")
    assert mail.recipient == "jörg@xn--bcher-kva.example"
    assert mail.smtputf8
    assert mail.eight_bit
    assert "To: jörg@xn--bcher-kva.example\r\n".encode() in mail.content


def test_unsubscribe_links_are_signed_and_one_click() -> None:
    links = ["https://u.example/{{ token }}", "mailto:u+{{ token }}@example.com"]
    message = make(list_unsubscribe=links, html="<a href='{{ unsubscribe_url }}'>bye</a>")
    mail = send(message, tokens=TOKENS)
    token = TOKENS.make("unsubscribe", DELIVERY)
    line = f"List-Unsubscribe: <https://u.example/{token}>, <mailto:u+{token}@example.com>\r\n"
    assert line.encode() in mail.content  # never folded
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in mail.content
    assert f"https://u.example/{token}".encode() in mail.content.replace(b"=\r\n", b"")
    assert "List-Unsubscribe-Post" not in read(make(list_unsubscribe="mailto:u@example.com"))
    given = read(make(), unsubscribe_url="https://given.example/x")
    assert given["List-Unsubscribe"] == "<https://given.example/x>"


def test_a_token_without_a_key_is_an_error_that_says_so() -> None:
    with pytest.raises(MessageError, match="token key"):
        send(make(envelope_sender="b+{{ token }}@example.com"))


def test_the_envelope_sender_names_the_delivery() -> None:
    mail = send(make(envelope_sender="b+{{ token }}@example.com"), tokens=TOKENS)
    local, _, domain = mail.sender.partition("@")
    assert TOKENS.read("bounce", local.removeprefix("b+").upper()) == DELIVERY
    assert (domain, len(local) <= 64) == ("example.com", True)
    assert send(make(envelope_sender="fix@example.com")).sender == "fix@example.com"


def test_a_signed_header_names_the_delivery() -> None:
    assert TOKENS.read("header", read(make(), tokens=TOKENS)["X-Delivery-Token"]) == DELIVERY


def test_a_token_is_good_for_its_purpose_and_its_key_only() -> None:
    token = TOKENS.make("bounce", UUID(DELIVERY))
    for tokens, purpose, text in [
        (TOKENS, "unsubscribe", token),
        (Tokens("another secret key"), "bounce", token),
        (TOKENS, "bounce", "b" + token[1:]),
        (TOKENS, "bounce", token[:-1] + ("a" if token[-1] != "a" else "q")),
        (TOKENS, "bounce", token[:-8]),
        (TOKENS, "bounce", "not a token!"),
        (TOKENS, "bounce", "ü"),
        (TOKENS, "bounce", ""),
    ]:
        with pytest.raises(InputError):
            tokens.read(purpose, text)
    newer = Tokens("another secret key", "a secret of sixteen")
    assert newer.read("bounce", token) == DELIVERY
    assert "secret" not in repr(TOKENS)
    with pytest.raises(InputError, match="16 bytes"):
        Tokens("short")


def test_a_template_sees_the_address_and_a_subject_may_be_long() -> None:
    subject = "A very long subject with many words in it " * 5
    message = make(subject=subject + "{{ email }}", text="{{ email }}")
    found = read(message)
    assert found["Subject"] == subject + "ann@example.net"
    assert found.get_content().strip() == "ann@example.net"
