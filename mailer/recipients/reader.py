"""``read``: the one door to recipients, whatever they come in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mailer.errors import RecipientsError
from mailer.recipients.jsonl import JsonLines
from mailer.recipients.rows import Problem, Recipient, from_mapping
from mailer.recipients.sheet import Sheet
from mailer.recipients.table import Table

_FORMATS: dict[str, type[Table | Sheet | JsonLines]] = {
    ".csv": Table,
    ".tsv": Table,
    ".txt": Table,
    ".xlsx": Sheet,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Iterate to get the rows in the order of the input; a file can be iterated again.

    label: the file's name, or "recipients".
    columns: the folded names, for a file with a header; else empty, as each row brings its own.
    """

    label: str
    columns: tuple[str, ...]
    rows: Iterable[Recipient | Problem]

    def __iter__(self) -> Iterator[Recipient | Problem]:
        return iter(self.rows)


def read(source: str | Path | Iterable[Mapping[str, object]]) -> Reader:
    """Open a CSV, TSV, XLSX or JSONL file, or take any iterable of mappings with an "email".

    The suffix decides the format; an unknown one leaves it to the first bytes. Encoding and
    delimiter are found. RecipientsError when there is nothing to read: no such file, not text,
    no email column, no rows.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, bytes | Mapping) or not isinstance(source, Iterable):
        kind = type(source).__name__
        raise RecipientsError(f"recipients must be a path or an iterable of mappings, not {kind}")
    return _read_iterable(source)


def _read_file(path: Path) -> Reader:
    label = path.name
    try:
        _refuse_no_file(path)
        rows = _format(path)(path)
        if next(iter(rows), None) is None:
            raise RecipientsError(f"{label} has no recipients")
    except OSError as error:
        raise RecipientsError(f"{label} cannot be read: {error.strerror or error}") from None
    return Reader(label, rows.columns, rows)


def _refuse_no_file(path: Path) -> None:
    if not path.exists():
        raise RecipientsError(f"there is no file {path}")
    if not path.is_file():  # a pipe cannot be read twice, which finding its encoding takes
        raise RecipientsError(f"{path} is not a regular file")
    if not path.stat().st_size:
        raise RecipientsError(f"{path.name} is empty")


def _format(path: Path) -> type[Table | Sheet | JsonLines]:
    if known := _FORMATS.get(path.suffix.lower()):
        return known
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"PK\x03\x04"):
        return Sheet
    return JsonLines if head.startswith(b"{") else Table


def _read_iterable(source: Iterable[Mapping[str, object]]) -> Reader:
    rows = iter(source)
    try:
        first = next(rows)
    except StopIteration:
        raise RecipientsError("there are no recipients") from None
    numbered = enumerate(chain([first], rows), 1)
    return Reader("recipients", (), (from_mapping(position, row) for position, row in numbered))
