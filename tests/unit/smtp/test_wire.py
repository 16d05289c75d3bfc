"""Bytes in both directions."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.smtp import Capabilities, Dsn, Reply, Transaction, wire
from mailer.smtp.envelope import Envelopes
from mailer.smtp.work import Work

from .dialogue import offer

SOUND = b"250-first\r\n250 last\r\n354 go\r\n421\r\n550 5.1.1 no\r\n"
REPLIES = [
    Reply(250, (b"first", b"last")), Reply(354, (b"go",)), Reply(421, (b"",)),
    Reply(550, (b"5.1.1 no",)),
]  # fmt: skip


@given(st.lists(st.integers(0, len(SOUND)), max_size=20))
def test_replies_are_the_same_however_they_are_cut(at: list[int]) -> None:
    edges = [0, *sorted(at), len(SOUND)]
    parser = wire.ReplyParser()
    pieces = [SOUND[a:b] for a, b in pairwise(edges)]
    assert [reply for piece in pieces for reply in parser.feed(piece)] == REPLIES
    assert parser.garbage is None


def test_replies_cut_at_every_byte() -> None:
    parser = wire.ReplyParser()
    assert [r for i in range(len(SOUND)) for r in parser.feed(SOUND[i : i + 1])] == REPLIES


def test_a_bare_line_feed_ends_a_reply_line_too() -> None:
    assert wire.ReplyParser().feed(b"250 Ok\n") == [Reply(250, (b"Ok",))]


@given(st.binary(max_size=500))
def test_the_parser_takes_any_bytes_and_keeps_little(noise: bytes) -> None:
    parser = wire.ReplyParser()
    for reply in parser.feed(noise):
        assert 200 <= reply.code < 600


@pytest.mark.parametrize(
    "endless", [b"250 " + b"x" * 9000, b"250 " + b"x" * 9000 + b"\r\n", b"250-x\r\n" * 201]
)
def test_endless_replies_are_garbage(endless: bytes) -> None:
    parser = wire.ReplyParser()
    parser.feed(endless)
    assert "without end" in (parser.garbage or "")


def test_replies_before_garbage_count() -> None:
    parser = wire.ReplyParser()
    assert parser.feed(b"250 Ok\r\nwhat\r\n250 Ok\r\n") == [Reply(250, (b"Ok",))]
    assert parser.garbage is not None


def test_text_is_one_bounded_printable_line() -> None:
    reply = Reply(550, (b"5.7.1 one\x1b[31m", b"5.7.1 two", b"x" * 5000))
    assert reply.enhanced == "5.7.1"
    assert reply.text.startswith("one [31m two xxx")
    assert len(reply.text) == 1000
    assert Reply(250, (b"2.0 is no enhanced code",)).enhanced is None


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"bc ", b"\0"])))
@example([b"a", b"\n", b".", b"\n", b"MAIL"])
def test_nothing_in_content_ends_it(parts: list[bytes]) -> None:
    content = b"".join(parts)
    stuffed = wire.dot_stuffed(wire.crlf(content))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", stuffed), "a bare CR or LF"
    assert stuffed.endswith(b"\r\n.\r\n") or stuffed == b"\r\n.\r\n"
    assert (b"\r\n" + stuffed).index(b"\r\n.\r\n") == len(stuffed) - 3
    lines = stuffed[:-3].split(b"\r\n")[:-1]
    unstuffed = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    assert unstuffed == wire.crlf(content)
    whole = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert unstuffed.removesuffix(b"\r\n") == whole.removesuffix(b"\r\n")


ORDINARY = [
    "a@b.example",
    "a+b=c@b.example",
    '"a b"@b.example',
    r'"a\"b"@b.example',
    "<>"[:0] or "x@[127.0.0.1]",
]
EVIL = [
    "a@b>\r\nRCPT TO:<c@d",
    "a b@c.d",
    "a@b.c> SIZE=1",
    "a\n@b",
    "a\0@b",
    "<a@b>",
    "",
    "a" * 250 + "@b.cd",
]


@pytest.mark.parametrize("address", ORDINARY)
def test_ordinary_addresses_pass(address: str) -> None:
    assert wire.is_path(address, smtputf8=False)


@pytest.mark.parametrize("address", EVIL)
def test_no_address_can_end_a_command(address: str) -> None:
    assert not wire.is_path(address, smtputf8=True)


@given(st.text(max_size=40), st.booleans())
def test_whatever_passes_stays_inside_its_brackets(text: str, utf8: bool) -> None:
    if wire.is_path(text, utf8):
        assert not re.search(r"[<>\x00-\x1f\x7f-\x9f]", text)
        assert text.isascii() or utf8
        text.encode()


def test_other_alphabets_need_smtputf8() -> None:
    assert wire.is_path("用户@例子.cn", smtputf8=True)
    assert not wire.is_path("用户@例子.cn", smtputf8=False)
    assert not wire.is_path("\ud800@a.b", smtputf8=True)


def commands(transaction: Transaction, *extensions: str) -> list[str]:
    envelopes = Envelopes(offer(*extensions))
    work = Work(transaction)
    assert envelopes.begin(work) is None
    return envelopes.commands(work)


SAMPLE = Transaction(
    1, "s+=x@a.b", ("r@c.d",), b"x\n", dsn=Dsn(envelope_id="id=1 +", notify=("NEVER",))
)


def test_options_are_only_sent_where_offered() -> None:
    assert commands(SAMPLE) == ["MAIL FROM:<s+=x@a.b>", "RCPT TO:<r@c.d>"]
    assert commands(SAMPLE, "SIZE 0", "DSN", "8BITMIME") == [
        "MAIL FROM:<s+=x@a.b> SIZE=3 RET=HDRS ENVID=id+3D1+20+2B",
        "RCPT TO:<r@c.d> NOTIFY=NEVER ORCPT=rfc822;r@c.d",
    ]
    wide = SAMPLE._replace(dsn=None, eight_bit=True, smtputf8=True, recipients=("ü@c.d",))
    assert commands(wide, "SMTPUTF8", "8BITMIME", "DSN") == [
        "MAIL FROM:<s+=x@a.b> BODY=8BITMIME SMTPUTF8", "RCPT TO:<ü@c.d>"
    ]  # fmt: skip
    shy = SAMPLE._replace(dsn=Dsn(ret=None, notify=(), original_recipient=False))
    assert commands(shy, "DSN") == ["MAIL FROM:<s+=x@a.b>", "RCPT TO:<r@c.d>"]
    utf8 = wide._replace(dsn=Dsn(), eight_bit=False)
    assert commands(utf8, "SMTPUTF8", "DSN")[1] == "RCPT TO:<ü@c.d> NOTIFY=FAILURE,DELAY"


@pytest.mark.parametrize(
    ("change", "extensions", "enhanced"),
    [
        ({"content": b"x" * 101}, ("SIZE 102",), "5.3.4"),
        ({"smtputf8": True}, (), "5.6.7"),
        ({"eight_bit": True}, (), "5.6.3"),
        ({"sender": "a b"}, (), "5.1.7"),
        ({"recipients": ()}, (), "5.5.1"),
        ({"recipients": ("ok@a.b", "a b")}, (), "5.1.3"),
        ({"recipients": ("ü@a.b",)}, (), "5.6.7"),
    ],
)
def test_what_the_server_could_only_refuse_is_not_sent(
    change: dict[str, object], extensions: tuple[str, ...], enhanced: str
) -> None:
    work = Work(SAMPLE._replace(**change))  # type: ignore[arg-type]
    verdict = Envelopes(offer(*extensions)).begin(work)
    assert verdict is not None
    assert (verdict.kind, verdict.enhanced) == ("refused", enhanced)
    assert verdict.text.endswith("(not sent)")


def test_an_empty_sender_is_a_bounce_and_allowed() -> None:
    assert commands(SAMPLE._replace(sender="", dsn=None))[0] == "MAIL FROM:<>"


@pytest.mark.parametrize(
    ("ret", "notify"), [("FULL\r\nRSET", ()), (None, ("NEVER", "FAILURE")), (None, ("X",))]
)
def test_dsn_options_cannot_smuggle_a_command(ret: str | None, notify: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"ret|notify"):
        Dsn(ret=ret, notify=notify)  # type: ignore[arg-type]


def test_capabilities_are_read_as_servers_write_them() -> None:
    seen = offer(
        "SIZE 35882577",
        "AUTH PLAIN LOGIN",
        "AUTH=LOGIN XOAUTH2",
        "LIMITS MAILMAX=5 RCPTMAX=x",
        "dsn",
    )
    assert seen.size == 35882577
    assert seen.auth == ("PLAIN", "LOGIN", "LOGIN", "XOAUTH2")
    assert (seen.limit("MAILMAX"), seen.limit("RCPTMAX"), seen.limit("OTHER")) == (5, None, None)
    assert seen.has("DSN")
    assert seen.name == "peer.example"
    assert (offer("SIZE").size, offer("SIZE 0").size, Capabilities().size) == (None, None, None)
