"""Running as root: Postgres refuses to, so it runs as an account without rights.

``nobody`` is on every Debian and macOS, so no account has to be made. That account must reach the
server's programs and data, and nobody's folders are opened up for it: what it cannot reach is
copied, or put elsewhere.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ACCOUNT = "nobody"


def account() -> str | None:
    """Whose rights a server must run with; None for our own."""
    return ACCOUNT if os.geteuid() == 0 else None


def give(path: Path, owner: str | None) -> None:
    """Hand a file or folder to ``owner``."""
    if owner is not None:
        shutil.chown(path, owner)


def is_reachable(path: Path) -> bool:
    """Whether any account can walk to ``path``: each folder above it is open to all."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.absolute().parents)


def open_to_all(folder: Path) -> None:
    """Let every account read ``folder`` and run what is in it, whatever the umask made of it."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A throw-away folder that servers under another account can reach, but not list."""
    folder = Path(tempfile.mkdtemp(prefix="mailer-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
