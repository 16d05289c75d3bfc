"""HTML template sources: worked over once a campaign, with their template marks kept whole."""

import re
from collections.abc import Callable, Mapping

from mailer.errors import MessageError

# A raw block is one mark, so that nothing in it is taken for another.
MARK = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL
)
_STAND_IN = re.compile(r"<!--(zqmark\d+zq)-->|(zqmark\d+zq)(?:=\"\")?")
# Where HTML and CSS name an image.
_BEFORE = r"(?P<before>\b(?:src|background)\s*=\s*|\burl\(\s*)"


def keeping_marks(source: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to the HTML while words stand in for the template marks.

    A statement between tags is stood in for by a comment, as that may stand inside a table.
    """
    marks: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        word = f"zqmark{len(marks)}zq"
        marks[word] = found[0]
        before = source[: found.start()]
        outside = before.rfind("<") <= before.rfind(">")
        return f"<!--{word}-->" if outside and not found[0].startswith("{{") else word

    changed = change(MARK.sub(stand_in, source))
    return _STAND_IN.sub(lambda found: marks.get(found[1] or found[2], found[0]), changed)


def inline_css(source: str) -> str:
    """Move the rules of style sheets into the tags, as some readers drop ``<style>``."""
    try:
        from css_inline import CSSInliner
    except ImportError:
        raise MessageError("inline_css", "needs the extra: pip install 'mailer[css]'") from None
    for found in MARK.finditer(source):
        if found[0].startswith("{%") and _between_attributes(source, found.start()):
            # Attributes may change their order, which would tear an if from its endif.
            text = f"{found[0][:40]} stands between attributes; put it into an attribute's value"
            raise MessageError("inline_css", text)
    # Style sheets stay for their media queries. Nothing is fetched.
    inliner = CSSInliner(keep_style_tags=True, keep_at_rules=True, load_remote_stylesheets=False)
    try:
        return keeping_marks(source, inliner.inline)
    except ValueError as error:
        raise MessageError("inline_css", f"the CSS cannot be read: {error}") from None


def _between_attributes(source: str, place: int) -> bool:
    start = source.rfind("<", 0, place)
    if start <= source.rfind(">", 0, place):
        return False
    values = re.sub(r"\"[^\"]*\"|'[^']*'", "", source[start:place])
    return '"' not in values and "'" not in values


def mentions(source: str, name: str) -> bool:
    """Does the HTML show an image by this file name or Content-ID?"""
    return _address(name).search(source) is not None


def with_cids(source: str, cids: Mapping[str, str]) -> str:
    """Point the images that are named by their file to the Content-IDs of the parts."""
    for name, cid in cids.items():
        new = rf"\g<before>\g<quote>cid:{cid}\g<quote>"  # a Content-ID has no backslash
        source = _address(name).sub(new, source)
    return source


def _address(name: str) -> re.Pattern[str]:
    # An unquoted name must end there, or "a.png" would be found in "a.png.html".
    return re.compile(
        rf"""{_BEFORE}(?P<quote>["']?)(?:cid:)?{re.escape(name)}(?P=quote)(?=[\s>/)"'])""",
        re.IGNORECASE,
    )
