"""DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed, RSA-SHA256 and Ed25519-SHA256."""

import base64
import hashlib
import re
from collections.abc import Sequence
from time import time

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailer.errors import SettingsError

# Signed wherever they stand (RFC 6376 5.4.1, RFC 8058 4). From is named once more than it is
# there, so that nobody can add a second one.
_SIGNED = frozenset(
    [
        b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id",
        b"mime-version", b"content-type", b"content-transfer-encoding", b"in-reply-to",
        b"references", b"list-id", b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id",
        b"auto-submitted",
    ]
)  # fmt: skip
_SPACES = re.compile(rb"[ \t]+")
_FIRST_LINE_END = re.compile(rb"\r\n(?![ \t])")
_SMALLEST_KEY = 1024


class Key:
    """One private key: ``selector._domainkey.domain`` publishes its other half."""

    __slots__ = ("_private", "algorithm", "domain", "selector")

    def __init__(self, domain: str, selector: str, pem: str | bytes) -> None:
        """Raises SettingsError when ``pem`` is no unencrypted RSA or Ed25519 private key."""
        self.domain, self.selector = domain.lower(), selector
        self._private = _private_key(pem)
        rsa = isinstance(self._private, RSAPrivateKey)
        self.algorithm = "rsa-sha256" if rsa else "ed25519-sha256"

    def __repr__(self) -> str:
        return f"Key({self.domain!r}, {self.selector!r}, {self.algorithm})"

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._private, RSAPrivateKey):
            return self._private.sign(data, PKCS1v15(), SHA256())
        return self._private.sign(hashlib.sha256(data).digest())  # RFC 8463 3


class Signer:
    """Signs messages with every key it has; give the RSA key first and an Ed25519 key second.

    Takes about 0.3 ms, most of it with the GIL released, so call it in a thread.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"Signer({list(self._keys)})"

    @property
    def domains(self) -> frozenset[str]:
        """The d= of the signatures."""
        return frozenset(key.domain for key in self._keys)

    def sign(self, content: bytes) -> bytes:
        """Return ``content``, which has CRLF lines, with its signatures in front."""
        head, _, body = content.partition(b"\r\n\r\n")
        names, headers = _chosen(head + b"\r\n")
        digest = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())
        now = int(time())
        lines = [_signature(key, names, headers, digest, now) for key in self._keys]
        return b"".join([*lines, content])


def _private_key(pem: str | bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError("dkim", "the key is not an unencrypted PEM private key") from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _SMALLEST_KEY:
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise SettingsError("dkim", "the key has to be RSA of 1024 bits or more, or Ed25519")


def _chosen(head: bytes) -> tuple[bytes, bytes]:
    """The h= list and the headers in its order, relaxed; a name's later header comes first."""
    names, values = [b"from"], []
    for line in reversed(_FIRST_LINE_END.split(head)):
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name in _SIGNED:
            names.append(name)
            values.append(b"%b:%b\r\n" % (name, _relaxed(value)))
    return b":".join([*names[1:], names[0]]), b"".join(values)


def _relaxed(value: bytes) -> bytes:
    return _SPACES.sub(b" ", value.replace(b"\r\n", b"")).strip(b" \t")


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 3.4.4: no space at a line's end, runs of it as one, no empty lines at the end."""
    if b"  " in body or b"\t" in body or b" \r\n" in body:
        body = _SPACES.sub(b" ", body).replace(b" \r\n", b"\r\n")
    body = body.rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _signature(key: Key, names: bytes, headers: bytes, digest: bytes, now: int) -> bytes:
    folded = _wrapped(names)
    line = b"".join(
        [
            b" v=1; a=", key.algorithm.encode(), b"; c=relaxed/relaxed; d=", key.domain.encode(),
            b";\r\n\ts=", key.selector.encode(), b"; t=%d; h=" % now, folded,
            b";\r\n\tbh=", digest, b";\r\n\tb=",
        ]
    )  # fmt: skip
    # The signature covers its own header with b= empty and no line's end (RFC 6376 3.7).
    signed = key.sign(headers + b"dkim-signature:" + _relaxed(line))
    text = base64.b64encode(signed)
    pieces = [text[at : at + 70] for at in range(0, len(text), 70)]
    return b"DKIM-Signature:" + line + b"\r\n\t ".join(pieces) + b"\r\n"


def _wrapped(names: bytes) -> bytes:
    """Fold the h= list after colons to lines of about 70 octets."""
    lines, line = [], b""
    for name in names.split(b":"):
        if len(line) + len(name) > 68:
            lines.append(line)
            line = b""
        line += name + b":"
    return b"\r\n\t ".join([*lines, line.rstrip(b":")])
