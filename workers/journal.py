"""The journal: what a worker process had on the wire, readable after it was killed.

One folder a process, ``STATE_DIR/journals/WORKER/``, with a lock that dies with the process and one
file for each batch in flight:

    claimed <id> <attempt> …      written before anything of the batch goes out
    --.-…                         one mark for each of them: a dot before the bytes that complete
                                  its message go out
    reply <id> <verdict as JSON>  added when the server has answered

A file is removed once the batch is in the ledger. Written without fsync: the journal guards
against a killed process, and what was written survives in the page cache. Each note is one
``write`` of about 2 µs. A full disk cannot swallow a mark, since its place is there beforehand; a
reply that finds no room is missing, so that its message is in doubt if the process dies now.
"""

import errno
import fcntl
import itertools
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from mailer.deliveries import Claim
from mailer.errors import UnavailableError
from mailer.smtp import Kind, Phase, Verdict


@dataclass(slots=True, eq=False)
class Noted:
    """A claim on the wire, as the SMTP engine hands it back to the journal."""

    claim: Claim
    batch: "Batch"


class Batch:
    """The notes on one batch, from its claim to its record in the ledger."""

    def __init__(self, path: Path, claims: Sequence[Claim]) -> None:
        head = "claimed " + " ".join(f"{c.id.hex} {c.attempt}" for c in claims) + "\n"
        self._marks = {c.id: len(head) + place for place, c in enumerate(claims)}
        self._path = path
        self._end = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            self._add(f"{head}{'-' * len(claims)}\n")
        except OSError:
            self.close()
            raise

    def before_dot(self, claim: Claim) -> None:
        """The message is about to be completed on the wire."""
        os.pwrite(self._file, b".", self._marks[claim.id])

    def after_reply(self, claim: Claim, verdict: Verdict) -> None:
        """The server has answered, or it is known that it never will."""
        values = (verdict.kind, verdict.phase, verdict.code, verdict.enhanced, verdict.text)
        with suppress(OSError):
            self._add(f"reply {claim.id.hex} {orjson.dumps(values).decode()}\n")

    def read(self) -> "Notes":
        """What was noted so far."""
        return read_batch(self._path)

    def close(self) -> None:
        """The ledger has it all: the notes are worth nothing any more."""
        os.close(self._file)
        self._path.unlink()

    def _add(self, text: str) -> None:
        """The end moves on only when all of it was written: the next note covers half a one."""
        data = text.encode()
        if os.pwrite(self._file, data, self._end) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(data)


class Observer:
    """Notes what the SMTP pools report. See ``mailer.smtp.Observer``."""

    def before_dot(self, key: object) -> None:
        """Called in the loop's thread."""
        assert isinstance(key, Noted)  # noqa: S101 - workers.deliver makes the keys
        key.batch.before_dot(key.claim)

    def after_reply(self, key: object, verdict: Verdict) -> None:
        """Called in the loop's thread."""
        assert isinstance(key, Noted)  # noqa: S101 - workers.deliver makes the keys
        key.batch.after_reply(key.claim, verdict)


class Journal:
    """The folder of one process, locked as long as it lives."""

    def __init__(self, state_dir: Path, worker: uuid.UUID) -> None:
        self._folder = state_dir / "journals" / worker.hex
        # Locked under another name first: nobody ever finds the folder without its lock.
        new = self._folder.with_suffix(".new")
        new.mkdir(parents=True)
        self._lock = _lock(new)
        new.rename(self._folder)
        self._numbers = itertools.count()

    def batch(self, claims: Sequence[Claim]) -> Batch:
        """Begin the notes on a batch.

        Raises:
            UnavailableError: they cannot be written; then nothing may be sent.
        """
        try:
            return Batch(self._folder / f"{next(self._numbers)}.log", claims)
        except OSError as error:
            raise UnavailableError(f"journal: {error.strerror}") from None

    @property
    def clean(self) -> bool:
        """Whether every batch is in the ledger."""
        return not any(self._folder.glob("*.log"))

    def close(self, *, keep: bool) -> None:
        """Give up the lock; what is kept is replayed by the next worker."""
        if not keep:
            remove(self._folder)
        if self._lock is not None:
            os.close(self._lock)


@dataclass(slots=True)
class Notes:
    """What a killed process left of one batch. Ids are those of deliveries."""

    attempts: dict[uuid.UUID, int] = field(default_factory=dict)
    dots: set[uuid.UUID] = field(default_factory=set)
    verdicts: dict[uuid.UUID, Verdict] = field(default_factory=dict)

    @property
    def answered(self) -> dict[uuid.UUID, Verdict]:
        """What the server said, where it said something."""
        return {id_: v for id_, v in self.verdicts.items() if v.kind is not Kind.IN_DOUBT}

    @property
    def unknown(self) -> dict[uuid.UUID, int]:
        """The attempts whose final dot went out, and nobody knows what became of it."""
        answered = self.answered
        return {i: n for i, n in self.attempts.items() if i in self.dots and i not in answered}

    @property
    def untouched(self) -> dict[uuid.UUID, int]:
        """The attempts that were never completed on the wire."""
        return {i: n for i, n in self.attempts.items() if i not in self.dots}


def orphans(state_dir: Path) -> Iterator[tuple[uuid.UUID, Path]]:
    """The folders of processes that are gone, each locked while the caller looks at it."""
    for folder in sorted((state_dir / "journals").glob("*")):
        lock = None if folder.suffix else _lock(folder)
        if lock is None:
            continue
        try:
            if folder.exists():  # else its owner ended in order while we asked for the lock
                yield uuid.UUID(folder.name), folder
        finally:
            os.close(lock)


def read(folder: Path) -> Iterator[Notes]:
    """The notes on each batch that the process left."""
    for path in sorted(folder.glob("*.log")):
        yield read_batch(path)


def read_batch(path: Path) -> Notes:
    """The notes on one batch."""
    lines = path.read_bytes().split(b"\n")[:-1]  # after the last newline: cut off
    if len(lines) < 2:
        return Notes()  # killed before anything went out
    words = lines[0].decode().split()[1:]
    attempts = {uuid.UUID(i): int(n) for i, n in zip(words[::2], words[1::2], strict=True)}
    dots = {id_ for id_, mark in zip(attempts, lines[1].decode(), strict=True) if mark == "."}
    return Notes(attempts, dots, dict(map(_reply, lines[2:])))


def remove(folder: Path) -> None:
    """Forget a process's notes, once the ledger has them."""
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    with suppress(OSError):  # another looks for its lock just now, and will remove it
        folder.rmdir()


def _reply(line: bytes) -> tuple[uuid.UUID, Verdict]:
    _, id_, values = line.decode().split(" ", 2)
    how, phase, code, enhanced, text = orjson.loads(values)
    return uuid.UUID(id_), Verdict(Kind(how), Phase(phase), code, enhanced, text)


def _lock(folder: Path) -> int | None:
    """The folder's lock, or None while another holds it or when the folder is gone."""
    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
