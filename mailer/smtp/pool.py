"""A pool of connections to one server, shared by everybody who sends there."""

import asyncio
import ssl
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from . import tls
from .capabilities import Capabilities
from .connection import Connection
from .dial import dial
from .errors import ConnectError, SmtpError
from .model import Kind, Lease, NoLease, NoObserver, Observer, Phase, Transaction, Verdict
from .pool_plan import Backoff, Limits, Queue, for_waiting
from .server import Server
from .transcript import Transcript
from .work import Work

CHECK_AFTER = 10.0  # seconds idle after which a connection is asked for a sign of life
LEASE_IDLE = 1.0  # seconds after which an idle connection hands its share to other processes
LEASE_RETRY = 0.25  # seconds between attempts to get a share of the connections
LEASE_PATIENCE = 10.0  # seconds without any connection after which waiting work is sent back


class Batch:
    """The transactions of one call of ``send``."""

    __slots__ = ("done", "left", "verdicts")

    def __init__(self, size: int, done: asyncio.Future[None]) -> None:
        self.verdicts: list[Verdict | None] = [None] * size
        self.left = size
        self.done = done


class Job(Work):
    """Work that knows its place in a batch and in the queue."""

    __slots__ = ("batch", "group", "index")

    def __init__(self, transaction: Transaction, batch: Batch, index: int, group: Hashable) -> None:
        super().__init__(transaction)
        self.batch = batch
        self.index = index
        self.group = group


@dataclass(frozen=True, slots=True)
class Stats:
    """Connections open and being opened, work in waiting, and verdicts since the start."""

    connections: int
    opening: int
    waiting: int
    delivered: int
    refused: int
    later: int
    in_doubt: int


