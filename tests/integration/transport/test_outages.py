"""A lost connection or a restarted Redis under a busy worker, over our transport."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mailer.embedded.process import Child
from mailer.embedded.servers import Redis, _redis_program
from tests.integration.transport.conftest import Bench, make_bench, until
from workers.batching import BATCH


@pytest.fixture
def bench(own_redis: Redis, redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    notes = redis_url.removesuffix("/0") + "/1"
    yield from make_bench(own_redis.url, notes, tmp_path, "ours")


def test_a_busy_worker_survives_the_loss_of_its_connections(bench: Bench) -> None:
    worker = bench.worker("-c", "2")
    bench.hold()
    ids = bench.publish(5 * BATCH)
    until(lambda: len(bench.batches()) == 2)
    with redis.Redis.from_url(bench.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
    later = bench.publish(1, urgent=True)
    bench.let_go()
    until(lambda: set(later) <= set(bench.ran()))
    assert worker.poll() is None
    assert bench.ask("ping")
    assert len(bench.ran()) == len(set(bench.ran()))  # none ran twice
    assert set(bench.ran()) <= {*ids, *later}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_busy_worker_survives_restarts_of_its_redis(
    bench: Bench, own_redis: Redis, pool: str
) -> None:
    worker = bench.worker("-c", "2", "-P", pool)
    for _ in range(2):
        before = len(bench.batches())
        bench.hold()
        bench.publish(5 * BATCH)
        until(lambda seen=before: len(bench.batches()) >= seen + 2)
        restart(own_redis)
        bench.let_go()
        later = bench.publish(3)
        until(lambda wanted=later: set(wanted) <= set(bench.ran()))
    assert worker.poll() is None
    assert len(bench.ran()) == len(set(bench.ran()))
    until(lambda: bench.ask("active") == [])


def restart(server: Redis) -> None:
    """End it and begin it again at the same address, empty."""
    server.stop()
    server.child = Child("redis", [_redis_program(), str(server._data / "redis.conf")])
    with redis.Redis.from_url(server.url) as client:
        until(lambda: _answers(client))


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
