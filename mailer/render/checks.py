"""What to look at before a message goes to many: warnings, and errors that would stop it."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from mailer.errors import MailerError
from mailer.render.compiled import Compiled, Mail
from mailer.render.source import MARK

Level = Literal["error", "warning"]

_CLIP = 102_000  # octets of HTML after which Gmail shows "message clipped"
# Marks of other systems, which would reach the reader as they are: *|NAME|*, %%NAME%%, ${name}…
_FOREIGN = re.compile(
    r"\*\|\w+\|\*|%%\w+%%|\$\{\w+\}|\[\[\w+\]\]|<<\w+>>|\{\{|\}\}|\{%|%\}|(?<![\w{$])\{[A-Za-z_]\w*\}"
)
# A post code beside a word, a post box, or a Chinese street or post code.
_POSTAL = re.compile(
    r"\b\d{4,6}\b[ ,]+[^\W\d]|[^\W\d][ ,]+\d{4,6}\b|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
    r"|P\.? ?O\.? ?Box|邮编|[路街道号]\s*\d*号?"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. ``field`` is the message's parameter it is about."""

    level: Level
    field: str
    text: str


def check(
    compiled: Compiled, *, bulk: bool = True, size_limit: int | None = None,
    dkim_domains: Collection[str] | None = None, sample: Mapping[str, object] | None = None,
    sample_mail: Mail | None = None, has_unsubscribe: bool = False,
) -> list[Finding]:  # fmt: skip
    """Look a message over before it is sent.

    bulk: it goes to many, so it needs a way out and an address. size_limit: octets the provider
    takes. dkim_domains: the d= of its signatures, None when unknown. sample: one recipient's
    columns, sample_mail: his finished mail, when there is one. has_unsubscribe: the mailer adds
    an unsubscribe link by itself.
    """
    found = [*_texts(compiled), *_html(compiled), *_alignment(compiled, dkim_domains)]
    if bulk:
        found += _bulk(compiled, has_unsubscribe)
    if sample is not None:
        found += _rendered(compiled, sample)
    size = len(sample_mail.content) if sample_mail else compiled.size
    if size_limit is not None and size > size_limit:
        text = f"the message has {size:,} octets, the provider takes {size_limit:,}"
        found.append(Finding("error", "attachments", text))
    return found


def _texts(compiled: Compiled) -> Iterator[Finding]:
    message = compiled.message
    if not message.subject.strip():
        yield Finding("warning", "subject", "is empty")
    if message.html is not None and message.text is None:
        yield Finding("warning", "text", "is missing; it will be made from the HTML")
    for name in ("subject", "text", "html"):
        constant = MARK.sub("", getattr(message, name) or "")
        if name == "html":  # style sheets are full of braces
            constant = re.sub(r"<style.*?</style>", "", constant, flags=re.DOTALL | re.IGNORECASE)
        for mark in sorted(set(_FOREIGN.findall(constant))):
            yield Finding("warning", name, f"{mark} looks like a template mark nobody fills in")


def _bulk(compiled: Compiled, has_unsubscribe: bool) -> Iterator[Finding]:
    message = compiled.message
    if not message.list_unsubscribe and not has_unsubscribe:
        text = "bulk mail needs an unsubscribe link; Gmail and Yahoo refuse it otherwise"
        yield Finding("warning", "list_unsubscribe", text)
    body = f"{message.text or ''}\n{message.html or ''}"
    if not _POSTAL.search(re.sub(r"<[^>]*>", " ", body)) and "address" not in body:
        text = "no postal address found, which the law asks for in many countries"
        yield Finding("warning", "text", text)


def _alignment(compiled: Compiled, domains: Collection[str] | None) -> Iterator[Finding]:
    if domains is None:
        return
    sender = compiled.message.from_mailbox.domain.lower()
    if not any(_aligned(sender, one.lower()) for one in domains):
        signed = ", ".join(sorted(domains)) or "none"
        yield Finding(
            "warning", "sender", f"{sender} is not aligned with the DKIM domain ({signed})"
        )


def _aligned(one: str, other: str) -> bool:
    """DMARC's relaxed alignment, but for siblings below one organisation's domain."""
    return one == other or one.endswith("." + other) or other.endswith("." + one)


def _html(compiled: Compiled) -> Iterator[Finding]:
    html = compiled.message.html
    if html is None:
        return
    if len(html.encode()) > _CLIP:
        yield Finding("warning", "html", f"Gmail clips HTML of more than {_CLIP:,} octets")
    reader = _Reader()
    reader.feed(MARK.sub("", html))
    reader.close()
    if reader.images:
        yield Finding("warning", "html", f"{reader.images} image(s) without alt text")
    for link in sorted(reader.links):
        yield Finding("warning", "html", f"the link {link[:100]} is not https")


def _rendered(compiled: Compiled, sample: Mapping[str, object]) -> Iterator[Finding]:
    lacking = sorted(name for name in compiled.needs if sample.get(name) in (None, ""))
    if lacking:
        yield Finding("error", "recipients", f"a recipient lacks {', '.join(lacking)}")
        return
    values = {"unsubscribe_url": "https://unsubscribe.invalid/", "email": "a@b.invalid", **sample}
    for name, template in compiled.message.templates.items():
        if name.endswith(".path"):
            continue
        try:
            template.render(values)
        except MailerError as error:
            yield Finding("error", name, str(error))


class _Reader(HTMLParser):
    """Counts images without alt and notes links over plain http."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.links = set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img" and "alt" not in found:
            self.images += 1
        for name in ("href", "src"):
            link = found.get(name) or ""
            if link.lower().startswith("http:"):
                self.links.add(link)
