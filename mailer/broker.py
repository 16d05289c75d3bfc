"""The Celery application and the publishing of hints. The queue carries hints only: an id and
where its mail goes through; the ledger holds everything else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from celery import Celery
from kombu.common import maybe_declare
from kombu.entity import Queue
from kombu.exceptions import BatchPublishError, OperationalError

from mailer.errors import UnavailableError
from mailer.settings import Settings

TASK = "mailer.deliver"
URGENT = "mailer.urgent"
BULK = "mailer.bulk"
# Its absence tells that Redis lost its memory, and all hints with it.
MARK = "mailer:remembers"
# Hints per round trip to Redis. Larger batches gain nothing (24,000/s at 1,000) and delay the
# first hint of a batch.
BATCH = 500
# Providers and domains whose task headers are kept.
TEMPLATES = 4096


class Hint(NamedTuple):
    """One task: the delivery's id, the provider to use, the domain of the recipient.

    ``alone``: a worker died with it before; it gets a batch of its own.
    """

    id: str
    provider: str
    domain: str
    alone: bool = False


def make_app(name: str, settings: Settings) -> Celery:
    """A Celery application with the settings that our promises rest on."""
    app = Celery(name)
    app.conf.update(
        broker_url=settings.broker,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # an outage of any length is waited for
        broker_transport_options=_transport_options(settings.broker),
        task_queues=[Queue(name, routing_key=name) for name in (URGENT, BULK)],
        task_default_queue=BULK,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_send_sent_event=False,
        worker_disable_rate_limits=True,  # Celery's are per worker; ours are shared
        # A connection lost in the middle of a batch must not kill the batch: a task stopped
        # between the final dot and its reply has an unknown outcome.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        timezone="UTC",
    )
    return app


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith("amqp"):
        return {"confirm_publish": True}
    return {
        # Without broker acks one worker consumes three times as much, and a Redis restart is
        # survived; what is lost with the broker is due again in the ledger (deliveries.PATIENCE).
        "ack_emulation": False,
        # Urgent before bulk: BRPOP looks at the queues in the order in which they are named.
        "queue_order_strategy": "priority",
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "socket_keepalive": True,
    }


class Publisher:
    """Puts hints into the broker, many a round trip."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._template = lru_cache(maxsize=TEMPLATES)(self._make_template)

    def check(self) -> None:
        """Raises UnavailableError when the broker does not answer."""

        def ask(producer: Any) -> None:
            self._app.amqp.queues[URGENT](producer.channel).queue_declare()

        # A connection made earlier looks alive until it is used. When it is not, the server may
        # still be there: restarted, or behind a firewall that forgets idle connections.
        try:
            self._run(ask)
        except UnavailableError:
            self._run(ask)

    def remembers(self) -> bool:
        """Whether the broker kept what was published since ``mark``: a key of ours vanishes with
        the rest when Redis restarts or is emptied. RabbitMQ keeps its queues.

        Raises:
            UnavailableError: it does not answer.
        """
        return bool(self._on_redis(lambda client: client.exists(MARK)))

    def mark(self) -> None:
        """Begin to remember. Raises UnavailableError when the broker does not answer."""
        self._on_redis(lambda client: client.set(MARK, 1))

    def _on_redis(self, ask: Callable[[Any], object]) -> object:
        answers: list[object] = []

        def use(producer: Any) -> None:
            client = getattr(producer.channel, "client", None)
            answers.append(True if client is None else ask(client))

        self._run(use)
        return answers[0]

    def publish(self, hints: Sequence[Hint], *, urgent: bool) -> None:
        """Publish one task for each hint.

        Raises:
            UnavailableError: the broker did not take them all; some may have arrived, which does
                no harm, since a row is claimed once.
        """
        if not hints:
            return
        queue = URGENT if urgent else BULK

        def put(producer: Any) -> None:
            for start in range(0, len(hints), BATCH):
                with producer.batch(BATCH):
                    for hint in hints[start : start + BATCH]:
                        self._put(producer, hint, queue)

        self._run(put)

    def _put(self, producer: Any, hint: Hint, queue: str) -> None:
        headers, body = self._template(hint[1:])
        # retry must stay off: with it kombu silently stops batching.
        producer.publish(
            body,
            exchange="",
            routing_key=queue,
            headers={**headers, "id": hint.id, "root_id": hint.id},
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            correlation_id=hint.id,
        )

    def _make_template(self, arguments: tuple[Any, ...]) -> tuple[dict[str, Any], bytes]:
        """Celery's headers and body for these arguments. Making them anew for each hint would
        take two thirds of its cost, and the hints of a tick differ in little but their ids.
        """
        message = self._app.amqp.create_task_message("", TASK, arguments, ignore_result=True)
        headers = {name: value for name, value in message.headers.items() if value is not None}
        return headers, orjson.dumps(message.body)

    def _run(self, use: Callable[[Any], None]) -> None:
        try:
            with self._app.producer_or_acquire() as producer, _one_line(producer.connection):
                producer.connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=5)
                for queue in (URGENT, BULK):  # once a connection; RabbitMQ drops what has no queue
                    maybe_declare(self._app.amqp.queues[queue], producer.channel)
                use(producer)
        except (OperationalError, BatchPublishError) as error:
            raise _unavailable(error) from None


@contextmanager
def _one_line(connection: Any) -> Iterator[None]:
    """Each client library has its own errors; the transport knows which."""
    try:
        yield
    except (*connection.connection_errors, *connection.channel_errors) as error:
        raise _unavailable(error) from None


def _unavailable(error: BaseException) -> UnavailableError:
    return UnavailableError(f"broker: {(str(error).splitlines() or [type(error).__name__])[0]}")
