"""Processes and measurements of the whole path, on servers of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from mailer.db import migrate
from mailer.embedded.servers import Postgres, Redis

DEADLINE = 600.0  # seconds that one run may take


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses that a run talks to."""

    database: str
    redis: str
    smtp_port: int
    folder: Path


@contextmanager
def servers() -> Iterator[Servers]:
    """Postgres with fsync on, Redis and a sink in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Postgres(folder / "postgres") as postgres, Redis(folder / "redis") as redis:
            migrate(postgres.url)
            with process([sys.executable, "-m", "tests.bench.path.sink"], {}, folder) as sink:
                port = int((sink.stdout or sys.stdin).readline())
                yield Servers(postgres.url, redis.url, port, folder)


@contextmanager
def process(
    command: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """A child that is ended with the block, and its children with it."""
    with (folder / "log.txt").open("a") as log:
        child = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


@dataclass(slots=True)
class Course:
    """How a run went: (seconds since its first message, messages done) twice a second."""

    points: list[tuple[float, int]]
    cpu_us: float  # microseconds of CPU of all processes for each message

    @property
    def rate(self) -> float:
        """Messages a second from the first seen to the last."""
        (start, first), (end, last) = self.points[0], self.points[-1]
        return (last - first) / (end - start)


def follow(count: int, done: Callable[[], int]) -> Course:
    """Watch until ``count`` messages are done."""
    deadline = time.monotonic() + DEADLINE
    while (now := done()) == 0:
        _check(deadline)
    start, used = time.monotonic(), _cpu()
    points = [(0.0, now)]
    while now < count:
        _check(deadline, wait=0.05 if count - now < 5000 else 0.25)
        now = done()
        points.append((time.monotonic() - start, now))
    return Course(points, (_cpu() - used) / (now - points[0][1]) * 1e6)


def _check(deadline: float, wait: float = 0.05) -> None:
    if time.monotonic() > deadline:
        raise SystemExit(f"not done after {DEADLINE:g} s")
    time.sleep(wait)


def _cpu() -> float:
    """Seconds of CPU of this process and of all below it, the dead ones' included."""
    total = 0.0
    for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = one.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total
