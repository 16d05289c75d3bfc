import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.embedded.catcher import accept
from mailer.embedded.smtp_sink import DROP, Rules, Script, Session
from mailer.embedded.store import Store

ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


class Wire:
    """Stands for the transport: what was written, and whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close


class Client:
    def __init__(self, script: Script = accept, max_size: int = 1000) -> None:
        self.store, self.wire = Store(), Wire()
        self.rules = Rules(self.store.add, script, max_size=max_size)
        self.session = Session(self.rules)
        self.session.connection_made(cast("asyncio.Transport", self.wire))

    def say(self, data: bytes) -> list[str]:
        """The lines that the server answers."""
        self.wire.written = b""
        self.session.data_received(data)
        return self.wire.written.decode().splitlines()

    def codes(self, data: bytes) -> list[str]:
        return [line[:3] for line in self.say(data)]


def test_a_pipelined_envelope_gets_all_its_replies_in_one_write() -> None:
    assert Client().codes(ENVELOPE) == ["250", "250", "354"]


def test_the_content_is_kept_as_it_was_before_dot_stuffing() -> None:
    client = Client()
    client.say(ENVELOPE)
    assert client.codes(b"..start\r\nmiddle\r\n...\r\n.\r\n") == ["250"]
    caught = client.store.newest_first()[0]
    assert caught.content == b".start\r\nmiddle\r\n..\r\n"
    assert (caught.envelope_from, caught.recipients) == ("a@example.com", ("b@example.net",))


def test_a_message_without_content_is_a_message() -> None:
    client = Client()
    assert client.codes(ENVELOPE + b".\r\n") == ["250", "250", "354", "250"]
    assert client.store.newest_first()[0].content == b""


@given(st.lists(st.integers(1, 40), max_size=30))
def test_where_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    whole = ENVELOPE + b"one\r\n..two\r\n.\r\n" + ENVELOPE + b".\r\n" + b"QUIT\r\n"
    client, at = Client(), 0
    for cut in [*cuts, len(whole)]:
        client.session.data_received(whole[at : at + cut])
        at += cut
    contents = [caught.content for caught in client.store.newest_first()]
    assert contents == [b"", b"one\r\n.two\r\n"]
    assert client.wire.closed


def test_the_extensions_are_announced() -> None:
    lines = Client().say(b"EHLO client\r\n")
    assert {line[4:] for line in lines[1:]} == {
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "AUTH PLAIN LOGIN",
        "SIZE 1000",
    }


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"HELO client\r\n", "250"),
        (b"NOOP\r\n", "250"),
        (b"RSET\r\n", "250"),
        (b"VRFY ann\r\n", "252"),
        (b"TURN\r\n", "500"),
        (b"MAIL TO\r\n", "501"),
        (b"MAIL FROM:<a@b.example> SIZE=1001\r\n", "552"),
        (b"RCPT TO:<a@b.example>\r\n", "503"),
        (b"DATA\r\n", "503"),
        (b"STARTTLS\r\n", "502"),
        (b"AUTH CRAM-MD5\r\n", "504"),
        (b"AUTH PLAIN AGEAYg==\r\n", "235"),
    ],
)
def test_each_command_has_its_reply(said: bytes, code: str) -> None:
    assert Client().codes(said) == [code]


def test_an_envelope_out_of_order_is_refused() -> None:
    client = Client()
    client.say(b"MAIL FROM:<>\r\n")
    assert client.codes(b"MAIL FROM:<>\r\nRCPT TO:<>\r\nDATA\r\n") == ["503", "501", "503"]


def test_quoted_and_international_addresses_are_understood() -> None:
    client = Client()
    client.say('MAIL FROM:<"a>b"@example.com> SMTPUTF8\r\nRCPT TO:<köln@例え.jp>\r\n'.encode())
    client.say(b"DATA\r\n.\r\n")
    caught = client.store.newest_first()[0]
    assert (caught.envelope_from, caught.recipients) == ('"a>b"@example.com', ("köln@例え.jp",))


def test_any_password_is_welcome() -> None:
    client = Client()
    assert client.codes(b"AUTH LOGIN\r\nYQ==\r\nYg==\r\n") == ["334", "334", "235"]
    assert client.codes(b"AUTH LOGIN YQ==\r\nYg==\r\n") == ["334", "235"]
    assert client.codes(b"AUTH PLAIN\r\nAGEAYg==\r\n") == ["334", "235"]
    assert client.codes(b"AUTH PLAIN\r\n*\r\n") == ["334", "501"]


def test_a_script_decides_the_reply_to_one_recipient() -> None:
    def busy(stage: str, address: str) -> str | None:
        return "450 4.2.1 Busy" if (stage, address) == ("rcpt", "b@example.net") else None

    client = Client(busy)
    assert client.codes(ENVELOPE) == ["250", "450", "503"]
    assert client.store.count == 0


def test_a_message_that_the_script_refuses_is_not_kept() -> None:
    client = Client(lambda stage, _: "554 5.7.1 No" if stage == "message" else None)
    assert client.codes(ENVELOPE + b"x\r\n.\r\n") == ["250", "250", "354", "554"]
    assert client.store.count == 0


def test_a_script_can_drop_the_link_without_a_reply() -> None:
    client = Client(lambda stage, _: DROP if stage == "message" else None)
    client.say(ENVELOPE)
    assert client.say(b"x\r\n.\r\n") == []
    assert client.wire.closed


def test_421_closes_the_connection() -> None:
    client = Client(lambda stage, _: "421 4.3.2 Later" if stage == "mail" else None)
    assert client.codes(ENVELOPE) == ["421"]
    assert client.wire.closed


def test_too_much_ends_the_connection() -> None:
    line, message = Client(), Client()
    assert line.codes(b"x" * 70_000) == ["500"]
    message.say(ENVELOPE)
    assert message.codes(b"x" * 70_000) == ["552"]
    assert line.wire.closed
    assert message.wire.closed


def test_a_lost_connection_is_forgotten() -> None:
    client = Client()
    assert client.rules.sessions == {client.session}
    client.session.abort()
    client.session.connection_lost(None)
    assert client.wire.closed
    assert client.rules.sessions == set()
