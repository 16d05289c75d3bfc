"""A text part made from HTML, for messages that come without one."""

import re
from html.parser import HTMLParser

from mailer.render.source import keeping_marks

_SKIPPED = frozenset(["script", "style", "head", "title"])
_PARAGRAPHS = frozenset(
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"]
)
_LINES = frozenset(["div", "tr", "section", "article", "header", "footer"])


def text_from_html(source: str) -> str:
    """Return what the HTML says: paragraphs, list items, links with their address."""
    text = keeping_marks(source, _convert)
    # The template language drops a line's end after a statement, so it takes two to have one.
    return re.sub(r"([%#]\})\n", r"\1\n\n", text)


def _convert(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    text = "".join(reader.parts)
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _Reader(HTMLParser):
    """Collects text; elements add line breaks around it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping += 1
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.parts)))
        elif tag == "img":
            self.parts.append(dict(attrs).get("alt") or "")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "hr":
            self.parts.append("\n\n----\n\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        else:
            self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag == "a" and self._links:
            self._close_link(*self._links.pop())
        elif tag != "br":
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            text = re.sub(r"[ \t\r\n\f]+", " ", data)
            ends = not self.parts or self.parts[-1].endswith(("\n", " "))
            self.parts.append(text.lstrip(" ") if ends else text)

    def handle_comment(self, data: str) -> None:
        if data.startswith("zqmark"):  # stands for a template statement
            self.parts.append(f"<!--{data}-->")

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES or tag == "br":
            self.parts.append("\n")

    def _close_link(self, address: str, start: int) -> None:
        text = "".join(self.parts[start:]).strip()
        if (
            address.startswith(("http", "mailto:", "zqmark"))
            and address.removeprefix("mailto:") != text
        ):
            self.parts.append(f" ({address})" if text else address)
