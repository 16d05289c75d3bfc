"""From one row, whatever file it came from, to a Recipient or a Problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import orjson

from mailer.recipients.address import normalise
from mailer.recipients.header import Header


@dataclass(slots=True)  # not frozen: that would make each row 0.5 µs slower
class Recipient:
    """One person to write to.

    line: where the row begins in the file (the first line is 1), or its place in the iterable.
    email: as it goes on the envelope: trimmed, the domain as A-label.
    address: the normalised key: unique in a campaign, looked up among the suppressed.
    variables: every column under its folded name, and ``email``; each value fits in JSON.
    """

    line: int
    email: str
    address: str
    variables: dict[str, object]


@dataclass(slots=True)
class Problem:
    """One row that cannot be used. ``reason`` is a line for a person; all text is printable."""

    line: int
    email: str
    reason: str


def from_cells(header: Header, line: int, cells: list[str]) -> Recipient | Problem:
    """A row of a table of text. The way of the ten million: kept short."""
    if len(cells) != header.width:
        return _wrong_width(header, line, cells)
    variables: dict[str, object] = dict(zip(header.columns, cells))  # noqa: B905 - costs 0.4 µs
    email = cells[header.email_at]
    if "\0" in "".join(cells):  # Postgres stores no NUL; bytes that do not decode are NUL too
        return problem(line, email, "a NUL character, or bytes that are not text, in this row")
    return _recipient(header, line, email, variables)


def from_values(header: Header, line: int, values: list[object]) -> Recipient | Problem:
    """A row of values of any type, under the header's columns."""
    email = values[header.email_at]
    if not isinstance(email, str):
        return problem(line, str(email), "the email address is not text")
    try:
        variables = _json_values(header.columns, values)
    except ValueError as error:
        return problem(line, email, str(error))
    return _recipient(header, line, email, variables)


def from_mapping(line: int, row: object) -> Recipient | Problem:
    """A row that brings its own names."""
    if not isinstance(row, Mapping):
        return problem(line, "", f"not a mapping with an email, but {type(row).__name__}")
    try:
        header = _header(tuple(row))
    except ValueError as error:
        return problem(line, "", str(error))
    return from_values(header, line, list(row.values()))


def problem(line: int, email: str, reason: str) -> Problem:
    """A Problem that is safe to print and to store: short and without control characters."""
    return Problem(line, _printable(email.strip(), 254), _printable(reason, 300))


def _recipient(
    header: Header, line: int, email: str, variables: dict[str, object]
) -> Recipient | Problem:
    try:
        email, address = normalise(email)
    except ValueError as error:
        return problem(line, email, str(error))
    variables["email"] = email
    if header.has_unnamed:
        variables.pop("", None)
    return Recipient(line, email, address, variables)


def _wrong_width(header: Header, line: int, cells: list[str]) -> Problem:
    email = cells[header.email_at] if header.email_at < len(cells) else ""
    much = "few" if len(cells) < header.width else "many"
    reason = f"too {much} fields: {len(cells)}, where the header has {header.width}"
    return problem(line, email, reason)


@lru_cache(maxsize=256)  # rows of one source share their keys
def _header(names: tuple[object, ...]) -> Header:
    return Header.of(names)


def _json_values(columns: tuple[str, ...], values: list[object]) -> dict[str, object]:
    """Copy the values as JSON has them: dates in ISO 8601, Decimal as text, NaN as None."""
    try:
        data = orjson.dumps(values, default=_decimal_as_text)
    except TypeError:
        name, value = next(filter(_is_unfit, zip(columns, values, strict=True)))
        reason = f"{name}: a value of type {type(value).__name__} that JSON cannot hold"
        raise ValueError(reason) from None
    if rb"\u0000" in data and rb"\u0000" in data.replace(rb"\\", b""):  # not an escaped backslash
        raise ValueError("a NUL character in this row")
    return dict(zip(columns, orjson.loads(data), strict=True))


def _decimal_as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _is_unfit(item: tuple[str, object]) -> bool:
    try:
        orjson.dumps([item[1]], default=_decimal_as_text)
    except TypeError:
        return True
    return False


def _printable(text: str, length: int) -> str:
    if len(text) > length:
        text = text[: length - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)
