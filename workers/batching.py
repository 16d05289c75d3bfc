"""Celery's ``Task.Strategy`` for hints: many tasks of one provider run as one batch.

Received hints wait in the worker for a free slot of the pool, urgent ones first, at most ``LINGER``
seconds for company. Nothing is lost with them: whatever is left when the broker connection or the
worker ends is made due again in the ledger.
"""

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from celery import bootsteps
from celery.worker import state as worker_state
from celery.worker.consumer.tasks import Tasks

from mailer import deliveries
from mailer.db import Database
from mailer.errors import UnavailableError
from mailer.settings import Settings
from workers import runtime
from workers.deliver import Fate, Report, run_batch
from workers.hints import HintRequest, is_expired, read

logger = logging.getLogger(__name__)

BATCH = 250  # hints a batch at the most; more gain nothing per message and hold a slot for longer
LINGER = 0.02  # seconds that an incomplete batch waits for more hints


# Urgent or not, the provider, and the id of a hint that goes alone.
Key = tuple[bool, str, str | None]


@dataclass(eq=False, slots=True)
class Batch:
    """Hints that run together in one slot of the pool."""

    provider: str
    requests: list[HintRequest]
    connection: Any  # the broker connection that they came over
    accepted: bool = False
    started: float = 0.0


@dataclass(slots=True)
class Line:
    """Hints of one provider that wait; ``since`` when the first of them may count as waiting."""

    since: float
    requests: deque[HintRequest] = field(default_factory=deque)


