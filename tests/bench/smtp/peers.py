"""The servers to send to and the clients to compare with; what is missing says why."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from tests.smtp import real

from .drivers import MESSAGE, RECIPIENT, SENDER, SIZE

PYTHON_PEERS = Path("build/python-peers").absolute()
NODE = Path("build/node").absolute()


class MissingError(Exception):
    """A peer that this machine cannot run, and why."""


def libraries() -> dict[str, str]:
    folders = sorted({str(path.parent) for path in real.ROOT.rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}


def program(name: str) -> str:
    path = real.ROOT / "usr/sbin" / name
    if not path.exists():
        raise MissingError(f"no {name}: run tests/smtp/servers.sh")
    return str(path)


@contextmanager
def sink() -> Iterator[int]:
    """Postfix's smtp-sink, which throws everything away."""
    port = real.free_ports(1)[0]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command: list[str | Path] = [program("smtp-sink"), *user, f"127.0.0.1:{port}", "1000"]
    with real.running(command, libraries(), port, Path(os.devnull)):
        yield port


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A port in front of another, ``seconds`` away in each direction."""
    loop = asyncio.new_event_loop()
    ready: list[int] = []

    async def listen() -> None:
        server = await loop.create_server(lambda: _Far(port, seconds), "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])

    def run() -> None:
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not ready:
        time.sleep(0.01)
    yield ready[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


class _Near(asyncio.Protocol):
    """The proxy's side towards the server."""

    def __init__(self, far: "_Far") -> None:
        self.far = far

    def data_received(self, data: bytes) -> None:
        self.far.later(self.far.transport.write, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.far.later(self.far.transport.close)


class _Far(asyncio.Protocol):
    """The proxy's side towards the client."""

    transport: asyncio.Transport

    def __init__(self, port: int, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.later = partial(self._loop.call_later, seconds)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        connect = self._loop.create_connection(lambda: _Near(self), "127.0.0.1", self._port)
        self._near = self._loop.create_task(connect)

    def data_received(self, data: bytes) -> None:
        self.later(self._forward, data)

    def _forward(self, data: bytes) -> None:
        self._near.result()[0].write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._near.done():
            self.later(self._near.result()[0].close)


# Clients


def python(name: str, port: int, count: int) -> dict[str, float]:
    """One of the drivers, in a process of its own."""
    if name == "aiosmtplib":
        install_aiosmtplib()
    path = os.pathsep.join([str(PYTHON_PEERS), str(Path.cwd())])
    command = [sys.executable, "-m", "tests.bench.smtp.drivers", name, str(port), str(count)]
    return _run(command, {**os.environ, "PYTHONPATH": path})


def nodemailer(port: int, count: int) -> dict[str, float]:
    install_nodemailer()
    script = Path(__file__).with_name("nodemailer.mjs")
    environment = {**os.environ, "NODEMAILER": str(NODE / "package.json")}
    return _run(["node", str(script), str(port), str(count), "10"], environment, MESSAGE)


def smtp_source(port: int, count: int) -> dict[str, float]:
    """Postfix's own load generator, in C: ten connections kept open."""
    command = [
        program("smtp-source"), "-d", "-s", "10", "-l", str(SIZE), "-m", str(count),
        "-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}",
    ]  # fmt: skip
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, env=libraries(), check=True, timeout=300)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system
    return {
        "seconds": seconds,
        "cpu": cpu - before.children_user - before.children_system,
    }


def _run(command: list[str], env: dict[str, str], given: bytes = b"") -> dict[str, float]:
    done = subprocess.run(command, env=env, input=given, capture_output=True, timeout=300)
    if done.returncode:
        raise MissingError(done.stderr.decode().strip().rpartition("\n")[2])
    result: dict[str, float] = json.loads(done.stdout)
    return result


@cache
def install_aiosmtplib() -> None:
    if not (PYTHON_PEERS / "aiosmtplib").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        _install([*pip, str(PYTHON_PEERS), "aiosmtplib"])


@cache
def install_nodemailer() -> None:
    if not (NODE / "node_modules/nodemailer").exists():
        NODE.mkdir(parents=True, exist_ok=True)
        (NODE / "package.json").write_text("{}")
        _install(["npm", "install", "--silent", "--prefix", str(NODE), "nodemailer"])


def _install(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"{command[-1]} cannot be installed: {error}") from error
