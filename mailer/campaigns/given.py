"""Files that a program hands in with its recipients, instead of paths to them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mailer.message import Attachment

Source = str | Path | Iterable[Mapping[str, object]]


class GivenFiles:
    """Takes the files out of the recipients.

    ``rows``: the recipients with each file replaced by its digest, which the ledger can hold. The
    files of a row are kept until ``take`` asks for them, a row or two later.
    """

    def __init__(self, recipients: Source) -> None:
        self._kept: dict[int, dict[str, object]] = {}
        plain = isinstance(recipients, str | Path | bytes | Mapping)
        self.rows: Source = (
            self._without_files(recipients)
            if isinstance(recipients, Iterable) and not plain
            else recipients
        )

    def _without_files(self, recipients: Iterable[Any]) -> Iterator[Any]:
        for position, row in enumerate(recipients, 1):
            if not isinstance(row, Mapping):
                yield row
                continue
            files = {k: v for k, v in row.items() if isinstance(v, bytes | Attachment)}
            if files:
                self._kept[position] = {str(k).strip().casefold(): v for k, v in files.items()}
            yield {**row, **{k: _digest(v) for k, v in files.items()}}

    def take(self, position: int) -> dict[str, object]:
        """The files of one row by column; those of rows before it are forgotten."""
        files = self._kept.pop(position, {})
        for passed in [kept for kept in self._kept if kept < position]:
            del self._kept[passed]
        return files


def _digest(file: bytes | Attachment) -> str:
    content = file if isinstance(file, bytes) else file.content or b""
    return hashlib.sha256(content).hexdigest()
