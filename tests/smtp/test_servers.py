"""Against servers that nobody here wrote: aiosmtpd, Postfix and Exim, with TLS and AUTH."""

import shutil
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from mailer.smtp import AuthError, Kind, Phase, Pool, TlsError

from . import real
from .helpers import kinds, local, message, numbers

LOGIN = {"username": real.USERNAME, "password": real.PASSWORD}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Open to the servers' own users, unlike ``tmp_path``."""
    made = Path(tempfile.mkdtemp(prefix="mailer-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module", params=["postfix", "exim"])
def server(
    request: pytest.FixtureRequest, folder: Path, authority: trustme.CA
) -> Iterator[real.RealServer]:
    real.require()
    home = folder / request.param
    home.mkdir()
    with {"postfix": real.postfix, "exim": real.exim}[request.param](home, authority) as running:
        yield running


@pytest.mark.parametrize("flight", [1, 10])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_fifty_messages_arrive_over_tls_with_auth(
    server: real.RealServer, ca_file: str, tls: str, mechanism: str, flight: int
) -> None:
    before = len(server.numbers(0))
    port = server.implicit if tls == "implicit" else server.plain
    pool = Pool(
        local(port, tls=tls, ca_file=ca_file, auth=(mechanism,), flight=flight, **LOGIN),
        connections=2,
    )
    verdicts = await pool.send([to_example(number) for number in range(50)])
    await pool.close(5)
    assert set(kinds(verdicts)) == {Kind.DELIVERED}
    assert len(server.numbers(before + 50)) == before + 50


def to_example(number: int, local_part: str = "to"):  # type: ignore[no-untyped-def]
    return message(number)._replace(recipients=(f"{local_part}@example.net",))


@pytest.mark.parametrize("flight", [1, 10])
async def test_refusals_in_a_flight_touch_no_other_message(
    server: real.RealServer, flight: int
) -> None:
    before = len(server.numbers(0))
    pool = Pool(local(server.plain, flight=flight), connections=1)
    sent = [to_example(number) for number in range(10)]
    sent[2] = to_example(2, "bad")
    sent[5] = to_example(5, "slow")
    sent[7] = message(7, size=200_000)
    sent[8] = sent[8]._replace(recipients=("bad@example.net", "to@example.net"))
    verdicts = await pool.send(sent)
    await pool.close(5)
    assert {n: v.kind for n, v in enumerate(verdicts) if v.kind is not Kind.DELIVERED} == {
        2: Kind.REFUSED, 5: Kind.LATER, 7: Kind.REFUSED
    }  # fmt: skip
    assert (verdicts[2].enhanced, verdicts[5].enhanced) == ("5.1.1", "4.2.1")
    assert "not sent" in verdicts[7].text
    assert [reply.code // 100 for reply in verdicts[8].replies] == [5, 2]
    assert len(server.numbers(before + 7)) == before + 7


async def test_a_wrong_password_is_an_auth_failure(server: real.RealServer, ca_file: str) -> None:
    account = {"username": real.USERNAME, "password": "wrong-one"}
    pool = Pool(local(server.implicit, tls="implicit", ca_file=ca_file, **account))
    verdict = (await pool.send([message(0)]))[0]
    assert (verdict.kind, verdict.phase, verdict.code) == (Kind.LATER, Phase.AUTH, 535)
    with pytest.raises(AuthError, match="535"):
        await pool.check()
    assert "wrong-one" not in f"{verdict} {pool.transcript}"
    await pool.close(1)


async def test_a_certificate_of_nobody_we_know_is_refused(server: real.RealServer) -> None:
    for tls, port in (("starttls", server.plain), ("implicit", server.implicit)):
        pool = Pool(local(port, tls=tls, **LOGIN))
        verdict = (await pool.send([message(0)]))[0]
        assert (verdict.kind, verdict.phase) == (Kind.LATER, Phase.TLS)
        assert "not trusted" in verdict.text
        with pytest.raises(TlsError):
            await pool.check()
        await pool.close(1)


async def test_what_a_server_offers_is_told(server: real.RealServer, ca_file: str) -> None:
    pool = Pool(local(server.plain, tls="starttls", ca_file=ca_file, **LOGIN))
    offer = await pool.check()
    assert offer.size == 100_000
    assert offer.tls_version in ("TLSv1.2", "TLSv1.3")
    assert "PLAIN" in offer.auth
    assert offer.has("PIPELINING")
    await pool.close(1)


# aiosmtpd: no PIPELINING, so lockstep


@dataclass
class Handler:
    contents: list[bytes] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad"):
            return "550 5.1.1 Nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        return "250 2.0.0 Taken"


def authenticate(
    server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any
) -> AuthResult:
    good = LoginPassword(real.USERNAME.encode(), real.PASSWORD.encode())
    return AuthResult(success=data == good)


@pytest.fixture
def aiosmtpd(authority: trustme.CA) -> Iterator[tuple[int, Handler]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    handler = Handler()
    port = real.free_ports(1)[0]
    controller = Controller(
        handler, hostname="127.0.0.1", port=port, tls_context=context,
        require_starttls=True, authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    yield port, handler
    controller.stop()


async def test_aiosmtpd_takes_mail_over_starttls_with_auth(
    aiosmtpd: tuple[int, Handler], ca_file: str
) -> None:
    port, handler = aiosmtpd
    pool = Pool(local(port, tls="starttls", ca_file=ca_file, **LOGIN), connections=2)
    verdicts = await pool.send([message(0), to_example(1, "bad"), message(2, size=300_000)])
    await pool.close(5)
    assert kinds(verdicts) == [Kind.DELIVERED, Kind.REFUSED, Kind.DELIVERED]
    assert sorted(numbers(handler.contents)) == [0, 2]
    assert max(map(len, handler.contents)) == len(message(2, size=300_000).content)
