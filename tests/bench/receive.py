"""What receiving a hint costs the worker's parent process: ``python -m tests.bench.receive``.

Publishes hints, starts a real worker whose batches do nothing, and reads from ``/proc`` the CPU
time that the worker's parent spent between the first and the last of them.
"""

import argparse
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import redis

from mailer.broker import BULK, Hint, Publisher, make_app
from mailer.embedded.servers import Redis
from mailer.settings import Settings

HINTS = 100_000


def publish(url: str, hints: int) -> float:
    """Microseconds of CPU for one hint."""
    publisher = Publisher(make_app("bench", Settings(broker_url=url)))
    rows = [Hint(str(uuid.uuid4()), "main", "example.com") for _ in range(hints)]
    publisher.check()
    before = time.process_time()
    publisher.publish(rows, urgent=False)
    return (time.process_time() - before) / hints * 1e6


def receive(url: str, hints: int, options: list[str]) -> tuple[float, float]:
    """Microseconds of CPU of the worker's parent for one hint, and hints a second."""
    with redis.Redis.from_url(url) as client:
        worker = start(url, options)
        try:
            process = psutil.Process(worker.pid)
            wait(lambda: client.llen(BULK) < hints)
            used, began = cpu(process), time.monotonic()
            first = client.llen(BULK)
            wait(lambda: client.llen(BULK) == 0)
            seconds = time.monotonic() - began
            return (cpu(process) - used) / first * 1e6, first / seconds
        finally:
            worker.terminate()
            worker.wait(30)


def start(url: str, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.idle", "worker", "-l", "WARNING"]
    environment = os.environ | {"MAILER_BROKER_URL": url, "MAILER_DATABASE_URL": "postgresql://x"}
    return subprocess.Popen([*command, *options], env=environment)


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def wait(reached: "object", timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not reached():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("the worker takes up nothing")
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", help="URL of an empty Redis; default: an embedded one")
    parser.add_argument("--hints", type=int, default=HINTS)
    parser.add_argument("options", nargs="*", help="options for the worker, after --")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = None if given.redis else Redis(Path(folder)).start()
        try:
            url = given.redis or server.url
            cost = publish(url, given.hints)
            print(f"publish  {cost:6.1f} us a hint  {1e6 / cost:8.0f} a second of one core")
            cost, rate = receive(url, given.hints, given.options or ["-c", "2"])
            print(f"receive  {cost:6.1f} us a hint  {rate:8.0f} a second as run")
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
