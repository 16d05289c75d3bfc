"""What one worker process keeps: its connections, its event loop, its SMTP pools, its name.

Made at the first batch, so after the fork: nothing of it is shared between processes.
"""

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import uvloop

from mailer import liveness
from mailer.campaigns.content import load_message
from mailer.db import Database
from mailer.errors import UnavailableError
from mailer.limits import Limiter
from mailer.press import Press
from mailer.providers import Destinations, server
from mailer.render import Compiled, compile_message
from mailer.settings import Settings
from mailer.smtp import Pool, Transaction, Verdict
from workers.journal import Journal, Observer
from workers.replay import replay

# Campaigns whose compiled message is kept; one with a large shared attachment holds it in memory.
COMPILED = 32
CLOSING = 5.0  # seconds for QUIT on all connections at the end


class Runtime:
    """One process's share of the work. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = uuid.uuid4()
        self.database = Database(settings.database)
        self.limiter = Limiter(settings)
        self.destinations = Destinations(settings)
        self.press = Press(settings)
        self.compiled = lru_cache(maxsize=COMPILED)(self._compile)
        self.journal = Journal(settings.state_dir, self.id)
        self._loop = uvloop.new_event_loop()
        self._pools: dict[str, Pool] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True).start()
        self._show_life()
        threading.Thread(target=self._beat, name="liveness", daemon=True).start()

    @property
    def name(self) -> str:
        """For people: the host and the process."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def ended(self) -> bool:
        """Whether the process is about to exit."""
        return self._ended.is_set()

    def send(self, provider: str, transactions: Sequence[Transaction]) -> list[Verdict]:
        """Send over the provider's pooled connections; a verdict for each, in their order."""
        pool = self._pool(provider)
        return asyncio.run_coroutine_threadsafe(pool.send(transactions), self._loop).result()

    def close(self) -> None:
        """Say QUIT and sign off."""
        self._ended.set()
        for pool in self._pools.values():
            asyncio.run_coroutine_threadsafe(pool.close(CLOSING), self._loop).result(CLOSING + 1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.journal.close()
        with suppress(UnavailableError):  # else the janitor sees that the beats have ended
            liveness.leave(self.database, self.id)
        self.database.close()

    def _compile(self, digest: bytes) -> Compiled:
        with self.database.begin() as connection:
            return compile_message(load_message(connection, digest))

    def _pool(self, provider: str) -> Pool:
        with self._lock:
            if provider not in self._pools:
                settings = self.settings.providers[provider]
                self._pools[provider] = Pool(
                    server(settings),
                    connections=settings.connections,
                    messages_per_connection=settings.messages_per_connection,
                    observer=Observer(),
                )
            return self._pools[provider]

    def _beat(self) -> None:
        while not self._ended.wait(liveness.BEAT):
            with suppress(UnavailableError):  # the next beat may get through
                self._show_life()

    def _show_life(self) -> None:
        liveness.beat(self.database, self.id, self.name)
        replay(self.database, self.settings)


_current: Runtime | None = None
_creating = threading.Lock()


def current() -> Runtime:
    """The runtime of this process.

    Raises:
        UnavailableError: the ledger cannot be reached.
    """
    global _current
    with _creating:
        if _current is None:
            _current = Runtime(Settings.load())
        return _current


def close() -> None:
    """End this process's runtime, if it has one."""
    if _current is not None:
        _current.close()
