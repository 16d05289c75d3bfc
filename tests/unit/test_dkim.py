import base64
import os
import shutil
import subprocess
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.dkim import Key, Signer, relaxed_body
from mailer.errors import SettingsError
from mailer.message import Attachment
from tests.unit.render.make import make, send

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


def pem(key: PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def record(key: PrivateKey) -> str:
    """What the domain publishes (RFC 6376 3.6.1, RFC 8463 4.2)."""
    if isinstance(key, rsa.RSAPrivateKey):
        kind = "rsa"
        raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind = "ed25519"
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"


DNS = {"a._domainkey.example.com": record(RSA), "b._domainkey.example.com": record(ED25519)}
SIGNER = Signer([Key("Example.com", "a", pem(RSA)), Key("example.com", "b", pem(ED25519))])
PLAIN = send(make(subject="Grüße", list_unsubscribe="https://u.example/1", list_id="l.example.com"))
RICH = send(
    make(html="<p>ü", cc="b@example.com", attachments=[Attachment.from_bytes(b"x" * 999, "ü.pdf")])
)


def look_up(name: bytes, timeout: int = 5) -> bytes | None:
    found = DNS.get(name.decode().rstrip("."))
    return found.encode() if found else None


def verified(content: bytes) -> list[bool]:
    """What dkimpy says of the first and the second signature."""
    return [verifies(content, place) for place in (0, 1)]


def verifies(content: bytes, place: int) -> bool:
    try:
        return dkim.DKIM(content).verify(place, dnsfunc=look_up)
    except dkim.ValidationError:  # the body's hash is wrong
        return False


@pytest.mark.parametrize("content", [PLAIN.content, RICH.content])
def test_both_signatures_are_valid_to_dkimpy(content: bytes) -> None:
    signed = SIGNER.sign(content)
    assert signed.endswith(content)
    assert verified(signed) == [True, True]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject:", b"Subject: evil"),
        (b"\r\n\r\nHello", b"\r\n\r\nJello"),
        (b"From: Shop", b"From: Evil <evil@example.org>\r\nFrom: Shop"),
        (b"https://u.example/1", b"https://u.example/2"),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=Nothing"),
        (b"List-ID: ", b"List-ID: x"),
    ],
)
def test_a_changed_or_added_header_or_body_breaks_both(before: bytes, after: bytes) -> None:
    signed = SIGNER.sign(PLAIN.content)
    assert before in signed
    assert verified(signed.replace(before, after, 1)) == [False, False]


PIECES = ["a", " ", "\t", "\r\n", ".", "word", "  x", "\r\n\r\n"]
LINES = st.lists(st.sampled_from(PIECES)).map("".join)


@settings(max_examples=60, deadline=None)
@given(LINES, LINES)
def test_any_white_space_is_canonicalised_as_dkimpy_does_it(subject: str, body: str) -> None:
    subject, body = subject.replace("\r\n", ""), body + "\r\n"
    head = f"From: a@example.com\r\nsubject:  x {subject}\r\n\tfolded\r\nTo:b@example.com\r\n\r\n"
    assert verified(SIGNER.sign((head + body).encode())) == [True, True]
    reference = dkim.canonicalization.Relaxed.canonicalize_body(body.encode())
    assert relaxed_body(body.encode()) == reference


def test_a_key_never_shows() -> None:
    for shown in (repr(SIGNER), str(SIGNER), repr(Key("example.com", "a", pem(RSA)))):
        assert "PRIVATE" not in shown
        assert "example.com" in shown
    assert SIGNER.domains == {"example.com"}


def encrypted() -> bytes:
    return RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    "key",
    [b"", "no key", pem(ec.generate_private_key(ec.SECP256R1())), encrypted(), pem(RSA)[:-100]],
)
def test_an_unusable_key_is_a_settings_error_that_does_not_show_it(key: bytes | str) -> None:
    with pytest.raises(SettingsError, match="dkim") as caught:
        Key("example.com", "a", key)
    assert "PRIVATE" not in str(caught.value)


def test_a_key_in_the_older_pem_form_is_read() -> None:
    old = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert Key("example.com", "a", old.decode()).algorithm == "rsa-sha256"


OPENDKIM = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.mark.skipif(OPENDKIM is None and not os.environ.get("CI"), reason="opendkim not installed")
@pytest.mark.parametrize("content", [PLAIN.content, RICH.content])
@pytest.mark.parametrize(("selector", "key"), [("a", RSA), ("b", ED25519)])
def test_opendkim_finds_the_signature_valid_until_the_text_is_changed(
    tmp_path: Path, content: bytes, selector: str, key: PrivateKey
) -> None:
    signed = Signer([Key("example.com", selector, pem(key))]).sign(content)
    assert "succeeded" in opendkim(tmp_path, signed)
    assert "signature verification failed" in opendkim(tmp_path, signed.replace(b"Hello", b"Jello"))


def opendkim(folder: Path, content: bytes) -> str:
    """What opendkim prints about a message, with a file in place of DNS."""
    assert OPENDKIM is not None, "opendkim is not installed"
    (folder / "message").write_bytes(content)
    (folder / "dns").write_text("".join(f"{name} {text}\n" for name, text in DNS.items()))
    (folder / "conf").write_text(f"Mode v\nTestDNSData {folder / 'dns'}\n")
    command = [OPENDKIM, "-f", "-x", str(folder / "conf"), "-t", str(folder / "message")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr
