"""What a template may cost. Every operation whose cost a template can steer is paid for here."""

from collections.abc import Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from uuid import UUID

from jinja2 import StrictUndefined, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

# A unit is about a microsecond: one operation, or 64 characters looked at. So the worst template
# ends within about half a second; a usual newsletter spends a few hundred units.
WORK = 200_000
OUTPUT = 2_000_000  # characters a template may put out; Gmail clips HTML at a twentieth of that
SOURCE = 1_000_000  # characters a template may have
REPEAT = 10_000  # the longest range and the longest repeated text
_CHARACTERS_PER_UNIT = 64

Text = str | int | float | Decimal | date | time | UUID


class Missing(StrictUndefined):
    """A variable the recipient lacks: false in a test, an error anywhere else."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]  # the strict one never returns
        return False


class Budgeted(Context):
    """The context of one rendering, with what it may still spend."""

    left = WORK
    locale = "en"

    def spend(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise SecurityError("the template does too much work")

    def look_at(self, *values: object) -> None:
        self.spend(1 + sum(map(size, values)) // _CHARACTERS_PER_UNIT)

    def counted(self, items: Iterable[object], cost: int) -> Iterator[object]:
        """Yield the items of a loop whose body has ``cost`` nodes, paying for each round."""
        for item in items:
            self.spend(cost)
            yield item


def size(value: object) -> int:
    """Characters of a text, items of a list; one for all else."""
    return len(value) if isinstance(value, str | list | tuple | dict) else 1


def to_text(value: object) -> str:
    """The text that ``{{ value }}`` puts out.

    Lists and mappings are refused: nobody wants to read them, and nested ones can grow without
    bounds while they are turned into text.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Undefined):
        return str(value)  # raises UndefinedError with the name
    raise SecurityError(f"a {type(value).__name__} cannot be put into text")
