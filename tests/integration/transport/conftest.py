"""A worker as a process, a broker of its own, and a second Redis for what the worker did."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from mailer.broker import Hint, Publisher, make_app
from mailer.embedded.servers import Redis
from mailer.settings import Settings

PATIENCE = 60.0  # a start alone takes ten seconds on two cores with much else to do


def until(reached: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)
    return found


@dataclass
class Bench:
    """A broker, what was noted, and one worker."""

    url: str
    notes: Any
    environment: dict[str, str]
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @cached_property
    def app(self) -> Celery:
        """An application as producers have it."""
        return make_app("producer", Settings(broker_url=self.url))

    def publish(self, count: int, *, urgent: bool = False, provider: str = "main") -> list[str]:
        """Publish hints; their ids."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        hints = [Hint(id_, provider, "example.com") for id_ in ids]
        Publisher(self.app).publish(hints, urgent=urgent)
        return ids

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker and return once it answers."""
        command = [sys.executable, "-m", "celery", "-A", "tests.integration.transport.noting"]
        command += ["worker", "-l", "WARNING", *options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.processes.append(process)
        until(lambda: self.app.control.ping(timeout=0.3))
        return process

    def ran(self) -> list[str]:
        """The ids in the order in which they ran."""
        return [id_.decode() for id_ in self.notes.lrange("ran", 0, -1)]

    def batches(self) -> list[int]:
        """The sizes of the batches."""
        return [int(size) for size in self.notes.lrange("batches", 0, -1)]

    def hold(self) -> None:
        """Batches do not end until ``let_go``."""
        self.notes.set("gate", 1)

    def let_go(self) -> None:
        """Batches end."""
        self.notes.delete("gate")

    def ask(self, question: str) -> Any:
        """The only worker's answer to ``inspect``, over a connection of its own."""
        with self.app.connection_for_write() as connection:
            inspect = self.app.control.inspect(timeout=1, connection=connection)
            answers: dict[str, Any] = until(lambda: getattr(inspect, question)())
        return next(iter(answers.values()))


def make_bench(url: str, notes_url: str, folder: Path, transport: str) -> Iterator[Bench]:
    environment = os.environ | {
        "MAILER_CONFIG": os.devnull,
        "MAILER_BROKER_URL": url,
        "MAILER_DATABASE_URL": "postgresql:///?host=/nowhere",
        "MAILER_STATE_DIR": str(folder / "state"),
        "MAILER_STOCK_TRANSPORT": "true" if transport == "stock" else "false",
        "NOTES_URL": notes_url,
    }
    with redis.Redis.from_url(notes_url) as notes:
        notes.flushdb()
        bench = Bench(url, notes, environment, folder / "worker.log")
        yield bench
        bench.let_go()
    for process in bench.processes:
        process.send_signal(signal.SIGTERM)
    for process in bench.processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@pytest.fixture(params=["ours", "stock"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each test runs over our transport and over Kombu's."""
    return str(request.param)


@pytest.fixture
def bench(broker_url: str, tmp_path: Path, transport: str) -> Iterator[Bench]:
    """A worker's surroundings; its broker is shared with nobody during the test."""
    yield from make_bench(broker_url, broker_url.removesuffix("/0") + "/1", tmp_path, transport)


@pytest.fixture
def own_redis(server_folder: Path) -> Iterator[Redis]:
    """A Redis to be ended and begun again."""
    with Redis(server_folder / f"redis-{uuid.uuid4().hex}") as server:
        yield server


def ids_of(requests: Sequence[dict[str, Any]]) -> set[str]:
    """The ids in an answer to ``inspect active`` or ``reserved``."""
    return {request["id"] for request in requests}
