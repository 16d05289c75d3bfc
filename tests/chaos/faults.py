"""What can go wrong, done on purpose. Each fault names itself by its function."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import redis

from mailer.embedded.catcher import DROP, Stage, accept
from mailer.embedded.servers import Redis
from tests.e2e.system import Process, System, children


class Fire:
    """One installation under attack. All choices come from ``chance``, so a seed repeats them."""

    def __init__(self, system: System, postgres: str, server: Redis, seed: int) -> None:
        self.system = system
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._postgres = postgres
        self._redis = server
        self._workers = [self._start(), self._start()]
        self.faults: list[Callable[[], None]] = [
            self.kill_pool_process,
            self.kill_worker,
            self.stop_worker,
            self.flush_redis,
            self.restart_redis,
            self.cut_redis_clients,
            self.crash_postgres,
            self.cut_postgres_connections,
            self.stall_provider,
            self.reset_provider,
            self.refuse_at_provider,
        ]

    def _start(self) -> Process:
        name = f"w{len(self.system.processes)}@chaos"
        arguments = ["-A", "workers", "worker", "-n", name, "-c", "2", "--loglevel=WARNING"]
        return self.system.start(f"worker {name}", arguments)

    def _replace(self, end: Callable[[int], None]) -> None:
        """End one worker, and start another as systemd would."""
        place = self.chance.randrange(len(self._workers))
        for pid in self._workers[place].pids:
            end(pid)
        self._workers[place] = self._start()

    def kill_pool_process(self) -> None:
        """SIGKILL to a process that sends."""
        pool = [pid for w in self._workers for parent in w.pids for pid in children(parent)]
        if pool:
            _kill(self.chance.choice(pool), signal.SIGKILL)

    def kill_worker(self) -> None:
        """SIGKILL to a worker and its pool."""
        self._replace(lambda pid: _kill(pid, signal.SIGKILL))

    def stop_worker(self) -> None:
        """SIGTERM: a deploy."""
        self._replace(lambda pid: _kill(pid, signal.SIGTERM))

    def flush_redis(self) -> None:
        """FLUSHALL."""
        self._ask_redis("FLUSHALL")

    def restart_redis(self) -> None:
        """Redis ends and starts again, empty."""
        self._redis.stop()
        time.sleep(self.chance.uniform(0, 1))
        self._redis.start()

    def cut_redis_clients(self) -> None:
        """CLIENT KILL for everybody."""
        for kind in ("pubsub", "normal"):
            self._ask_redis("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def crash_postgres(self) -> None:
        """SIGKILL to a backend: the server ends all connections and recovers from its log."""
        with psycopg.connect(self._postgres) as connection:
            _kill(connection.info.backend_pid, signal.SIGKILL)
            with suppress(psycopg.Error):
                connection.execute("SELECT 1")

    def cut_postgres_connections(self) -> None:
        """pg_terminate_backend for everybody."""
        with psycopg.connect(self._postgres, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def stall_provider(self) -> None:
        """The SMTP server says nothing for a while."""
        until = time.monotonic() + self.chance.uniform(0.5, 2)
        self.system.catcher.script = lambda stage, _: time.sleep(max(0, until - time.monotonic()))
        self._provider_recovers(until)

    def reset_provider(self) -> None:
        """It drops connections, some of them after the message and before the reply."""
        rate = self.chance.uniform(0.02, 0.2)
        dice = random.Random(self.chance.random())  # noqa: S311

        def script(stage: Stage, _: str) -> str | None:
            return DROP if stage in {"mail", "message"} and dice.random() < rate else None

        self.system.catcher.script = script
        self._provider_recovers(time.monotonic() + 0.5)

    def refuse_at_provider(self) -> None:
        """It answers 421 and 451."""
        replies = {"mail": "421 4.3.2 Going down", "rcpt": "451 4.7.1 Later"}
        kind = self.chance.choice(list(replies))
        self.system.catcher.script = lambda stage, _: replies[kind] if stage == kind else None
        self._provider_recovers(time.monotonic() + self.chance.uniform(0.3, 1))

    def _provider_recovers(self, at: float) -> None:
        time.sleep(max(0, at - time.monotonic()))
        self.system.catcher.script = accept

    def _ask_redis(self, *command: str) -> None:
        with redis.Redis.from_url(self._redis.url) as client:
            client.execute_command(*command)


def _kill(pid: int, number: signal.Signals) -> None:
    """A worker's pool dies with its parent: Celery asks the kernel for that."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
