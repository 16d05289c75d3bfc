"""What a message costs: ``python -m tests.bench.message``. Median of five, one core, CPU time."""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jinja2.sandbox import ImmutableSandboxedEnvironment
from rich.console import Console
from rich.table import Table

from mailer.dkim import Key, Signer
from mailer.message import Attachment, Message
from mailer.render import compile_message
from tests.bench.report import save

ROUNDS = 5
DATE = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ID = "0192f0c4-7b1e-7c3a-9d55-1f2e3d4c5b6a"
TEXT = (
    "Dear {{ name }},\n\nyour order {{ order }} goes to {{ city }} on {{ day }}.\n"
    + "We pack it with care and send it on its way today, as we always do.\n" * 9
    + "Total: {{ total }}\n"
)
HTML = (
    "<html><body><p>Dear {{ name }},</p><p>your order <b>{{ order }}</b> goes to {{ city }} on "
    "{{ day }}.</p>\n"
    + '<p style="color:#333">We pack it with care and send it on its way today.</p>\n' * 10
    + "<p>Total: {{ total }}</p></body></html>\n"
)
COLUMNS = {"order": "A-1234", "city": "Berlin", "day": "Monday", "total": "EUR 12.50"}
ASCII = {**COLUMNS, "name": "Ann Miller"}
LATIN = {**COLUMNS, "name": "Jörg Müller"}


def median(work: Callable[[], object], number: int) -> float:
    """µs of CPU a call."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(number):
            work()
        times.append((time.process_time() - start) / number * 1e6)
    return statistics.median(times)


def ours(values: dict[str, object], **fields: Any) -> Callable[[], bytes]:
    compiled = compile_message(
        Message("Shop <shop@example.com>", subject="Your order {{ order }}", text=TEXT, html=HTML,
                to="{{ name }} <{{ email }}>", **fields)
    )  # fmt: skip

    def render() -> bytes:
        return compiled.render(
            values, email="ann@example.net", delivery_id=ID, message_id=f"<{ID}@example.com>",
            date=DATE,
        ).content  # fmt: skip

    return render


def library(values: dict[str, object]) -> Callable[[], bytes]:
    """EmailMessage for each recipient, from templates compiled once in the same sandbox."""
    plain, html = ImmutableSandboxedEnvironment(), ImmutableSandboxedEnvironment(autoescape=True)
    subject = plain.from_string("Your order {{ order }}")
    text, page = plain.from_string(TEXT), html.from_string(HTML)

    def render() -> bytes:
        message = EmailMessage(policy=SMTP)
        message["Date"] = format_datetime(DATE)
        message["From"] = Address("Shop", addr_spec="shop@example.com")
        message["To"] = Address(str(values["name"]), addr_spec="ann@example.net")
        message["Subject"] = subject.render(values)
        message["Message-ID"] = f"<{ID}@example.com>"
        message.set_content(text.render(values))
        message.add_alternative(page.render(values), subtype="html")
        return message.as_bytes()

    return render


def attachment() -> dict[str, float]:
    """A shared 200 kB file: µs beyond the copy, and the memory a hundred recipients add."""
    file = Attachment.from_bytes(bytes(range(256)) * 800, "terms.pdf")
    render = ours(ASCII, attachments=[file])
    block = bytearray(render())
    whole, copy = median(render, 1000), median(lambda: bytes(block), 1000)
    tracemalloc.start()
    render()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        render()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"whole": whole, "copy": copy, "beyond_copy": whole - copy, "bytes_grown": grown}


def signatures() -> dict[str, float]:
    rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    pem = [
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        if key is rsa_key
        else key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for key in (rsa_key, ed_key)
    ]
    content = ours(ASCII)()
    rsa_signer = Signer([Key("example.com", "a", pem[0])])
    ed_signer = Signer([Key("example.com", "b", pem[1])])
    include = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]

    def peer() -> bytes:
        options = {"canonicalize": (b"relaxed", b"relaxed"), "include_headers": include}
        return bytes(dkim.sign(content, b"a", b"example.com", pem[0], **options))

    return {
        "rsa_2048": median(lambda: rsa_signer.sign(content), 300),
        # What OpenSSL takes for the one operation: it differs fourfold between processors.
        "rsa_2048_openssl": median(lambda: rsa_key.sign(content, PKCS1v15(), SHA256()), 300),
        "ed25519": median(lambda: ed_signer.sign(content), 1000),
        "dkimpy_rsa_2048": median(peer, 30),
    }


def main() -> None:
    octets = len(ours(ASCII)())
    plain, latin = median(ours(ASCII), 4000), median(ours(LATIN), 4000)
    peer_plain, peer_latin = median(library(ASCII), 300), median(library(LATIN), 300)
    file, signed = attachment(), signatures()
    table = Table("message", "µs", "target", "peer", "µs", "times", title=f"{octets:,} octets")
    rows = [
        ("text+HTML, 5 variables, ASCII", plain, "≤ 30", "EmailMessage", peer_plain),
        ("the same, Latin name", latin, "≤ 30", "EmailMessage", peer_latin),
        ("200 kB shared file, beyond the copy", file["beyond_copy"], "≤ 60", "", 0),
        ("DKIM RSA-2048", signed["rsa_2048"], "≤ 350", "dkimpy", signed["dkimpy_rsa_2048"]),
        ("of which RSA in OpenSSL", signed["rsa_2048_openssl"], "", "", 0),
        ("DKIM Ed25519", signed["ed25519"], "", "", 0),
    ]
    for name, mine, target, peer, theirs in rows:
        times = f"{theirs / mine:.1f}" if theirs else ""
        table.add_row(name, f"{mine:.1f}", target, peer, f"{theirs:.0f}" if theirs else "", times)
    Console().print(table)
    Console().print(
        f"100 more messages with the file: {file['bytes_grown']:,.0f} octets more memory"
    )
    save(
        "message",
        {
            "octets": octets,
            "render_us": {"ascii": plain, "latin": latin},
            "email_message_us": {"ascii": peer_plain, "latin": peer_latin},
            "times_email_message": {"ascii": peer_plain / plain, "latin": peer_latin / latin},
            "attachment_us": file,
            "dkim_us": signed,
            "times_dkimpy": signed["dkimpy_rsa_2048"] / signed["rsa_2048"],
        },
    )


if __name__ == "__main__":
    main()
