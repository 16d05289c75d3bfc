"""Kombu's Redis transport, made fast for hints: many in one round trip, and none acknowledged.

Kombu fetches one message a round trip and notes each in Redis until it is acknowledged. A hint
needs neither: the ledger knows what is outstanding and publishes again what got lost with Redis or
with a worker. So a worker asks for as many hints as it may hold in one script call, urgent queue
first, and only waits (``BRPOP``, which any publisher ends at once) when the queues are empty.
Control commands, events and everything but the receiving stay Kombu's.

Needs Redis 6.2 or newer, or Valkey.
"""

import logging
from queue import Empty
from time import monotonic
from typing import Any

import orjson
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.encoding import bytes_to_str

logger = logging.getLogger(__name__)

# Hints fetched at once at the most. The event loop does nothing else meanwhile (250 cost it 10 ms),
# and beyond a hundred the round trip no longer matters.
MOST = 250

# As many as ARGV[1] together, from the first key on; a list for each key, oldest message first.
POP = """
local popped, left = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  popped[i] = left > 0 and redis.call('RPOP', key, left) or {}
  left = left - #popped[i]
end
return popped
"""


class QoS(virtual.QoS):  # type: ignore[misc]
    """The prefetch count alone: nothing goes back to Redis when the worker or the link ends."""

    restore_at_shutdown = False


class _PopsMany(redis.Channel):  # type: ignore[misc]
    """Receives with ``POP`` while there are messages, else with Kombu's ``BRPOP``.

    Kombu's poller calls ``_brpop_start`` when nothing is asked for and the prefetch count leaves
    room, and ``_brpop_read`` when the answer is there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ack_emulation = False
        self.QoS = QoS
        self._wait = False  # whether the queues were empty when last looked at
        self._asked: list[str] = []  # the keys of the POP that is under way

    def _brpop_start(self, timeout: float | None = None) -> None:
        if self._wait:
            self._asked = []
            super()._brpop_start(timeout)
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        self._asked = [self._q_for_pri(q, step) for step in self.priority_steps for q in queues]
        keys = [self.global_keyprefix + key for key in self._asked]
        room = self.qos.can_consume_max_estimate()  # None: no limit
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self._in_poll.send_command("EVAL", POP, len(keys), *keys, min(room or MOST, MOST))

    def _brpop_read(self, **options: Any) -> bool:
        popped = self._answer()
        self._wait = not popped
        if not popped:
            raise Empty
        for key, messages in popped:
            self._hand_over(key, messages)
        return True

    def _answer(self) -> list[tuple[str, list[bytes]]]:
        connection = self.client.connection
        try:
            if self._asked:
                lists = self.client.parse_response(connection, "EVAL")
                return [
                    (key, found) for key, found in zip(self._asked, lists, strict=True) if found
                ]
            found = self.client.parse_response(connection, "BRPOP")
            return [(bytes_to_str(found[0]), [found[1]])] if found else []
        except self.connection_errors:
            connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _hand_over(self, key: str, messages: list[bytes]) -> None:
        receive = self.connection._callbacks.get(key.rsplit(self.sep, 1)[0])
        if receive is None:  # no longer consumed: back to where they were, in the same order
            with self.conn_or_acquire() as client:
                client.rpush(key, *reversed(messages))
            return
        for message in messages:
            try:
                decoded = orjson.loads(message)
            except orjson.JSONDecodeError:
                logger.error("dropped a message of %d bytes from %s: not JSON", len(message), key)
            else:
                receive(decoded)

    def close(self) -> None:
        """Close, also when Redis is gone: Kombu's would stop half-way, and fail later."""
        try:
            super().close()
        except self.connection_errors:
            self._in_poll = None
            self.auto_delete_queues.clear()  # they end with their Redis
            super().close()


class Channel(_PopsMany):
    """A channel to one Redis: TCP, TLS or Unix socket."""


class SentinelChannel(_PopsMany, redis.SentinelChannel):  # type: ignore[misc]
    """A channel to the primary that Sentinel names."""


class Transport(redis.Transport):  # type: ignore[misc]
    """For ``redis``, ``rediss`` and ``redis+socket`` addresses."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]
    """For ``sentinel`` addresses."""

    Channel = SentinelChannel


def use() -> None:
    """Make these the transports of Redis addresses in this process."""
    single, sentinel = (f"{__name__}:{t.__name__}" for t in (Transport, SentinelTransport))
    TRANSPORT_ALIASES.update(redis=single, rediss=single, sentinel=sentinel)
