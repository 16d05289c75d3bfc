"""Delimited text: CSV, TSV and their kin (RFC 4180, read with some tolerance)."""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from mailer.errors import RecipientsError
from mailer.recipients.encoding import detect, open_text
from mailer.recipients.header import Header, is_email_name
from mailer.recipients.rows import Problem, Recipient, from_cells, problem

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16  # characters


class Table:
    """One delimited file. Opening finds encoding, delimiter and columns; iterating reads rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoding = detect(path)
        with open_text(path, self._encoding) as file:
            sample = file.readlines(_SAMPLE)
        self._delimiter = find_delimiter(sample)
        self._header = self._read_header(sample)
        self.columns = tuple(filter(None, self._header.columns))

    def _read_header(self, sample: list[str]) -> Header:
        for line, cells in split(iter(sample), self._delimiter):
            if isinstance(cells, str):
                raise RecipientsError(f"{self._path.name}, line {line}, the header: {cells}")
            if any(cells):
                return self._header_of(cells)
        raise RecipientsError(f"{self._path.name} is empty")

    def _header_of(self, cells: list[str]) -> Header:
        try:
            return Header.of(cells)
        except ValueError as error:
            raise RecipientsError(f"{self._path.name}: {error}") from None

    def __iter__(self) -> Iterator[Recipient | Problem]:
        header = self._header
        with open_text(self._path, self._encoding) as file:
            rows = split(file, self._delimiter)
            next(cells for _, cells in rows if any(cells))  # the header
            for line, cells in rows:
                if isinstance(cells, str):
                    yield problem(line, "", cells)
                elif any(cells):  # lines of nothing but delimiters are blank too
                    yield from_cells(header, line, cells)


def find_delimiter(sample: list[str]) -> str:
    """The delimiter under which the header names an email and most rows are as wide as it is."""

    def fitness(delimiter: str) -> tuple[bool, float, int]:
        rows = [row for _, row in split(iter(sample), delimiter) if isinstance(row, list) and row]
        width = len(rows[0]) if rows else 0
        if width < 2:
            return False, 0.0, 0
        alike = sum(len(row) == width for row in rows) / len(rows)
        return any(map(is_email_name, rows[0])), alike, width

    return max(_DELIMITERS, key=fitness)


def split(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each row's first line number with its cells, or with the reason why it has none.

    After a broken row reading goes on at the very next line: a quote left open costs its own
    row, not the rest of the file. The csv module gives up on it after 131,072 characters.
    """
    held: list[str] = []  # the lines of the row being read
    again: deque[str] = deque()  # lines to read once more after a broken row
    line = 1

    def feed() -> Iterator[str]:
        while True:
            text = again.popleft() if again else next(lines, None)
            if text is None:
                return
            held.append(text)
            yield text

    while True:
        try:
            for cells in csv.reader(
                feed(), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True
            ):
                yield line, cells
                line += len(held)
                held.clear()
            return
        except csv.Error as error:
            yield line, _reason(error)
            line += 1
            again.extendleft(reversed(held[1:]))
            held.clear()


def _reason(error: csv.Error) -> str:
    if "expected after" in str(error):
        return "text after a closing quote; a quote inside a quoted value is written twice"
    return "a quote is opened and never closed"
