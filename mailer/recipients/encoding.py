"""Which encoding a text file is in, and how to open it.

A file is UTF-8 unless it says otherwise, so the whole of it is scanned once (1 GB/s and more):
a first letter outside ASCII may come after a million plain rows. What is not UTF-8 is told apart
on 64 KiB around the first byte that breaks it.
"""

import codecs
import re
from pathlib import Path
from typing import BinaryIO, TextIO

from mailer.errors import RecipientsError

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HIGH = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# In Western text letters outside ASCII stand alone or in twos, and these signs are rare.
_UNLIKE_LATIN = re.compile(rb"[\x80-\xff]{3,}|[\x81-\x83\x86-\x89\x8b\x8d\x8f\x90\x98\x9b\x9d]")


def _as_nul(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\0", error.end
    raise error


# What does not decode becomes NUL, and a row with a NUL is reported: no letter is ever guessed.
codecs.register_error("mailer.nul", _as_nul)


def open_text(path: Path, encoding: str) -> TextIO:
    """Open for reading with line ends as they are; bytes that do not decode read as NUL."""
    return path.open(encoding=encoding, errors="mailer.nul", newline="")


def detect(path: Path) -> str:
    """Return the name of the codec. RecipientsError when the file is not text that we know."""
    with path.open("rb") as file:
        _refuse_endless_lines(file, path.name)
        file.seek(0)
        head = file.read(_SAMPLE)
        for bom, encoding in _BOMS.items():
            if head.startswith(bom):
                return encoding
        if wide := _utf16_without_bom(head):
            return wide
        if len(_CONTROL.findall(head)) > 8 + len(head) // 100:
            raise RecipientsError(f"{path.name} is not a text file")
        file.seek(0)
        broken_at = _first_break(file)
        if broken_at is None:
            return "utf-8"
        return _not_utf8(path, _sample(file, broken_at))


def _refuse_endless_lines(file: BinaryIO, name: str) -> None:
    """A line is read in one piece, so a file without line ends would fill the memory."""
    length = 0
    while chunk := file.read(_CHUNK):
        last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        length = length + len(chunk) if last < 0 else len(chunk) - last
        if length > 2 * _CHUNK:
            raise RecipientsError(f"{name} has a line longer than 2 MiB")


def _utf16_without_bom(head: bytes) -> str | None:
    """Addresses are mostly ASCII, so every second byte of theirs is zero, on one side only."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 8 < len(head) or min(even, odd) * 20 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _first_break(file: BinaryIO) -> int | None:
    """The offset of the first byte at which the file stops being UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while chunk := file.read(_CHUNK):
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return max(0, offset + error.start - 3)
        offset += len(chunk)
    return None if not decoder.getstate()[0] else offset - 3


def _sample(file: BinaryIO, around: int) -> bytes:
    """Bytes around an offset, most of them before it, that begin at the start of a line."""
    start = max(0, around - _SAMPLE * 3 // 4)
    file.seek(start)
    sample = file.read(_SAMPLE)
    return sample[sample.find(b"\n") + 1 :] if start else sample


def _not_utf8(path: Path, sample: bytes) -> str:
    if _is_broken_utf8(sample):
        return "utf-8"
    if _is_chinese(sample):
        return "gb18030"
    unlike = sum(map(len, _UNLIKE_LATIN.findall(sample)))
    if unlike * 2 > len(_HIGH.findall(sample)):
        raise RecipientsError(
            f"{path.name} is not in UTF-8, UTF-16, GB18030 or Latin-1; save it as UTF-8"
        )
    return "cp1252"  # Latin-1 and, where that has nothing, the quotes and dashes of Windows


def _is_broken_utf8(sample: bytes) -> bool:
    """Most letters outside ASCII are valid UTF-8: by chance a seventh of Chinese in GB18030 is."""
    text = sample.decode("utf-8", "replace")
    bad = text.count("�")
    good = sum(letter > "\x7f" for letter in text) - bad
    return good > bad


def _is_chinese(sample: bytes) -> bool:
    """Half of what is not ASCII are the 3,755 most common characters (GB 2312, rows 16 to 55)."""
    text = sample.decode("gb18030", "replace")
    wide = [letter.encode("gb18030") for letter in text if letter > "\x7f"]
    pairs = [code for code in wide if len(code) == 2]
    common = [lead for lead, trail in pairs if 0xB0 <= lead <= 0xD7 and trail > 0xA0]
    # A Western letter swallows the ASCII one after it, or does not decode; few Chinese ones do.
    western = 4 * text.count("�") + sum(trail < 0x80 for _, trail in pairs)
    # Korean in CP949 has the same shape, but ends at 0xC8; every other Chinese one lies beyond.
    korean = len(common) >= 16 and max(common) <= 0xC8
    return len(common) * 2 >= len(wide) and len(common) > western and not korean
