"""Excel workbooks (.xlsx): the first sheet, its first filled row the header."""

import zipfile
from collections.abc import Iterator
from datetime import date, time, timedelta
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from mailer.errors import RecipientsError
from mailer.recipients.header import Header
from mailer.recipients.rows import Problem, Recipient, from_values

_UNPACKED = 512 << 20  # octets; see Sheet


class Sheet:
    """The first sheet of a workbook.

    A workbook cannot be streamed: it is held in memory while it is read, about 0.5 kB a row of
    five columns. So one that unpacks to more than 512 MiB (some 2 million rows; Excel ends at 1)
    is refused before it is opened; save it as CSV, which takes constant memory.

    Whole numbers lose their ".0", dates become ISO 8601.
    """

    def __init__(self, path: Path) -> None:
        _refuse_huge(path)
        self._sheet = _open(path)
        self._header = self._read_header(path.name)
        self.columns = tuple(filter(None, self._header.columns))

    def _read_header(self, name: str) -> Header:
        for _, values in self._rows():
            try:
                return Header.of([_text(value) for value in values])
            except ValueError as error:
                raise RecipientsError(f"{name}: {error}") from None
        raise RecipientsError(f"{name}: the first sheet is empty")

    def __iter__(self) -> Iterator[Recipient | Problem]:
        rows = self._rows()
        next(rows)  # the header
        for line, values in rows:
            yield from_values(self._header, line, values)

    def _rows(self) -> Iterator[tuple[int, list[object]]]:
        """The rows that are not blank, with their numbers as Excel shows them."""
        for line, values in enumerate(self._sheet.iter_rows(), 1):
            if any(value != "" for value in values):
                yield line, [_plain(value) for value in values]


def _refuse_huge(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile:
        raise RecipientsError(
            f"{path.name} is not an .xlsx workbook, or it has a password"
        ) from None
    if size > _UNPACKED:
        raise RecipientsError(f"{path.name} is too large for a workbook; save it as CSV")


def _open(path: Path) -> CalamineSheet:
    try:
        with CalamineWorkbook.from_path(path) as workbook:
            return workbook.get_sheet_by_index(0)
    except CalamineError as error:
        raise RecipientsError(f"{path.name} cannot be read as a workbook: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, timedelta) else value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)