class Pool:
    """At most ``connections`` to ``server``, opened on demand, by one event loop.

    ``lease`` shares a limit with other processes, ``observer`` hears of every message before its
    end is sent and after the reply.
    """

    def __init__(
        self,
        server: Server,
        *,
        connections: int = 10,
        messages_per_connection: int = 100,
        idle: float = 60.0,
        age: float = 1800.0,
        lease: Lease | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._server = server
        idle = idle if lease is None else min(idle, LEASE_IDLE)
        self._limits = Limits(connections, messages_per_connection, idle, age)
        self._lease = lease or NoLease()
        self._observer = observer or NoObserver()
        self._context: ssl.SSLContext | None = None
        self._queue = Queue()
        self._backoff = Backoff()
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []  # the one used last at the end
        self._opening: set[asyncio.Task[None]] = set()
        self._releasing: set[asyncio.Task[None]] = set()
        self._denied_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._all_closed: asyncio.Event = asyncio.Event()
        self._counts = dict.fromkeys(Kind, 0)
        self._failure: Transcript | None = None

    # For users

    async def send(
        self, transactions: Sequence[Transaction], *, group: Hashable = None
    ) -> list[Verdict]:
        """Send them all; a verdict for each, in order. Groups share the pool by turns.

        Never raises for what a server or a network does. When cancelled, what is not yet on the
        wire stays off it; the observer still hears how the rest ended.
        """
        if not transactions:
            return []
        batch = Batch(len(transactions), asyncio.get_running_loop().create_future())
        jobs = [Job(each, batch, index, group) for index, each in enumerate(transactions)]
        self._queue.extend(group, jobs)
        self._wake()
        try:
            await batch.done
        except asyncio.CancelledError:
            for job in jobs:
                job.withdrawn = True
            raise
        return [verdict for verdict in batch.verdicts if verdict is not None]

    async def check(self) -> Capabilities:
        """Connect and log in once, beside the pool; what the server offers, or an SmtpError."""
        connection = Connection(self._server, self, self._observer)
        try:
            await dial(self._server, self._tls(), connection)
        except SmtpError:
            self.failed(connection.transcript)
            raise
        connection.quit()
        return connection.offer

    async def close(self, grace: float) -> None:
        """Take no more work, let what is on the wire end for ``grace`` seconds, then cut."""
        self._closing = True
        self._answer_waiting(Verdict(Kind.LATER, Phase.CONNECT, text="the pool is closed"))
        for task in self._opening:
            task.cancel()
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.retired = True
            connection.pump()
        try:
            async with asyncio.timeout(grace):
                while self._connections or self._opening:
                    self._all_closed.clear()
                    await self._all_closed.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort("the pool was closed")
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        await asyncio.gather(*self._opening, *self._releasing, return_exceptions=True)

    @property
    def stats(self) -> Stats:
        """Counts as of now."""
        return Stats(
            len(self._connections),
            len(self._opening),
            len(self._queue),
            self._counts[Kind.DELIVERED],
            self._counts[Kind.REFUSED],
            self._counts[Kind.LATER],
            self._counts[Kind.IN_DOUBT],
        )

    @property
    def transcript(self) -> str | None:
        """The dialogue around the last transaction that was not delivered, secrets masked."""
        return str(self._failure) if self._failure is not None else None

    # For connections

    def next_work(self, connection: Connection) -> Work | None:
        session = connection.session
        if not self._queue or session is None:
            return None
        if self._limits.worn_out(session.served, connection.age, connection.mail_max):
            session.retired = True
            return None
        return self._queue.pop()

    def settle(self, work: Work, verdict: Verdict) -> None:
        assert isinstance(work, Job)  # noqa: S101 - the queue holds nothing else
        self._counts[verdict.kind] += 1
        batch = work.batch
        batch.verdicts[work.index] = verdict
        batch.left -= 1
        if not batch.left and not batch.done.done():
            batch.done.set_result(None)

    def give_back(self, work: Work) -> None:
        assert isinstance(work, Job)  # noqa: S101 - the queue holds nothing else
        self._queue.put_back(work.group, work)

    def failed(self, transcript: Transcript) -> None:
        self._failure = transcript.snapshot()

    def became_idle(self, connection: Connection) -> None:
        session = connection.session
        if self._closing or session is None or session.retired:
            connection.quit()
            return
        if connection not in self._idle:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        self._plan_tidying()

    def closed(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # that of check()
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.last_verdict is not None and not connection.useful:
            now = asyncio.get_running_loop().time()
            self._backoff.failed(for_waiting(connection.last_verdict), now)
        self._release()
        self._all_closed.set()
        self._grow()

    # Growing and shrinking

    def _wake(self) -> None:
        """Work came: first to idle connections, then to new ones, then behind what is sent."""
        now = asyncio.get_running_loop().time()
        while self._idle and self._queue:
            connection = self._idle.pop()
            connection.wake(check=now - connection.idle_since > CHECK_AFTER)
        self._grow()
        if self._queue and len(self._connections) == self._limits.connections:
            for connection in list(self._connections):
                connection.pump()

    def _grow(self) -> None:
        """Open what the work in waiting asks for, or answer it when no connection can be had."""
        if self._closing:
            self._answer_waiting(Verdict(Kind.LATER, Phase.CONNECT, text="the pool is closed"))
        if not self._queue:
            return
        pause = self._backoff.remaining(asyncio.get_running_loop().time())
        if pause > 0:
            if not self._connections and not self._opening and self._backoff.verdict:
                self._answer_waiting(self._backoff.verdict)
            else:
                self._grow_in(pause)
            return
        wanted = self._limits.to_open(len(self._queue), len(self._connections), len(self._opening))
        for _ in range(wanted):
            task = asyncio.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _grow_in(self, seconds: float) -> None:
        if self._retry is None or self._retry.when() < asyncio.get_running_loop().time():
            self._retry = asyncio.get_running_loop().call_later(seconds, self._grow)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if not await self._leased():
            return
        connection = Connection(self._server, self, self._observer)
        try:
            await dial(self._server, self._tls(), connection)
        except BaseException as error:
            self._release()
            if not isinstance(error, SmtpError):
                raise
            self.failed(connection.transcript)
            self._backoff.failed(error.verdict(), loop.time())
            return
        self._backoff.succeeded()
        self._connections.add(connection)
        connection.pump()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._all_closed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            problem = f"{type(error).__name__} while connecting"
            verdict = ConnectError(Phase.CONNECT, problem).verdict()
            self._backoff.failed(verdict, task.get_loop().time())
        self._grow()

    async def _leased(self) -> bool:
        """Whether one more connection is ours; if not for long, waiting work is sent back."""
        loop = asyncio.get_running_loop()
        if await self._lease.acquire():
            self._denied_since = None
            return True
        since = self._denied_since = self._denied_since or loop.time()
        if not self._connections and loop.time() - since > LEASE_PATIENCE:
            text = "all connections of the shared limit are in use"
            self._answer_waiting(Verdict(Kind.LATER, Phase.CONNECT, text=text))
            self._denied_since = None
        await asyncio.sleep(LEASE_RETRY)
        return False

    def _release(self) -> None:
        task = asyncio.ensure_future(self._lease.release())
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _tls(self) -> ssl.SSLContext | None:
        if self._context is None:
            self._context = tls.context(self._server)
        return self._context

    def _answer_waiting(self, verdict: Verdict) -> None:
        for work in self._queue.drain():
            self.settle(work, verdict)

    def _plan_tidying(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.idle, self._tidy)

    def _tidy(self) -> None:
        """Close what was idle for too long."""
        self._timer = None
        oldest = asyncio.get_running_loop().time() - self._limits.idle
        for connection in [each for each in self._idle if each.idle_since <= oldest]:
            self._idle.remove(connection)
            connection.quit()
        if self._idle:
            self._plan_tidying()
