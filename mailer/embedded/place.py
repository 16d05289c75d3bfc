"""Where a stack keeps its data, and how other commands in the same folder find it."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from mailer.embedded.accounts import account, is_reachable
from mailer.errors import ConflictError, UnavailableError
from mailer.settings import RUNNING_STACK


class Announcement:
    """``.mailer/up.toml`` of the working directory: there while a stack runs.

    The lock beside it goes with its process, however that ends, so a file left behind by
    ``kill -9`` stops nobody.

    Raises:
        ConflictError: a stack is running here already.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RUNNING_STACK
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            _make(self._path.parent)
            lock = os.open(self._path.with_name("lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            return self  # not our folder: the stack runs, and nobody is told
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ConflictError("a stack runs in this folder already; stop it first") from None
        self._lock = lock
        return self

    def publish(self, values: Mapping[str, str | int]) -> bool:
        """Write the file, for nobody but us to read: the URLs hold passwords.

        False where the folder is not ours to write.
        """
        if self._lock is None:
            return False
        # A JSON string or number is a TOML string or number as well.
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text("".join(lines), encoding="utf-8")
        fresh.replace(self._path)
        return True

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)


def data_folder(folder: Path) -> Path:
    """``folder/.mailer``, or one below the temporary folder where that cannot be used.

    It cannot where ``folder`` is not ours to write, or when we are root and Postgres, which then
    runs as another account, cannot get there. The same folder gives the same place every time.
    """
    usual = folder.absolute() / RUNNING_STACK.parent
    try:
        _make(usual)
    except OSError:
        return _elsewhere(usual)
    if account() is not None and not is_reachable(usual / "postgres"):
        return _elsewhere(usual)
    return usual


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir()
        folder.chmod(0o711)  # whatever the umask: Postgres may have to walk through
    if not os.access(folder, os.W_OK):
        raise PermissionError


def _elsewhere(usual: Path) -> Path:
    mark = hashlib.sha256(bytes(usual)).hexdigest()[:12]
    place = Path(tempfile.gettempdir()) / f"mailer-{os.getuid()}-{mark}"
    place.mkdir(mode=0o711, exist_ok=True)
    found = place.lstat()
    if found.st_uid != os.getuid() or place.is_symlink():
        raise UnavailableError(f"{place} belongs to somebody else; run in another folder")
    place.chmod(0o711)
    return place
