"""Child processes that end with us, and the free ports they listen on."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self, cast

from mailer.errors import UnavailableError

_GUARD = Path(__file__).with_name("guard.py")


class Child:
    """A process under a guard (see ``guard.py``): it ends when ``stop`` is called or we end.

    Args:
        name: how it is called in messages.
        command: program and arguments; no shell.
        stop: the signal that asks it to end.
        grace: seconds it may take to end before it is killed.
        user: run as this account instead of ours; needs root.
        on_line: called with every line it prints, from a thread of its own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
        grace: float = 5,
        user: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.grace = grace
        self._on_line = on_line
        self._last_line = ""
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(int(stop)), str(grace), user or "-"]
        self._guard = subprocess.Popen(  # noqa: S603 - no shell
            [*guard, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self._lifeline = cast("IO[bytes]", self._guard.stdin)
        self._output = cast("IO[bytes]", self._guard.stdout)
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._output:
            for raw in self._output:
                line = raw.decode(errors="replace").rstrip()
                self._last_line = line.strip() or self._last_line
                if self._on_line is not None:
                    self._on_line(line)

    @property
    def guard_pid(self) -> int:
        """The process id of its guard, whose only child it is."""
        return self._guard.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, 128 + N after a signal N; None while it runs."""
        return self._guard.poll()

    @property
    def last_words(self) -> str:
        """Why it ended: the last line it printed, else its exit code."""
        self._reader.join(timeout=1)
        return self._last_line or f"exit code {self.returncode}"

    def ask_to_stop(self) -> None:
        """Begin its end without waiting, so that several can end at once."""
        self._lifeline.close()

    def stop(self) -> None:
        """End it and wait until it is gone; harmless when it ended by itself."""
        self.ask_to_stop()
        self._guard.wait(self.grace + 5)
        self._reader.join(timeout=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_until(ready: Callable[[], bool], child: Child, what: str, timeout: float = 30) -> None:
    """Wait until ``ready()``.

    Raises:
        UnavailableError: the child died first, or ``timeout`` seconds passed.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if child.returncode is not None:
            raise UnavailableError(f"{what} did not start: {child.last_words}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"{what} did not start within {timeout:g} seconds")
        time.sleep(0.01)


def free_port(preferred: int = 0, host: str = "127.0.0.1") -> int:
    """``preferred`` when nothing listens there, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError(f"no free port on {host}")


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
