"""An installation of real processes for the end-to-end tests, and the ways to look at it."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from mailer import Campaign, Mailer, Message, Settings
from mailer.broker import make_app
from mailer.embedded.catcher import Catcher, Stage, accept
from mailer.embedded.process import Child, free_port, listens

T = TypeVar("T")
_numbers = itertools.count(1)

MESSAGE = Message(
    sender="News <news@example.com>", subject="Hello {{ name }}", text="Dear {{ name }}, hello.\n"
)


def eventually(condition: Callable[[], T], timeout: float = 30, what: str = "") -> T:
    """Wait until ``condition()`` is true and return what it gave."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what or condition}"
        time.sleep(0.02)
    return result


def stays(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    """Whether ``condition()`` holds all the time for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.02)
    return True


def people(count: int, domain: str = "example.com") -> list[dict[str, str]]:
    """Recipients that no other test has."""
    test = next(_numbers)
    return [
        {"email": f"p{test}-{number}@{domain}", "name": f"P. {number}"} for number in range(count)
    ]


def addresses(recipients: Iterable[Mapping[str, str]]) -> list[str]:
    """Their addresses, in their order."""
    return [recipient["email"] for recipient in recipients]


def children(pid: int) -> list[int]:
    """The processes that a process started (Linux)."""
    with suppress(OSError):
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Gate:
    """A script for the catcher that lets nothing pass until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def __call__(self, stage: Stage, address: str) -> None:
        self._open.wait(60)

    def open(self) -> None:
        """Let everything pass from now on."""
        self._open.set()


@contextmanager
def gate(catcher: Catcher) -> Iterator[Gate]:
    """A closed gate before the catcher; open at the end, whatever happens."""
    closed = Gate()
    catcher.script = closed
    try:
        yield closed
    finally:
        closed.open()
        catcher.script = accept


class Process:
    """One Celery program. What it prints is kept for the report of a failure."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._child = Child(
            name,
            [sys.executable, "-m", "celery", *arguments],
            environment={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            grace=20,
            on_line=self.lines.append,
        )

    @property
    def pids(self) -> list[int]:
        """The program's process id, while it runs."""
        return children(self._child.guard_pid)

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""
        return self._child.returncode

    def end(self) -> None:
        """Ask it to end with SIGTERM, and see that it does so in order."""
        self._child.stop()
        assert self.returncode == 0, f"{self.name} ended with {self.returncode}"
        assert not [line for line in self.lines if "Traceback" in line], f"{self.name} raised"

    def wait(self, timeout: float = 30) -> int:
        """Wait until it has ended by itself or by a signal; its exit code."""
        eventually(lambda: self.returncode is not None, timeout, f"the end of {self.name}")
        self._child.stop()
        return self.returncode or 0

    def stop(self) -> None:
        """End it, however it does."""
        self._child.stop()


class System:
    """A ledger, a broker, a catcher, settings, and the processes that use them.

    Args:
        folder: for settings and state.
        config: more lines for ``mailer.toml``; ``main`` and ``limited`` (20/s) are there.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        broker: str,
        catcher: Catcher,
        *,
        redis: str | None = None,
        config: str = "",
        attempts: int = 3,
    ) -> None:
        self.folder = folder
        self.catcher = catcher
        self.processes: list[Process] = []
        self._ends = ExitStack()
        self._write_settings(config, attempts)
        self.environment = {
            "MAILER_CONFIG": str(folder / "mailer.toml"),
            "MAILER_DATABASE_URL": database,
            "MAILER_BROKER_URL": broker,
            "MAILER_REDIS_URL": redis or broker,
            "MAILER_STATE_DIR": str(folder / "state"),
        }

    def _write_settings(self, config: str, attempts: int) -> None:
        (self.folder / "files").mkdir()
        server = f'host = "127.0.0.1"\nport = {self.catcher.port}\ntls = "none"\nconnections = 4\n'
        (self.folder / "mailer.toml").write_text(
            f'attachments_dir = "{self.folder / "files"}"\n'
            f"[providers.main]\n{server}"
            f'[providers.limited]\n{server}limits = ["20/s"]\n'
            f"[retry]\nfirst = 0.2\nlongest = 0.5\nattempts = {attempts}\n{config}"
        )

    def __enter__(self) -> Self:
        with self._ends:
            settings = Settings.load({**os.environ, **self.environment})
            self.mailer = self._ends.enter_context(Mailer(settings))
            self.app = self._ends.enter_context(make_app("test", settings))
            self._ends = self._ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.stop()
        self._ends.close()

    # Processes

    def worker(self, name: str, *options: str) -> Process:
        """Start a worker, and wait until it answers."""
        node = f"{name}@e2e"
        arguments = ["-A", "workers", "worker", "-n", node, "-E", "--loglevel=INFO", *options]
        process = self.start(f"worker {name}", arguments)
        self._await(process, lambda: bool(self.inspect(name, "ping")))
        return process

    def beat(self) -> Process:
        """Start a beat."""
        process = self.start("beat", ["-A", "scheduler", "beat", "--loglevel=INFO"])
        self._await(process, lambda: any("beat: Starting" in line for line in process.lines))
        return process

    def flower(self) -> tuple[Process, str]:
        """Start Flower, and wait until it listens. Returns its address as well."""
        port = free_port()
        arguments = ["-A", "workers", "flower", "--address=127.0.0.1", f"--port={port}"]
        process = self.start("flower", arguments, FLOWER_UNAUTHENTICATED_API="true")
        self._await(process, lambda: listens(port))
        return process, f"http://127.0.0.1:{port}"

    def start(self, name: str, arguments: list[str], **environment: str) -> Process:
        process = Process(name, arguments, {**self.environment, **environment})
        self.processes.append(process)
        return process

    def _await(self, process: Process, ready: Callable[[], bool]) -> None:
        eventually(
            lambda: process.returncode is not None or ready(), 60, f"the start of {process.name}"
        )
        assert process.returncode is None, f"{process.name} did not start: {process.lines[-5:]}"

    def inspect(self, worker: str, method: str) -> Any:
        """A worker's answer to ``inspect METHOD``; None when it gives none."""
        node = f"{worker}@e2e"
        inspect = self.app.control.inspect([node], timeout=5, limit=1)
        return (getattr(inspect, method)() or {}).get(node)

    def pids(self, worker: str) -> tuple[int, list[int]]:
        """A worker's process id, and those of its pool."""
        stats = self.inspect(worker, "stats")
        return stats["pid"], stats["pool"]["processes"]

    def kill(self, worker: str) -> None:
        """``kill -9`` of a worker with its pool, as the kernel does when memory runs out."""
        os.killpg(self.pids(worker)[0], signal.SIGKILL)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line of mailer."""
        return subprocess.run(
            [str(Path(sys.executable).with_name("mailer")), *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # Campaigns

    def campaign(self, recipients: Iterable[Mapping[str, object]], **options: Any) -> Campaign:
        """Create one, not started."""
        values = {"name": "test", "message": MESSAGE, "provider": "main"} | options
        return self.mailer.campaigns.create(recipients=recipients, **values)

    def send(self, recipients: Iterable[Mapping[str, object]], **options: Any) -> Campaign:
        """Create one and start it."""
        campaign = self.campaign(recipients, **options)
        campaign.start()
        return campaign

    def arrived(self, recipients: Iterable[Mapping[str, str]]) -> Counter[str]:
        """How many messages each of them got; nobody who got none."""
        counts = self.catcher.store.recipients()
        return Counter({a: counts[a] for a in addresses(recipients) if a in counts})

    def each_got_one(self, recipients: Iterable[Mapping[str, str]]) -> bool:
        """Whether all of them got exactly one message."""
        wanted = addresses(recipients)
        counts = self.catcher.store.recipients()
        return all(counts.get(address) == 1 for address in wanted)
