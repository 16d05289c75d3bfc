"""What one worker process keeps: its connections, its event loop, its SMTP pools, its name.

Made at the first batch, so after the fork: nothing of it is shared between processes.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

import uvloop

from mailer import deliveries, liveness
from mailer.campaigns.content import load_message
from mailer.db import Database, keep_trying
from mailer.errors import UnavailableError
from mailer.limits import Limiter
from mailer.message import Message
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
GRACE = 15.0  # seconds for what is on the wire when the worker is asked to end
FINISH = signal.SIGUSR2  # from the worker to its processes; Celery uses TERM, INT, QUIT and USR1

logger = logging.getLogger(__name__)


class Runtime:
    """One process's share of the work. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = uuid.uuid4()
        self.database = Database(settings.database)
        liveness.beat(self.database, self.id, self.name)  # first: without a ledger nothing is left
        self.limiter = Limiter(settings)
        self.destinations = Destinations(settings)
        self.press = Press(settings)
        self.compiled = lru_cache(maxsize=COMPILED)(self._compile)
        self.journal = Journal(settings.state_dir, self.id)
        self._loop = uvloop.new_event_loop()
        self._pools: dict[str, Pool] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True).start()
        threading.Thread(target=self._beat, name="liveness", daemon=True).start()

    @property
    def name(self) -> str:
        """For people: the host and the process."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @contextmanager
    def hold(self, ids: Sequence[str]) -> Iterator[list[str]]:
        """Those of the ids that no other batch of this process has in its hands, until the end.

        A hint can come twice. When the second batch does not hear whether its claim was committed
        and takes it back, it must not take back what the first one is sending.
        """
        with self._lock:
            mine = [id_ for id_ in ids if id_ not in self._held]
            self._held.update(mine)
        try:
            yield mine
        finally:
            with self._lock:
                self._held.difference_update(mine)

    def send(self, provider: str, transactions: Sequence[Transaction]) -> list[Verdict]:
        """Send over the provider's pooled connections; a verdict for each, in their order."""
        pool = self._pool(provider)
        return asyncio.run_coroutine_threadsafe(pool.send(transactions), self._loop).result()

    def finish(self, grace: float) -> None:
        """Put nothing more on the wire, and cut what is not answered after ``grace`` seconds."""
        for pool in list(self._pools.values()):
            asyncio.run_coroutine_threadsafe(pool.close(grace), self._loop)

    def close(self) -> None:
        """Say QUIT and sign off. What could not be recorded is left to the next worker's replay."""
        self._ended.set()
        for pool in self._pools.values():
            asyncio.run_coroutine_threadsafe(pool.close(CLOSING), self._loop).result(CLOSING + 1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        keep = True
        with suppress(UnavailableError):
            if self.journal.clean:
                deliveries.release_rest(self.database, self.id)
                liveness.leave(self.database, self.id)
                keep = False
        self.journal.close(keep=keep)
        self.database.close()

    def _compile(self, digest: bytes) -> Compiled:
        return compile_message(keep_trying(lambda: self._load(digest), stop=out_of_time))

    def _load(self, digest: bytes) -> Message:
        with self.database.begin() as connection:
            return load_message(connection, digest)

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
        """Show life and look for the dead, from the first moment on."""
        while not self._ended.is_set():
            try:
                liveness.beat(self.database, self.id, self.name)
                replay(self.database, self.settings)
            except UnavailableError:
                pass  # the next beat may get through
            except Exception:
                logger.exception("a dead worker's journal could not be replayed")
            self._ended.wait(liveness.BEAT)


_current: Runtime | None = None
_creating = threading.Lock()
_deadline: float | None = None


def finishing() -> bool:
    """Whether this process is to end."""
    return _deadline is not None


def out_of_time() -> bool:
    """Whether this process is to end so soon that nothing can be waited for."""
    return _deadline is not None and time.monotonic() > _deadline


def finish() -> None:
    """End soon: what is on the wire may end, the rest is given back. A second call: at once."""
    global _deadline
    grace = GRACE if _deadline is None else 0.0
    _deadline = time.monotonic() + grace
    if _current is not None:
        _current.finish(grace)


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
