"""SASL mechanisms as exchanges without I/O (RFC 4954, 4616, 2195, 7628; XOAUTH2 is Google's).

An exchange is a generator: it yields what to send and receives the server's challenge, both bare
bytes; base64 is the caller's. The first thing it yields is its initial response, or None when the
server speaks first.
"""

import hashlib
import hmac
from collections.abc import Callable, Generator, Sequence

Exchange = Generator[bytes | None, bytes, None]

TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # only ever inside TLS, so the simplest first


def choose(offered: Sequence[str], allowed: Sequence[str], *, token: bool) -> str | None:
    """The best mechanism that both sides know and the credentials fit, or None."""
    usable = TOKEN_MECHANISMS if token else PASSWORD_MECHANISMS
    order = [name.upper() for name in allowed] or usable
    return next((name for name in order if name in usable and name in offered), None)


def _plain(username: str, secret: str) -> Exchange:
    yield b"\0%b\0%b" % (username.encode(), secret.encode())


def _login(username: str, secret: str) -> Exchange:
    yield None
    yield username.encode()
    yield secret.encode()


def _cram_md5(username: str, secret: str) -> Exchange:
    challenge = yield None
    digest = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()
    yield f"{username} {digest}".encode()


def _xoauth2(username: str, secret: str) -> Exchange:
    yield f"user={username}\1auth=Bearer {secret}\1\1".encode()
    yield b""  # after a challenge that holds the error: the server then refuses in words


def _oauthbearer(username: str, secret: str) -> Exchange:
    name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 saslname
    yield f"n,a={name},\1auth=Bearer {secret}\1\1".encode()
    yield b"\1"


MECHANISMS: dict[str, Callable[[str, str], Exchange]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
