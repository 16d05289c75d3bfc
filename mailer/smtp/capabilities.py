"""What a server offers in its answer to EHLO."""

from dataclasses import dataclass, field

from .model import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions of one session, by upper-case keyword, and the TLS it runs in."""

    name: str = ""  # what the server calls itself
    extensions: dict[str, str] = field(default_factory=dict)
    tls_version: str | None = None
    tls_cipher: str | None = None

    def has(self, keyword: str) -> bool:
        return keyword in self.extensions

    @property
    def size(self) -> int | None:
        """The largest message in octets (RFC 1870); None when unknown or without a fixed limit."""
        return _number(self.extensions.get("SIZE", "")) or None

    @property
    def auth(self) -> tuple[str, ...]:
        """Mechanisms offered, upper case."""
        return tuple(self.extensions.get("AUTH", "").upper().split())

    def limit(self, name: str) -> int | None:
        """MAILMAX, RCPTMAX or RCPTDOMAINMAX (RFC 9422), None when not limited."""
        for word in self.extensions.get("LIMITS", "").upper().split():
            key, _, value = word.partition("=")
            if key == name:
                return _number(value) or None
        return None


def _number(text: str) -> int:
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 20 else 0


def parse(reply: Reply) -> Capabilities:
    """The answer to EHLO. Old servers write AUTH=LOGIN; both spellings count."""
    greeting, *lines = (line.decode("ascii", "replace").strip() for line in reply.lines)
    extensions: dict[str, str] = {}
    for line in lines:
        keyword, _, value = line.replace("AUTH=", "AUTH ", 1).partition(" ")
        keyword = keyword.upper()
        known = extensions.get(keyword)
        extensions[keyword] = f"{known} {value}" if known else value
    return Capabilities(greeting.partition(" ")[0], extensions)
