"""The Celery application of the workers: ``celery -A workers worker``, ``… flower``."""

import os
import signal
import threading
from contextlib import suppress

from celery import signals

from mailer.broker import TASK, make_app
from mailer.errors import MailerError
from mailer.settings import load_or_exit
from workers import runtime, transport
from workers.batching import BATCH, BatchingStep
from workers.deliver import run

settings = load_or_exit()
if not settings.stock_transport:
    transport.use()
app = make_app("workers", settings)
app.conf.update(
    # Two batches for each core: one is rendered while the other is on the wire. `-c` overrides.
    worker_concurrency=max(4, 2 * (os.cpu_count() or 1)),
    # Hints held by one worker, all slots together: those being sent and as many ready to go.
    worker_prefetch_multiplier=2 * BATCH,
)
app.steps["consumer"].add(BatchingStep)


@app.task(name=TASK, bind=True, Strategy="workers.batching:strategy")
def deliver(task, provider, domain, alone=False):  # type: ignore[no-untyped-def]
    """One delivery. Its id is the task's; workers run these in batches, see workers.batching."""
    return run(provider, [(task.request.id, domain)])


@signals.worker_process_init.connect
def _prepare(**_: object) -> None:
    """In each new pool process: be heard of at once, and know how to come to an end."""
    signal.signal(runtime.FINISH, lambda *_: threading.Thread(target=runtime.finish).start())
    with suppress(MailerError):  # it is asked for again by the first batch
        runtime.current()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    """At the end of each pool process, and of the worker itself, where the pool is threads."""
    runtime.close()
