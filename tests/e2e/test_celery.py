"""What Celery users expect of workers and Flower: inspect, events, counts."""

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from celery.events import EventReceiver

from tests.e2e.system import System, eventually, gate, people


class Receiver(EventReceiver):  # type: ignore[misc]
    """Notes how many events each message from the broker holds."""

    sizes: ClassVar[list[int]] = []

    def _receive(self, body: Any, message: Any) -> None:
        self.sizes.append(len(body) if isinstance(body, list) else 1)
        super()._receive(body, message)


@contextmanager
def events(system: System) -> Iterator[list[dict[str, Any]]]:
    """The task events that workers send meanwhile."""
    found: list[dict[str, Any]] = []
    Receiver.sizes.clear()
    stop = threading.Event()

    def listen() -> None:
        with system.app.connection_for_read() as connection:
            receiver = Receiver(connection, handlers={"*": found.append}, app=system.app)
            for _ in receiver.consume(limit=None, timeout=None, wakeup=True):
                if stop.is_set():
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    eventually(lambda: found)  # heartbeats: it listens
    try:
        yield found
    finally:
        stop.set()
        listener.join(10)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own Flower
        text = answer.read().decode()
    return json.loads(text) if "/api/" in url else text


def test_workers_answer_while_batches_run(system: System) -> None:
    recipients = people(600)
    with gate(system.catcher):
        campaign = system.send(recipients)
        eventually(lambda: campaign.progress().sending)
        (active,) = (a for a in [system.inspect("w1", "active") or system.inspect("w2", "active")])
        assert active[0]["name"] == "mailer.deliver"
        assert active[0]["args"][0] == "main"
        assert system.inspect("w1", "ping") == {"ok": "pong"}
        assert system.inspect("w1", "reserved") is not None
    assert campaign.wait(60).sent == 600


def test_each_delivery_is_an_event_with_its_outcome(system: System) -> None:
    recipients = people(300)
    refused = recipients[7]["email"]
    with events(system) as seen:
        system.catcher.script = lambda stage, address: (
            "550 5.1.1 No such user" if stage == "rcpt" and address == refused else None
        )
        campaign = system.send(recipients)
        progress = campaign.wait(60)
        assert (progress.sent, progress.failed) == (299, 1)
        eventually(lambda: Counter(e["type"] for e in seen)["task-succeeded"] >= 299)
    ids = {str(d.id): d.state for d in campaign.deliveries()}
    ours = [e for e in seen if e.get("uuid") in ids]
    kinds = Counter(e["type"] for e in ours)
    assert kinds == {"task-received": 300, "task-succeeded": 299, "task-failed": 1}
    assert not [e for e in ours if refused in str(e)]
    assert max(Receiver.sizes) > 10  # grouped, else Flower could not keep up


def test_flower_lists_the_workers_and_counts_the_tasks(system: System) -> None:
    process, url = system.flower()
    eventually(lambda: {"w1@e2e", "w2@e2e"} <= set(get(f"{url}/api/workers")), 60)
    campaign = system.send(people(200))
    assert campaign.wait(60).sent == 200
    ids = {str(d.id) for d in campaign.deliveries()}

    def counted() -> bool:
        tasks = get(f"{url}/api/tasks?limit=10000")
        return ids <= {id_ for id_, task in tasks.items() if task["state"] == "SUCCESS"}

    eventually(counted)
    assert "w1@e2e" in get(f"{url}/workers")
    process.end()


def test_control_shutdown_ends_a_worker_in_order_and_the_others_go_on(system: System) -> None:
    third = system.worker("w3", "-c", "2")
    recipients = people(1500)
    with gate(system.catcher):
        campaign = system.send(recipients)
        eventually(lambda: system.inspect("w3", "active"))
        system.app.control.shutdown(destination=["w3@e2e"])
        eventually(lambda: any("Got shutdown from remote" in line for line in third.lines))
    assert third.wait() == 0
    assert campaign.wait(60).sent == 1500
    assert system.each_got_one(recipients)
