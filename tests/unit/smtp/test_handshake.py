"""Greeting, EHLO, STARTTLS and AUTH as a conversation without I/O."""

import base64

import pytest

from mailer.smtp import (
    AuthError,
    Capabilities,
    ConnectError,
    Phase,
    ProtocolError,
    Reply,
    Server,
    SmtpError,
    TlsError,
)  # fmt: skip
from mailer.smtp.auth import choose
from mailer.smtp.handshake import GetToken, Say, StartTls, handshake

LOGIN = {"username": "ann", "password": "s3cret"}


def play(server: Server, *answers: str) -> tuple[list[str], Capabilities]:
    """Drive a handshake; what was said (shown in brackets), and the offer."""
    replies = list(answers)
    said: list[str] = []
    steps = handshake(server, "me.example")
    step = next(steps)
    try:
        while True:
            match step:
                case Say(_, line, shown):
                    if line is not None:
                        said.append(line if shown is None else f"{line} [{shown}]")
                    step = steps.send(_reply(replies.pop(0)))
                case StartTls():
                    said.append("<tls>")
                    step = steps.send(("TLSv1.3", "X"))
                case GetToken(refresh):
                    step = steps.send("fresh" if refresh else "stale")
    except StopIteration as end:
        assert not replies
        return said, end.value


def _reply(text: str) -> Reply:
    lines = text.encode().split(b"|")
    return Reply(int(lines[0][:3]), (lines[0][4:], *lines[1:]))


def server(**options: object) -> Server:
    return Server("mx.example", **{"tls": "implicit", **options})  # type: ignore[arg-type]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_starttls_forgets_what_was_offered_in_plain_text() -> None:
    said, offer = play(
        server(tls="starttls"), "220 hi", "250 x|STARTTLS|EVIL", "220 go", "250 x|PIPELINING"
    )
    assert said == ["EHLO me.example", "STARTTLS", "<tls>", "EHLO me.example"]
    assert set(offer.extensions) == {"PIPELINING"}
    assert offer.tls_version == "TLSv1.3"


@pytest.mark.parametrize("answers", [("250 x|AUTH PLAIN",), ("250 x|STARTTLS", "454 4.7.0 no")])
def test_without_starttls_nothing_is_said_in_plain_text(answers: tuple[str, ...]) -> None:
    with pytest.raises(TlsError):
        play(server(tls="starttls", **LOGIN), "220 hi", *answers)


def test_a_server_that_knows_no_ehlo_is_greeted_with_helo() -> None:
    said, offer = play(server(), "220 hi", "502 what", "250 x|PIPELINING")
    assert said == ["EHLO me.example", "HELO me.example"]
    assert not offer.extensions


@pytest.mark.parametrize("answers", [("554 5.3.2 No",), ("421 4.3.2 Full",), ("220 hi", "450 no")])
def test_a_server_that_turns_us_away_says_why(answers: tuple[str, ...]) -> None:
    with pytest.raises(ConnectError) as caught:
        play(server(), *answers)
    verdict = caught.value.verdict()
    assert (verdict.kind, verdict.code) == ("later", int(answers[-1][:3]))


def test_plain() -> None:
    said, _ = play(server(**LOGIN), "220 hi", "250 x|AUTH LOGIN PLAIN", "235 ok")
    assert said[1] == f"AUTH PLAIN {b64(chr(0) + 'ann' + chr(0) + 's3cret')} [AUTH PLAIN ***]"


def test_login() -> None:
    said, _ = play(
        server(**LOGIN), "220 hi", "250 x|AUTH LOGIN", "334 VXNlcg==", "334 UGFzcw==", "235 ok"
    )
    assert said[1:] == [
        "AUTH LOGIN [AUTH LOGIN ***]", f"{b64('ann')} [***]", f"{b64('s3cret')} [***]"
    ]  # fmt: skip


def test_cram_md5_as_in_rfc_2195() -> None:
    challenge = b64("<1896.697170952@postoffice.reston.mci.net>")
    account = server(username="tim", password="tanstaaftanstaaf")
    said, _ = play(account, "220 hi", "250 x|AUTH CRAM-MD5", f"334 {challenge}", "235 ok")
    assert b64("tim b913a602c7eda7a495b4e6e7334d3890") in said[2]


def test_xoauth2_answers_the_error_and_tries_once_more_with_a_fresh_token() -> None:
    account = server(username="ann", token=lambda refresh: "")
    said, _ = play(
        account, "220 hi", "250 x|AUTH XOAUTH2", f"334 {b64('{}')}", "535 5.7.8 no", "235 ok"
    )
    assert b64("user=ann\1auth=Bearer stale\1\1") in said[1]
    assert said[2] == " [***]"
    assert b64("user=ann\1auth=Bearer fresh\1\1") in said[3]


def test_oauthbearer_is_preferred_and_escapes_the_name() -> None:
    account = server(username="a=n,n", token=lambda refresh: "")
    said, _ = play(account, "220 hi", "250 x|AUTH XOAUTH2 OAUTHBEARER", "235 ok")
    assert b64("n,a=a=3Dn=2Cn,\1auth=Bearer stale\1\1") in said[1]


def test_refused_credentials_are_an_auth_error_without_the_secret() -> None:
    with pytest.raises(AuthError) as caught:
        play(server(**LOGIN), "220 hi", "250 x|AUTH PLAIN", "535 5.7.8 Bad")
    assert str(caught.value) == "AUTH PLAIN was refused: 535 5.7.8 Bad"
    verdict = caught.value.verdict()
    assert (verdict.phase, verdict.code, verdict.enhanced) == (Phase.AUTH, 535, "5.7.8")


@pytest.mark.parametrize(
    ("offered", "answers", "error"),
    [
        ("GSSAPI", (), AuthError),
        ("LOGIN", ("334 Username:", "334 Password:", "334 And?"), ProtocolError),
        ("PLAIN", ("334 YQ==",), ProtocolError),
    ],
)
def test_nonsense_in_auth_is_an_error(
    offered: str, answers: tuple[str, ...], error: type[SmtpError]
) -> None:
    with pytest.raises(error):
        play(server(**LOGIN), "220 hi", f"250 x|AUTH {offered}", *answers)


def test_the_setting_narrows_the_choice_of_mechanism() -> None:
    assert choose(("PLAIN", "CRAM-MD5"), ("cram-md5",), token=False) == "CRAM-MD5"
    assert choose(("PLAIN",), ("CRAM-MD5",), token=False) is None
    assert choose(("PLAIN",), (), token=True) is None


def test_no_secret_in_a_repr() -> None:
    assert "s3cret" not in repr(server(**LOGIN, token=lambda refresh: "s3cret"))


@pytest.mark.parametrize(
    "options",
    [
        {"tls": "none", **LOGIN},
        {"username": "ann"},
        {"helo_name": "a\r\nMAIL"},
        {"flight": 0},
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"plain text|password|helo_name|flight"):
        server(**options)
