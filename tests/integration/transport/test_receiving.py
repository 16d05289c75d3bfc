"""What a worker promises about receiving, over our transport and over Kombu's."""

import base64
import json

import redis

from mailer.broker import BULK, URGENT
from tests.integration.transport.conftest import Bench, ids_of, until
from workers.batching import BATCH


def test_every_hint_runs_once_and_batches_are_full_under_load(bench: Bench) -> None:
    ids = bench.publish(8 * BATCH)
    bench.worker("-c", "2")
    until(lambda: len(bench.ran()) >= len(ids))
    assert sorted(bench.ran()) == sorted(ids)


def test_one_process_runs_hints_in_the_order_of_their_publishing(bench: Bench) -> None:
    ids = bench.publish(3 * BATCH)
    bench.worker("-c", "1")
    until(lambda: len(bench.ran()) >= len(ids))
    assert bench.ran() == ids


def test_urgent_hints_overtake_bulk(bench: Bench) -> None:
    bulk = bench.publish(10 * BATCH)
    urgent = bench.publish(5, urgent=True)
    bench.worker("-c", "1")
    until(lambda: len(bench.ran()) >= len(bulk) + len(urgent))
    assert set(bench.ran()[: 3 * BATCH]) >= set(urgent)


def test_an_idle_worker_takes_a_single_urgent_hint(bench: Bench) -> None:
    bench.worker("-c", "1")
    assert bench.publish(1, urgent=True) == until(bench.ran)


def test_a_worker_holds_no_more_hints_than_the_prefetch_count(bench: Bench) -> None:
    bench.hold()
    ids = bench.publish(6 * BATCH)
    bench.worker("-c", "1", "--prefetch-multiplier", str(2 * BATCH))
    until(bench.batches)
    with redis.Redis.from_url(bench.url) as client:
        until(lambda: client.llen(BULK) <= 4 * BATCH)
        active, reserved = bench.ask("active"), bench.ask("reserved")
        assert client.llen(BULK) == 4 * BATCH
    first = bench.batches()[0]  # less than BATCH where the transport trickles
    assert ids_of(active) == set(ids[:first])
    assert ids_of(reserved) >= set(ids[first : 2 * BATCH])


def test_a_revoked_hint_does_not_run(bench: Bench) -> None:
    bench.hold()
    bench.worker("-c", "1")
    first = bench.publish(1)
    until(bench.batches)
    waiting = bench.publish(2)
    until(lambda: set(waiting) <= ids_of(bench.ask("reserved")))
    bench.app.control.revoke(waiting[0], reply=True)
    bench.let_go()
    until(lambda: len(bench.ran()) >= 2)
    assert bench.ran() == [*first, waiting[1]]


def test_control_commands_are_answered(bench: Bench) -> None:
    bench.worker("-c", "1")
    assert bench.ask("ping") == {"ok": "pong"}
    assert {q["name"] for q in bench.ask("active_queues")} == {BULK, URGENT}
    bench.app.control.cancel_consumer(BULK, reply=True)
    until(lambda: {q["name"] for q in bench.ask("active_queues")} == {URGENT})


def test_events_come_in_groups(bench: Bench, transport: str) -> None:
    bench.worker("-c", "1", "-E")
    with redis.Redis.from_url(bench.url) as client, client.pubsub() as listener:
        listener.psubscribe("*celeryev/task.multi")
        bench.publish(BATCH)
        groups: list[list[dict[str, object]]] = []
        until(lambda: _listen(listener, groups).count("task-succeeded") == BATCH)
    # Kombu's transport brings hints one by one, so that their events go out with little company.
    assert len(groups) < (BATCH / 5 if transport == "ours" else 2 * BATCH)
    kinds = {event["type"] for group in groups for event in group}
    assert kinds == {"task-received", "task-succeeded"}


def _listen(listener: redis.client.PubSub, groups: list[list[dict[str, object]]]) -> list[object]:
    message = listener.get_message(ignore_subscribe_messages=True, timeout=0.1)
    if message:
        envelope = json.loads(message["data"])
        body = envelope["body"]
        if envelope["properties"]["body_encoding"] == "base64":
            body = base64.b64decode(body)
        groups.append(json.loads(body))
    return [event["type"] for group in groups for event in group]
