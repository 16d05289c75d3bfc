"""JSON Lines: one object a line, each with an email."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from mailer.recipients.encoding import detect, open_text
from mailer.recipients.rows import Problem, Recipient, from_mapping, problem


class JsonLines:
    """One file of JSON objects. ``columns`` is empty, as each row brings its own names."""

    columns: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoding = detect(path)

    def __iter__(self) -> Iterator[Recipient | Problem]:
        with open_text(self._path, self._encoding) as file:
            for line, text in enumerate(file, 1):
                if not text.isspace():
                    yield _row(line, text)


def _row(line: int, text: str) -> Recipient | Problem:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return problem(line, "", f"not valid JSON: {error}")
    if not isinstance(row, dict):
        return problem(line, "", "not a JSON object")
    return from_mapping(line, row)
