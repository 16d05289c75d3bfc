"""TLS and tokens against scripted servers: what must never go over plain text does not."""

import ssl
from pathlib import Path

import pytest
import trustme

from mailer.smtp import AuthError, Kind, Phase, Pool

from .helpers import kinds, local, message, numbers
from .peer import PIPELINED, Script, serve

LOGIN = {"username": "ann", "password": "s3cret"}


def context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(made)
    return made


async def test_what_is_injected_before_tls_is_thrown_away(
    authority: trustme.CA, ca_file: str
) -> None:
    script = Script(
        (*PIPELINED, "STARTTLS"),
        context=context(authority),
        after_starttls=b"250-evil\r\n250 AUTH PLAIN\r\n",
    )
    async with serve(script) as port:
        pool = Pool(local(port, tls="starttls", ca_file=ca_file))
        verdicts = await pool.send([message(0)])
        await pool.close(1)
    assert kinds(verdicts) in ([Kind.DELIVERED], [Kind.LATER])
    assert not any("AUTH" in command for command in script.commands)


async def test_starttls_that_is_not_offered_sends_nothing() -> None:
    script = Script((*PIPELINED, "AUTH PLAIN"))
    async with serve(script) as port:
        pool = Pool(local(port, tls="starttls", **LOGIN))
        verdict = (await pool.send([message(0)]))[0]
        await pool.close(1)
    assert (verdict.kind, verdict.phase) == (Kind.LATER, Phase.TLS)
    assert script.commands == ["EHLO test.example"]


@pytest.mark.parametrize(("name", "kind"), [("mx.example", Kind.DELIVERED), (None, Kind.LATER)])
async def test_the_certificate_must_hold_the_servers_name(
    authority: trustme.CA, ca_file: str, name: str | None, kind: Kind
) -> None:
    script = Script(context=context(authority, "mx.example"))
    async with serve(script, implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file, server_name=name))
        assert kinds(await pool.send([message(0)])) == [kind]
        await pool.close(1)


async def test_verification_can_be_switched_off(authority: trustme.CA) -> None:
    async with serve(Script(context=context(authority)), implicit=True) as port:
        pool = Pool(local(port, tls="implicit", verify=False))
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        await pool.close(1)


async def test_a_client_certificate_is_shown(
    authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    wants = context(authority)
    wants.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(wants)
    own = tmp_path / "own.pem"
    authority.issue_cert("ann@example.com").private_key_and_cert_chain_pem.write_to_path(str(own))
    async with serve(Script(context=wants), implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file, client_certificate=str(own)))
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        await pool.close(1)


async def test_tls_below_1_2_is_refused(authority: trustme.CA, ca_file: str) -> None:
    old = context(authority)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serve(Script(context=old), implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file))
        verdict = (await pool.send([message(0)]))[0]
        await pool.close(1)
    assert (verdict.kind, verdict.phase) == (Kind.LATER, Phase.TLS)


async def test_a_file_that_is_missing_is_told_in_one_line() -> None:
    pool = Pool(local(1, tls="implicit", ca_file="/nowhere/ca.pem"))
    verdict = (await pool.send([message(0)]))[0]
    assert verdict.text == "cannot use /nowhere/ca.pem: No such file or directory"
    await pool.close(1)


async def test_many_messages_over_tls(authority: trustme.CA, ca_file: str) -> None:
    script = Script(context=context(authority))
    async with serve(script, implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file), connections=3)
        verdicts = await pool.send([message(number, size=5000) for number in range(100)])
        await pool.close(5)
    assert set(kinds(verdicts)) == {Kind.DELIVERED}
    assert sorted(numbers(script.accepted)) == list(range(100))


async def test_a_refused_token_is_refreshed_once(authority: trustme.CA, ca_file: str) -> None:
    asked: list[bool] = []

    async def token(refresh: bool) -> str:
        asked.append(refresh)
        return "fresh" if refresh else "stale"

    answers = {"AUTH": [b"334 e30=\r\n", b"235 2.7.0 Ok\r\n"], "(AUTH)": [b"535 5.7.8 No\r\n"]}
    script = Script((*PIPELINED, "AUTH XOAUTH2"), answers=answers, context=context(authority))
    async with serve(script, implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file, username="ann", token=token))
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        await pool.close(1)
    assert asked == [False, True]


async def test_a_token_source_that_fails_is_an_auth_error(
    authority: trustme.CA, ca_file: str
) -> None:
    def token(refresh: bool) -> str:
        raise RuntimeError("the secret is s3cret")

    script = Script((*PIPELINED, "AUTH XOAUTH2"), context=context(authority))
    async with serve(script, implicit=True) as port:
        pool = Pool(local(port, tls="implicit", ca_file=ca_file, username="ann", token=token))
        with pytest.raises(AuthError, match="RuntimeError in the token source") as caught:
            await pool.check()
        assert "s3cret" not in str(caught.value)
        await pool.close(1)
