"""What the janitor and the feeder do, step by step."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from mailer import Settings, UnavailableError, deliveries
from mailer.campaigns.schedule import drop_leftovers, finish, reopen
from mailer.schema import State

from .conftest import Bench


def test_a_finished_campaign_goes_on_when_a_doubt_turns_out_not_to_have_gone_out(
    bench: Bench,
) -> None:
    campaign = bench.campaign(1)
    claims = bench.claim(bench.reserve(campaign))
    bench.record(claims, State.IN_DOUBT)
    assert finish(bench.mailer.database) == 1
    deliveries.release(bench.mailer.database, {c.id: c.attempt for c in claims}, bench.worker)
    assert (campaign.state, bench.states(campaign)) == ("finished", {"pending": 1})
    assert reopen(bench.mailer.database) == 1
    assert campaign.state == "running"
    bench.send(campaign)
    assert finish(bench.mailer.database) == 1
    assert bench.states(campaign) == {"sent": 1}


def test_only_finished_campaigns_are_opened_again(bench: Bench) -> None:
    campaigns = [bench.campaign(2, start=False), bench.campaign(2), bench.campaign(2)]
    campaigns[2].pause()
    bench.send(done := bench.campaign(2))
    finish(bench.mailer.database)
    assert reopen(bench.mailer.database) == 0
    assert [c.state for c in (*campaigns, done)] == ["draft", "running", "paused", "finished"]


def test_counts_of_campaigns_that_live_or_ended_lately_are_folded(bench: Bench) -> None:
    campaign = bench.campaign(60)
    for _ in range(60):
        bench.send(campaign, limit=1)
    finish(bench.mailer.database)
    bench.execute("UPDATE delivery_counts SET at = at - interval '2 minutes'")
    with bench.mailer.database.begin() as connection:
        deliveries.fold_counts(connection)
    assert bench.execute("SELECT count(*) FROM delivery_counts")[0][0] <= 6
    assert bench.states(campaign) == {"sent": 60}


def test_what_a_cut_off_cancel_left_is_dropped(bench: Bench) -> None:
    campaign = bench.campaign(3)
    bench.reserve(campaign, 1)
    bench.execute("UPDATE campaigns SET state = 'cancelled'")
    drop_leftovers(bench.mailer.database)
    assert bench.states(campaign) == {"cancelled": 3}


def test_a_feeder_publishes_what_is_due_and_no_more_than_the_limits_allow_soon(
    bench: Bench, settings: Settings
) -> None:
    campaign = bench.campaign(30)
    bench.mailer.settings = settings.model_copy(
        update={
            "providers": Settings.parse(
                {"providers": {"main": {"host": "h", "limits": ["5/s"]}}}, {}
            ).providers
        }
    )
    feeder = bench.feeder()
    assert feeder.feed() == 10
    assert feeder.feed() == 0
    assert bench.states(campaign) == {"queued": 10, "pending": 20}
    with redis.Redis.from_url(settings.redis) as client:
        assert client.llen("mailer.bulk") == 10


def test_a_feeder_feeds_running_campaigns_of_known_providers_only(bench: Bench) -> None:
    idle = [bench.campaign(2, start=False), bench.campaign(2), bench.campaign(2)]
    idle[1].pause()
    bench.execute("UPDATE campaigns SET providers = '{gone}' WHERE id = %s", idle[2].id)
    fed = bench.campaign(2)
    assert bench.feeder().feed() == 2
    assert [bench.states(c) for c in (*idle, fed)] == [{"pending": 2}] * 3 + [{"queued": 2}]


def test_feeders_at_once_publish_each_delivery_once(bench: Bench, settings: Settings) -> None:
    campaign = bench.campaign(300)
    feeders = [bench.feeder() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(lambda feeder: feeder.feed(), feeders)) == 300
    with redis.Redis.from_url(settings.redis) as client:
        assert client.llen("mailer.bulk") == 300
    assert bench.states(campaign) == {"queued": 300}


def test_hints_that_the_broker_did_not_take_are_due_again(bench: Bench, settings: Settings) -> None:
    campaign = bench.campaign(3)
    bench.mailer.settings = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with pytest.raises(UnavailableError, match=r"^broker: "):
        bench.feeder().feed()
    assert bench.states(campaign) == {"pending": 3}


def test_janitors_at_once_free_each_claim_once(bench: Bench) -> None:
    campaign = bench.campaign(50, on_doubt="resend")
    bench.claim(bench.reserve(campaign), uuid.uuid4())

    def free(_: int) -> int:
        with bench.mailer.database.begin() as connection:
            return deliveries.free_silent_workers(connection, 0.0)

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(free, range(3))) == 50
    assert bench.states(campaign) == {"pending": 50}
