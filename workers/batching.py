"""Celery's ``Task.Strategy`` for hints: many tasks of one provider run as one batch.

Received hints wait in the worker for a free slot of the pool, urgent ones first, at most ``LINGER``
seconds for company. Nothing is lost with them: whatever is left when the broker connection or the
worker ends is made due again in the ledger.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from celery import bootsteps
from celery.worker import state as worker_state
from celery.worker.consumer.tasks import Tasks

from mailer import deliveries
from mailer.broker import URGENT
from mailer.db import Database
from mailer.errors import UnavailableError
from mailer.settings import Settings
from workers.deliver import Fate, Report, run_batch

logger = logging.getLogger(__name__)

BATCH = 250  # hints a batch at the most; more gain nothing per message and hold a slot for longer
LINGER = 0.02  # seconds that an incomplete batch waits for more hints


@dataclass(eq=False, slots=True, weakref_slot=True)
class HintRequest:
    """A hint in this worker, with what ``inspect`` and ``control`` ask of a Celery request."""

    id: str
    name: str
    provider: str
    domain: str
    urgent: bool
    message: Any
    hostname: str
    time_start: float | None = None
    worker_pid: int | None = None
    eta: None = field(default=None, init=False)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """The answer to ``inspect active`` and ``reserved``."""
        return {
            "id": self.id,
            "name": self.name,
            "args": [self.provider, self.domain],
            "kwargs": {},
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": False,
            "delivery_info": dict(self.message.delivery_info),
            "worker_pid": self.worker_pid,
        }


class Batcher:
    """The hints in one worker's hands, from their arrival to their acknowledgement."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._waiting: dict[tuple[bool, str], deque[HintRequest]] = {}
        self._since = 0.0
        self._busy: dict[str, int] = {}
        self._timer_set = False
        self._open = True

    def put(self, request: HintRequest) -> None:
        """Take in a hint."""
        if not any(self._waiting.values()):
            self._since = time.monotonic()
        queue = self._waiting.setdefault((request.urgent, request.provider), deque())
        queue.append(request)
        worker_state.task_reserved(request)
        self._event(request, "received", args=repr((request.provider, request.domain)), kwargs="{}")
        if request.urgent or len(queue) >= BATCH:
            self.pump()
        else:
            self._set_timer()

    def pump(self) -> None:
        """Fill the free slots: urgent hints first, then whoever has the fewest batches running."""
        while (key := self._next()) is not None:
            queue = self._waiting[key]
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            if not queue:
                del self._waiting[key]
            self._start(key[1], batch)
        if self._waiting or self._busy:
            self._set_timer()

    def _next(self) -> tuple[bool, str] | None:
        slots = self._consumer.pool.limit
        busy = sum(self._busy.values())
        ripe = time.monotonic() - self._since >= LINGER
        ready = [
            (urgent, provider)
            for (urgent, provider), queue in self._waiting.items()
            if urgent or ripe or len(queue) >= BATCH
        ]
        if not self._open or not ready or busy >= slots:
            return None
        return min(ready, key=lambda key: (not key[0], self._busy.get(key[1], 0)))

    def _start(self, provider: str, batch: list[HintRequest]) -> None:
        self._busy[provider] = self._busy.get(provider, 0) + 1
        hints = [(request.id, request.domain) for request in batch]
        consumer = self._consumer

        def accepted(pid: int, started: float) -> None:
            consumer.call_soon(self._accepted, batch, pid)

        def done(reports: list[Report] | None) -> None:
            consumer.call_soon(self._done, provider, batch, reports)

        consumer.pool.apply_async(
            run_batch,
            (provider, hints),
            accept_callback=accepted,
            callback=done,
            error_callback=lambda error: done(None),
        )

    def _accepted(self, batch: list[HintRequest], pid: int) -> None:
        now = time.time()
        for request in batch:
            request.time_start, request.worker_pid = now, pid
            worker_state.task_accepted(request)

    def _done(self, provider: str, batch: list[HintRequest], reports: list[Report] | None) -> None:
        """Tell Celery how each hint ended. No reports: the process died, and the ledger knows
        more than we do; its rows are freed by the janitor.
        """
        self._busy[provider] -= 1
        if not self._busy[provider]:
            del self._busy[provider]
        if reports is None:
            reports = [Report(r.id, Fate.FAILED, "the worker process died") for r in batch]
        for request, report in zip(batch, reports, strict=True):
            self._finish(request, report)
        self.pump()

    def _finish(self, request: HintRequest, report: Report) -> None:
        worker_state.task_ready(request, successful=report.fate is Fate.SENT)
        request.message.ack_log_error(logger, self._consumer.connection_errors)
        match report.fate:
            case Fate.SENT:
                runtime = time.time() - (request.time_start or time.time())
                self._event(request, "succeeded", result=report.text, runtime=runtime)
            case Fate.LATER:
                self._event(request, "retried", exception=report.text, traceback="")
            case Fate.FAILED:
                self._event(request, "failed", exception=report.text, traceback="")

    def _event(self, request: HintRequest, kind: str, **fields: Any) -> None:
        """Celery's dispatcher groups these: one message to the broker for many events."""
        dispatcher = self._consumer.event_dispatcher
        if dispatcher and dispatcher.enabled:
            dispatcher.send(f"task-{kind}", uuid=request.id, name=request.name, **fields)

    def _set_timer(self) -> None:
        if not self._timer_set:
            self._timer_set = True
            self._consumer.timer.call_after(LINGER, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_set = False
        self.pump()

    def close(self) -> list[str]:
        """Take no more; the ids of the hints that no slot has."""
        self._open = False
        left = [request for queue in self._waiting.values() for request in queue]
        self._waiting.clear()
        for request in left:
            worker_state.task_ready(request)
        return [request.id for request in left]


def strategy(task: Any, app: Any, consumer: Any) -> Any:
    """What Celery calls for each connection: returns the handler of received messages."""
    batcher = consumer.mailer_batcher = Batcher(consumer)
    revoked = consumer.controller.state.revoked

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        id_ = message.headers["id"]
        if id_ in revoked:
            message.ack_log_error(logger, consumer.connection_errors)
            return
        (provider, domain), _, _ = message.payload
        request = HintRequest(
            id=id_,
            name=task.name,
            provider=provider,
            domain=domain,
            urgent=message.delivery_info.get("routing_key") == URGENT,
            message=message,
            hostname=consumer.hostname,
        )
        for callback in callbacks or ():
            callback(request)
        batcher.put(request)

    return receive


class BatchingStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Gives hints back to the ledger when the connection or the worker ends."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.mailer_batcher = None

    def start(self, consumer: Any) -> None:
        """Nothing to start: Celery makes the strategy."""

    def stop(self, consumer: Any) -> None:
        """Called on a warm shutdown, and before each reconnect."""
        batcher = consumer.mailer_batcher
        if batcher is None:
            return
        left = batcher.close()
        consumer.mailer_batcher = None
        database = Database(Settings.load().database, connections=1)
        try:
            deliveries.give_back(database, [(id_, 0.0) for id_ in left])
        except UnavailableError as error:
            # They are due again when their patience is over.
            logger.warning("%d hints could not be given back: %s", len(left), error)
        finally:
            database.close()
