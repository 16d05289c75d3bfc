"""How many messages may go now: one atomic decision in Redis for all workers.

Keys in Redis, all with the prefix ``mailer:limit:`` and all expiring by themselves:

- ``mailer:limit:provider:NAME:14/s``: the state of one limit of a provider
- ``mailer:limit:destination:NAME:20/s``: the state of one limit of a destination
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis

from mailer.errors import UnavailableError
from mailer.settings import Limit, Settings

PREFIX = "mailer:limit"


@dataclass(frozen=True, slots=True)
class Grant:
    """``granted`` of the units asked for may go now; the next may after ``wait`` seconds."""

    granted: int
    wait: float


class Limiter:
    """The limits of all providers and destinations, shared through one Redis."""

    def __init__(self, settings: Settings) -> None:
        self._redis = cast(
            "Any",
            redis.Redis.from_url(
                settings.redis, socket_timeout=5, socket_connect_timeout=5, health_check_interval=30
            ),
        )
        self._take = self._redis.register_script(
            (Path(__file__).parent / "take.lua").read_text(encoding="utf-8")
        )
        self._limits: Mapping[str, tuple[Limit, ...]] = {
            **{f"provider:{n}": p.limits for n, p in settings.providers.items()},
            **{f"destination:{n}": d.limits for n, d in settings.destinations.items()},
        }

    def take(self, provider: str, destination: str | None, wanted: int) -> Grant:
        """Take up to ``wanted`` messages' worth from every limit that applies, or from none.

        Raises:
            UnavailableError: Redis cannot be asked; then nothing may be sent.
        """
        owners = [f"provider:{provider}", *([f"destination:{destination}"] if destination else [])]
        applying = [(owner, limit) for owner in owners for limit in self._limits.get(owner, ())]
        if not applying:
            return Grant(wanted, 0.0)
        keys = [f"{PREFIX}:{owner}:{limit}" for owner, limit in applying]
        arguments = [wanted]
        for _, limit in applying:
            arguments += [limit.count, limit.seconds]
        try:
            granted, wait = self._take(keys=keys, args=arguments)
        except (redis.RedisError, OSError) as error:
            raise _unavailable(error) from None
        return Grant(granted, wait / 1000)

    def version(self) -> str:
        """The server's version.

        Raises:
            UnavailableError: it does not answer.
        """
        try:
            return str(self._redis.info("server")["redis_version"])
        except (redis.RedisError, OSError) as error:
            raise _unavailable(error) from None

    def soon(self, provider: str, seconds: float) -> float:
        """No more than this many messages can go through a provider in the next ``seconds``."""
        rates = [
            limit.count * max(seconds / limit.seconds, 1 if limit.seconds > seconds else 0)
            for limit in self._limits.get(f"provider:{provider}", ())
        ]
        return min(rates, default=float("inf"))


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(f"redis: {(str(error).splitlines() or [type(error).__name__])[0]}")
