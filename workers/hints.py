"""A hint in a worker's hands, with what Celery's ``inspect`` and ``control`` ask of a request."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from celery.exceptions import InvalidTaskError

from mailer.broker import URGENT

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True, weakref_slot=True)
class HintRequest:
    """Stands in for ``celery.worker.request.Request``, at a tenth of its cost."""

    id: str
    provider: str
    domain: str
    alone: bool
    urgent: bool
    message: Any
    task: Any
    hostname: str
    time_start: float | None = field(default=None, init=False)
    worker_pid: int | None = field(default=None, init=False)
    eventer: Any = field(default=None, init=False)  # Celery sets it after a reconnect

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.task.name)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """The answer to ``inspect active`` and ``reserved``."""
        return {
            "id": self.id,
            "name": self.name,
            "args": [self.provider, self.domain, self.alone],
            "kwargs": {},
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": False,
            "delivery_info": dict(self.message.delivery_info),
            "worker_pid": self.worker_pid,
        }

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Refused: the process is sending other people's messages too."""
        logger.warning("%s is not terminated: it is sent in one batch with others", self.id)


def read(message: Any, task: Any, hostname: str) -> HintRequest:
    """The hint that a message carries.

    Raises:
        InvalidTaskError: the message does not look like a hint.
    """
    try:
        (provider, domain, alone), _, _ = orjson.loads(message.body)
        id_ = message.headers["id"]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidTaskError(f"not a hint: {error}") from None
    urgent = message.delivery_info.get("routing_key") == URGENT
    return HintRequest(id_, provider, domain, alone, urgent, message, task, hostname)


def is_expired(message: Any) -> bool:
    """Whether the message was only good until a moment that is past."""
    expires = message.headers.get("expires")
    return bool(expires) and datetime.fromisoformat(expires) <= datetime.now(UTC)