class Batcher:
    """The hints in one worker's hands, from their arrival to their acknowledgement.

    Lives as long as the worker: batches go on running while the broker connection is made anew.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._lines: dict[Key, Line] = {}
        self._running: set[Batch] = set()
        self._news: deque[tuple[Any, ...]] = deque()
        self._timer_set = False
        self._open = False
        self._thread = 0

    def open(self) -> None:
        """Take hints in, from this thread."""
        self._open, self._thread = True, threading.get_ident()

    def put(self, request: HintRequest) -> None:
        """Take in a hint."""
        key = request.urgent, request.provider, request.id if request.alone else None
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(time.monotonic())
            if request.urgent:  # soon: with what came in the same answer of the broker
                self._consumer.call_soon(self.pump)
        line.requests.append(request)
        worker_state.task_reserved(request)
        if self._wants_events:
            args = repr((request.provider, request.domain, request.alone))
            self._event(request, "received", args=args, kwargs="{}")
        if len(line.requests) == BATCH:
            self.pump()
        else:
            self._set_timer()

    def pump(self) -> None:
        """Fill the free slots: urgent hints first, then whoever has the fewest batches running."""
        while (key := self._next()) is not None:
            line = self._lines[key]
            requests = [line.requests.popleft() for _ in range(min(BATCH, len(line.requests)))]
            line.since = time.monotonic()
            if not line.requests:
                del self._lines[key]
            self._start(key[1], requests)
        self._set_timer()

    def _next(self) -> Key | None:
        if not self._lines or not self._open:
            return None
        free = self._free_slots()
        ripe = time.monotonic() - LINGER
        ready = [
            key
            for key, line in self._lines.items()
            if free > 0 and (key[0] or line.since <= ripe or len(line.requests) >= BATCH)
        ]
        running = [batch.provider for batch in self._running]
        return min(ready, key=lambda key: (not key[0], running.count(key[1])), default=None)

    def _free_slots(self) -> int:
        return int(self._consumer.pool.num_processes) - len(self._running)

    def _start(self, provider: str, requests: list[HintRequest]) -> None:
        revoked = self._consumer.controller.state.revoked
        for request in [r for r in requests if r.id in revoked]:
            requests.remove(request)
            self._drop(request)
        if not requests:
            return
        batch = Batch(provider, requests, self._consumer.connection)
        self._running.add(batch)
        self._consumer.pool.apply_async(
            run_batch,
            (provider, [(request.id, request.domain) for request in requests]),
            accept_callback=lambda pid, at: self._tell(self._accepted, batch, pid),
            callback=lambda reports: self._tell(self._done, batch, reports),
            error_callback=lambda error: self._tell(self._done, batch, None),
        )

    def _tell(self, *news: Any) -> None:
        """From whatever thread the pool calls. Told in order, which ``call_soon`` does not keep."""
        self._news.append(news)
        if threading.get_ident() == self._thread:
            self._listen()
        else:
            self._consumer.call_soon(self._listen)

    def _listen(self) -> None:
        while self._news:
            handle, *arguments = self._news.popleft()
            handle(*arguments)

    def _accepted(self, batch: Batch, pid: int) -> None:
        if batch not in self._running:
            return
        batch.accepted, batch.started = True, time.time()
        for request in batch.requests:
            request.time_start, request.worker_pid = batch.started, pid
        worker_state.active_requests.update(batch.requests)
        worker_state.total_count[batch.requests[0].name] += len(batch.requests)
        worker_state.all_total_count[0] += len(batch.requests)

    def _done(self, batch: Batch, reports: list[Report] | None) -> None:
        """Tell Celery how each hint ended. No reports: the process died, and the ledger knows
        more than we do; its rows are freed by the janitor.
        """
        if batch not in self._running:
            return
        self._running.remove(batch)
        if reports is None:
            reports = [Report(r.id, Fate.FAILED, "the worker process died") for r in batch.requests]
        for request in batch.requests:
            worker_state.task_ready(request)
        if self._wants_events:
            runtime = time.time() - batch.started
            for request, report in zip(batch.requests, reports, strict=True):
                self._report(request, report, runtime)
        if batch.connection is self._consumer.connection:  # nobody waits for the acks of another
            for request in batch.requests:
                self._ack(request.message)
        self.pump()

    def drop(self, message: Any, id_: str) -> None:
        """A hint that was revoked, or came too late."""
        self._ack(message)
        if self._wants_events:
            self._send("revoked", id_, terminated=False, signum=None, expired=is_expired(message))

    def _drop(self, request: HintRequest) -> None:
        worker_state.task_ready(request)
        self.drop(request.message, request.id)

    def _ack(self, message: Any) -> None:
        message.ack_log_error(logger, self._consumer.connection_errors)

    def _report(self, request: HintRequest, report: Report, runtime: float) -> None:
        match report.fate:
            case Fate.SENT:
                self._event(request, "succeeded", result=report.text, runtime=runtime)
            case Fate.LATER:
                self._event(request, "retried", exception=report.text, traceback="")
            case Fate.FAILED:
                self._event(request, "failed", exception=report.text, traceback="")

    @property
    def _wants_events(self) -> bool:
        """Whether the worker runs with ``-E``."""
        dispatcher = self._consumer.event_dispatcher
        return bool(
            dispatcher
            and dispatcher.enabled
            and (not dispatcher.groups or "task" in dispatcher.groups)
        )

    def _event(self, request: HintRequest, kind: str, **fields: Any) -> None:
        self._send(kind, request.id, name=request.name, **fields)

    def _send(self, kind: str, id_: str, **fields: Any) -> None:
        """Celery's dispatcher groups these: one message to the broker for many events."""
        self._consumer.event_dispatcher.send(f"task-{kind}", uuid=id_, **fields)

    def _set_timer(self) -> None:
        """For the hints that wait for company. Those that wait for a slot are woken by its end."""
        if self._lines and not self._timer_set and self._open and self._free_slots() > 0:
            self._timer_set = True
            self._consumer.timer.call_after(LINGER, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_set = False
        self.pump()

    def close(self) -> list[str]:
        """Take no more; the ids of the hints that no slot has.

        A lost connection makes Celery's pool forget the batches that no process had accepted.
        """
        self._open = False
        forgotten = [b for b in self._running if not b.accepted]
        self._running.difference_update(forgotten)
        left = [request for line in self._lines.values() for request in line.requests]
        left += [request for batch in forgotten for request in batch.requests]
        self._lines.clear()
        for request in left:
            worker_state.task_ready(request)
        return [request.id for request in left]


def strategy(task: Any, app: Any, consumer: Any) -> Any:
    """What Celery calls for each connection: returns the handler of received messages."""
    batcher = consumer.mailer_batcher
    batcher.open()
    revoked = consumer.controller.state.revoked
    hostname = consumer.hostname

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        request = read(message, task, hostname)
        if request.id in revoked or is_expired(message):
            batcher.drop(message, request.id)
            return
        for callback in callbacks or ():
            callback(request)
        batcher.put(request)

    return receive


class BatchingStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Gives hints back to the ledger when the connection or the worker ends."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.mailer_batcher = Batcher(consumer)

    def start(self, consumer: Any) -> None:
        """Nothing to start: Celery asks for the strategy."""

    def stop(self, consumer: Any) -> None:
        """Called on a warm shutdown, and before each reconnect."""
        left = consumer.mailer_batcher.close()
        if worker_state.should_stop is not None:
            _finish_batches(consumer.pool)
        if not left:
            return
        database = Database(Settings.load().database, connections=1)
        try:
            deliveries.give_back(database, [(id_, 0.0) for id_ in left])
        except UnavailableError as error:
            # They are due again when their patience is over.
            logger.warning("%d hints could not be given back: %s", len(left), error)
        finally:
            database.close()


def _finish_batches(pool: Any) -> None:
    """Ask the batches that run to come to their end, whichever process they run in."""
    processes = pool.info.get("processes")
    if processes is None:  # threads of this process
        runtime.finish()
    for pid in processes or ():
        with suppress(ProcessLookupError):
            os.kill(pid, runtime.FINISH)
