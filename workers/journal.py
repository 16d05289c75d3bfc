"""The journal: what a worker process had on the wire, readable after it was killed.

One folder a process, ``STATE_DIR/journals/WORKER/``, with a lock that dies with the process and one
file for each batch in flight:

    claimed <id> <attempt> …      written before anything of the batch goes out
    dot <id>                      written before the bytes that complete a message go out
    reply <id> <verdict as JSON>  written when the server has answered

A file is removed once the batch is in the ledger. Written without fsync: the journal guards
against a killed process, and what was written survives in the page cache. Each note is one
``write`` of about 2 µs; a note cut off by a full disk is ignored when it is read.
"""

import fcntl
import itertools
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from mailer.deliveries import Claim
from mailer.smtp import Kind, Phase, Verdict


@dataclass(slots=True, eq=False)
class Noted:
    """A claim on the wire, as the SMTP engine hands it back to the journal."""

    claim: Claim
    batch: "Batch"


class Batch:
    """The notes on one batch, from its claim to its record in the ledger."""

    def __init__(self, path: Path, claims: Sequence[Claim]) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._write("claimed " + " ".join(f"{c.id.hex} {c.attempt}" for c in claims))

    def before_dot(self, claim: Claim) -> None:
        """The message is about to be completed on the wire."""
        self._write(f"dot {claim.id.hex}")

    def after_reply(self, claim: Claim, verdict: Verdict) -> None:
        """The server has answered, or it is known that it never will."""
        values = (verdict.kind, verdict.phase, verdict.code, verdict.enhanced, verdict.text)
        self._write(f"reply {claim.id.hex} {orjson.dumps(values).decode()}")

    def close(self) -> None:
        """The ledger has it all: the notes are worth nothing any more."""
        os.close(self._file)
        self._path.unlink()

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")


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
        """Begin the notes on a batch."""
        return Batch(self._folder / f"{next(self._numbers)}.log", claims)

    def close(self) -> None:
        """Remove the folder, unless a batch could not be recorded: the next worker replays it."""
        if not any(self._folder.glob("*.log")):
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
    def unanswered(self) -> list[uuid.UUID]:
        """The final dot went out, and nobody knows what became of it."""
        return [id_ for id_ in self.attempts if id_ in self.dots and id_ not in self.verdicts]

    @property
    def untouched(self) -> list[uuid.UUID]:
        """Never completed on the wire."""
        known = self.dots | self.verdicts.keys()
        return [id_ for id_ in self.attempts if id_ not in known]


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
        notes = Notes()
        for line in path.read_bytes().split(b"\n")[:-1]:  # after the last newline: cut off
            _take_in(notes, line.decode())
        yield notes


def remove(folder: Path) -> None:
    """Forget a process's notes, once the ledger has them."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _take_in(notes: Notes, line: str) -> None:
    kind, _, rest = line.partition(" ")
    if kind == "claimed":
        words = rest.split()
        pairs = zip(words[::2], words[1::2], strict=True)
        notes.attempts = {uuid.UUID(id_): int(attempt) for id_, attempt in pairs}
    elif kind == "dot":
        notes.dots.add(uuid.UUID(rest))
    else:
        id_, _, values = rest.partition(" ")
        how, phase, code, enhanced, text = orjson.loads(values)
        notes.verdicts[uuid.UUID(id_)] = Verdict(Kind(how), Phase(phase), code, enhanced, text)


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
