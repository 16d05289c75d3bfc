"""The whole of mailer on this machine: Postgres, Redis, a catcher, a worker, beat and Flower.

``mailer up``, ``mailer demo`` and end-to-end tests run it. Nothing survives its end, however that
comes: see ``guard.py``.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from mailer.broker import make_app
from mailer.db import migrate
from mailer.embedded.console import Console
from mailer.embedded.place import Announcement, data_folder
from mailer.embedded.process import Child, free_port, listens, wait_until
from mailer.embedded.servers import Postgres, Redis
from mailer.errors import UnavailableError
from mailer.settings import Settings

Log = Callable[[str, str], None]  # the name of a process, a line that it printed

SMTP_PORT, INBOX_PORT, FLOWER_PORT = 1025, 8025, 5555
_WORKER_GRACE = 15  # seconds to finish the batch in hand
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stack:
    """All servers and processes, as a context manager.

    Args:
        folder: for the data; kept afterwards.
        config: the ``mailer.toml`` to use; None makes one whose only provider is the catcher.
        durable: False trades safety against power cuts for speed.
        log: gets what the processes print.

    Raises:
        UnavailableError: a part did not start; those that did are stopped again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: Path | None = None,
        durable: bool = True,
        log: Log = lambda _name, _line: None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._durable = durable
        self._log = log
        self._ends = ExitStack()
        self._children: list[Child] = []
        self._programs: list[Child] = []  # those of them that use the servers
        self.settings: dict[str, str] = {}
        self.inbox_url = ""
        self.flower_url = ""

    def __enter__(self) -> Self:
        with self._ends:
            self._start_servers()
            self._start_catcher()
            self._start_programs()
            self._ends = self._ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def environment(self) -> dict[str, str]:
        """What tells a program of ours to use this stack."""
        return {f"MAILER_{key.upper()}": value for key, value in self.settings.items()}

    @property
    def announcement(self) -> dict[str, str | int]:
        """What other commands should know about it."""
        urls = {"inbox_url": self.inbox_url, "flower_url": self.flower_url}
        return {**self.settings, **urls, "pid": os.getpid()}

    def check(self) -> None:
        """Raises UnavailableError when one of the processes ended by itself."""
        for child in self._children:
            if child.returncode is not None:
                raise UnavailableError(f"{child.name} ended by itself: {child.last_words}")

    def wait(self) -> None:
        """Go on until a signal comes or a process ends by itself, which is an error."""
        while True:
            self.check()
            time.sleep(0.2)

    def _start_servers(self) -> None:
        postgres = Postgres(
            self._folder / "postgres", durable=self._durable, on_line=self._line("postgres")
        )
        redis = Redis(self._folder / "redis", on_line=self._line("redis"))
        for server in (postgres, redis):
            self._ends.enter_context(server)
            self._children += [server.child] if server.child else []
        migrate(postgres.url)
        state = self._folder / "state"
        state.mkdir(exist_ok=True)
        self.settings = {
            "database_url": postgres.url,
            "broker_url": redis.url,
            "redis_url": redis.url,
            "state_dir": str(state),
        }

    def _start_catcher(self) -> None:
        smtp, http = free_port(SMTP_PORT), free_port(INBOX_PORT)
        catcher = self._run(
            "catcher",
            "mailer.embedded.catcher",
            f"--smtp-port={smtp}",
            f"--http-port={http}",
        )
        self._ends.callback(catcher.stop)
        wait_until(lambda: listens(smtp) and listens(http), catcher, "the catcher")
        self.inbox_url = f"http://127.0.0.1:{http}"
        self.settings["config"] = str(self._config or self._write_config(smtp))

    def _write_config(self, smtp: int) -> Path:
        config = self._folder / "mailer.toml"
        config.write_text(
            "# Made by mailer: used while there is no mailer.toml of your own.\n"
            f'[providers.catcher]\nhost = "127.0.0.1"\nport = {smtp}\ntls = "none"\n',
            encoding="utf-8",
        )
        return config

    def _start_programs(self) -> None:
        port = free_port(FLOWER_PORT)
        beat_file = f"--schedule={self._folder / 'beat'}"
        self._ends.callback(self._stop_programs)
        worker = self._celery("worker", "workers", "worker", "-E", "--loglevel=INFO")
        self._celery("beat", "scheduler", "beat", "--loglevel=INFO", beat_file)
        flower = self._celery(
            "flower", "workers", "flower", "--address=127.0.0.1", f"--port={port}"
        )
        wait_until(self._worker_answers, worker, "the worker")
        wait_until(lambda: listens(port), flower, "Flower")
        self.flower_url = f"http://127.0.0.1:{port}"

    def _worker_answers(self) -> bool:
        with make_app("stack", Settings.load(self.environment)) as app:
            return bool(app.control.ping(timeout=0.5, limit=1))

    def _celery(self, name: str, app: str, *arguments: str) -> Child:
        child = self._run(name, "celery", "-A", app, *arguments)
        self._programs.append(child)
        return child

    def _run(self, name: str, module: str, *arguments: str) -> Child:
        child = Child(
            name,
            [sys.executable, "-m", module, *arguments],
            environment={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
            grace=_WORKER_GRACE,
            on_line=self._line(name),
        )
        self._children.append(child)
        return child

    def _stop_programs(self) -> None:
        for child in self._programs:
            child.ask_to_stop()  # all at once: each may take a while
        for child in self._programs:
            child.stop()

    def _line(self, name: str) -> Callable[[str], None]:
        return lambda line: self._log(name, line)


@contextmanager
def until_stopped() -> Iterator[None]:
    """Ends its block, quietly, at Ctrl-C, SIGTERM or a closed terminal.

    The first of these stops everything in good order; further ones are ignored meanwhile.
    """

    def stop(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_up() -> int:
    """Run a stack for the working directory until it is stopped.

    Raises:
        SettingsError: the user's own mailer.toml has a mistake.
        UnavailableError: a part did not start, or ended by itself.
        ConflictError: one runs here already.
    """
    here = Path.cwd()
    Settings.load()  # so that a mistake is told before anything starts
    with until_stopped(), Announcement(here) as announcement:
        folder = data_folder(here)
        console = Console()
        console.write("mailer", f"data in {folder}")
        with Stack(folder, config=_own_config(here), log=console.write) as stack:
            if not announcement.publish(stack.announcement):
                console.write("mailer", "this folder is read-only: commands here do not find us")
            for what, url in (("Flower", stack.flower_url), ("inbox", stack.inbox_url)):
                console.write("mailer", f"{what}: {url}")
            console.write("mailer", "ready: Ctrl-C stops everything")
            stack.wait()
        console.write("mailer", "stopped")
    return 0


def _own_config(folder: Path) -> Path | None:
    named = os.environ.get("MAILER_CONFIG")
    path = Path(named) if named else folder / "mailer.toml"
    return path.absolute() if named or path.is_file() else None
