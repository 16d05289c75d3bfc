"""One client each, run in a process of its own: ``python -m tests.bench.smtp.drivers NAME PORT N``.

Prints one line of JSON: seconds and CPU seconds from the first connection to the last reply.
"""

import asyncio
import json
import os
import smtplib
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from mailer.smtp import Kind, Pool, Server, Timeouts, Transaction

SENDER, RECIPIENT = "sender@example.com", "to@example.net"
SIZE = 2048
_TEXT = b"All work and no play makes a very dull benchmark, says the sink.\r\n"
MESSAGE = (b"Subject: bench\r\nFrom: sender@example.com\r\n\r\n" + _TEXT * 40)[: SIZE - 2] + b"\r\n"
BATCH = 500  # as a worker would hand them over


def resident() -> int:
    """Octets of memory in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _send_all(pool: Pool, count: int, after: Callable[[int], None]) -> None:
    """Two batches at a time, so that the pool never runs dry."""
    numbers = iter(range(0, count, BATCH))

    async def feed() -> None:
        for start in numbers:
            size = min(BATCH, count - start)
            batch = [
                Transaction(start + number, SENDER, (RECIPIENT,), MESSAGE) for number in range(size)
            ]
            verdicts = await pool.send(batch)
            assert all(verdict.kind is Kind.DELIVERED for verdict in verdicts), verdicts[0]
            after(start + size)

    await asyncio.gather(feed(), feed())


def ours(port: int, count: int, connections: int = 10, flight: int = 1) -> dict[str, float]:
    """This project's pool on uvloop."""
    memory: dict[str, float] = {}

    def after(sent: int) -> None:
        if sent == 1000:
            memory["first_1000"] = resident()
        memory["last"] = resident()

    async def run() -> None:
        server = Server("127.0.0.1", port, tls="none", flight=flight, timeouts=Timeouts(dot=60))
        pool = Pool(server, connections=connections, messages_per_connection=count)
        await _send_all(pool, count, after)
        await pool.close(10)

    uvloop.run(run())
    return memory


def smtplib_threads(port: int, count: int, threads: int = 10) -> None:
    """The standard library, a connection for each thread."""

    def run() -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for _ in range(count // threads):
                client.sendmail(SENDER, [RECIPIENT], MESSAGE)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def aiosmtplib_tasks(port: int, count: int, tasks: int = 10) -> None:
    """aiosmtplib, a connection for each task, on uvloop too."""
    import aiosmtplib  # type: ignore[import-not-found,unused-ignore]

    async def run() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        async with client:
            for _ in range(count // tasks):
                await client.sendmail(SENDER, [RECIPIENT], MESSAGE)

    async def every() -> None:
        runs: list[Awaitable[None]] = [run() for _ in range(tasks)]
        await asyncio.gather(*runs)

    uvloop.run(every())


DRIVERS: dict[str, Callable[[int, int], object]] = {
    "ours": ours,
    "ours-1": lambda port, count: ours(port, count, connections=1),
    "ours-1-flights": lambda port, count: ours(port, count, connections=1, flight=20),
    "smtplib": smtplib_threads,
    "smtplib-1": lambda port, count: smtplib_threads(port, count, threads=1),
    "aiosmtplib": aiosmtplib_tasks,
}


def main() -> None:
    name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    started, cpu = time.perf_counter(), time.process_time()
    extra = DRIVERS[name](port, count)
    result = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    print(json.dumps(result | (extra if isinstance(extra, dict) else {})))


if __name__ == "__main__":
    main()
