"""The ledger: legal moves only, one claim a delivery, counts that equal the rows."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mailer import Campaign, Mailer, deliveries, liveness
from mailer.campaigns.schedule import drop_leftovers, finish, start_scheduled
from mailer.db import Database, migrate
from mailer.errors import UnavailableError
from mailer.events import allow, suppress
from mailer.outcome import Outcome
from mailer.schema import State, campaigns, metadata
from mailer.schema import deliveries as table
from tests.integration.core.conftest import MESSAGE, people

WORKER = uuid.uuid4()


def started(mailer: Mailer, count: int = 3, **options: object) -> Campaign:
    campaign = mailer.campaigns.create(
        name="n", message=MESSAGE, recipients=people(count), **options
    )
    campaign.start()
    return campaign


def reserve(mailer: Mailer, campaign: Campaign, limit: int = 100) -> list[str]:
    with mailer.database.begin() as connection:
        return [row.id for row in deliveries.reserve(connection, campaign.id, limit)]


def claim(mailer: Mailer, ids: list[str], worker: uuid.UUID = WORKER) -> list[deliveries.Claim]:
    liveness.beat(mailer.database, worker, "test")
    return deliveries.claim(mailer.database, ids, worker, "main")


def counted(mailer: Mailer, campaign: Campaign) -> Counter[str]:
    query = sa.select(table.c.state, sa.func.count()).where(table.c.campaign_id == campaign.id)
    with mailer.database.begin() as connection:
        rows = dict(connection.execute(query.group_by(table.c.state)).tuples().all())
    progress = campaign.progress()
    assert rows == {s: n for s in State if (n := getattr(progress, s.value))}
    return Counter(rows)


def test_a_hint_that_came_twice_claims_nothing(mailer: Mailer) -> None:
    campaign = started(mailer)
    ids = reserve(mailer, campaign)
    assert len(claim(mailer, [*ids, *ids])) == 3
    assert claim(mailer, ids) == []
    assert counted(mailer, campaign) == {"sending": 3}


def test_two_feeders_at_once_reserve_each_row_once(mailer: Mailer) -> None:
    campaign = started(mailer, 400)
    with ThreadPoolExecutor(4) as feeders:
        rows = list(feeders.map(lambda _: reserve(mailer, campaign, 60), range(12)))
    ids = [id_ for row in rows for id_ in row]
    assert len(ids) == len(set(ids)) == 400


def test_two_workers_at_once_claim_each_row_once(mailer: Mailer) -> None:
    campaign = started(mailer, 300)
    ids = reserve(mailer, campaign, 300)
    with ThreadPoolExecutor(4) as workers:
        claims = list(workers.map(lambda n: claim(mailer, ids[n * 20 :], uuid.uuid4()), range(12)))
    found = [one.id for batch in claims for one in batch]
    assert len(found) == len(set(found))
    assert counted(mailer, campaign)["sending"] == len(found)


def test_a_late_outcome_of_an_earlier_attempt_is_ignored(mailer: Mailer) -> None:
    campaign = started(mailer, 1)
    (first,) = claim(mailer, reserve(mailer, campaign))
    deliveries.record(mailer.database, [(first, Outcome(State.PENDING, 450, wait=0.0))])
    (second,) = claim(mailer, reserve(mailer, campaign))
    deliveries.record(mailer.database, [(first, Outcome(State.FAILED, 550))])
    assert second.attempt == 2
    assert counted(mailer, campaign) == {"sending": 1}


def test_a_late_outcome_settles_a_doubt(mailer: Mailer) -> None:
    campaign = started(mailer, 1)
    (one,) = claim(mailer, reserve(mailer, campaign))
    with mailer.database.begin() as connection:
        assert deliveries.free_silent_workers(connection, -1) == 1
    assert counted(mailer, campaign) == {"in_doubt": 1}
    deliveries.record(mailer.database, [(one, Outcome(State.SENT, 250))])
    assert counted(mailer, campaign) == {"sent": 1}


@pytest.mark.parametrize(("policy", "state"), [("hold", "in_doubt"), ("resend", "pending")])
def test_the_claims_of_a_silent_worker_go_where_the_campaign_says(
    mailer: Mailer, policy: str, state: str
) -> None:
    campaign = started(mailer, on_doubt=policy)
    claim(mailer, reserve(mailer, campaign))
    with mailer.database.begin() as connection:
        assert deliveries.free_silent_workers(connection, 20) == 0
        assert deliveries.free_silent_workers(connection, -1) == 3
    assert counted(mailer, campaign) == {state: 3}


def test_lost_hints_are_due_again_once_their_time_is_over(mailer: Mailer) -> None:
    campaign = started(mailer)
    reserve(mailer, campaign)
    with mailer.database.begin() as connection:
        assert deliveries.free_lost_hints(connection) == 0
        connection.execute(sa.update(table).values(due_at=sa.text("now() - interval '1 s'")))
    with mailer.database.begin() as connection:
        assert deliveries.free_lost_hints(connection) == 3
    assert len(reserve(mailer, campaign)) == 3


def test_a_delivery_fails_when_its_worker_died_with_it_three_times(mailer: Mailer) -> None:
    campaign = started(mailer, 1)
    for death in (1, 2, 3):
        with mailer.database.begin() as connection:
            (row,) = deliveries.reserve(connection, campaign.id, 10)
        assert row.alone == (death > 1)
        (one,) = claim(mailer, [row.id])
        deliveries.release(mailer.database, {one.id: one.attempt}, WORKER)
    (delivery,) = campaign.deliveries()
    assert delivery.state == "failed"
    assert "three times" in str(delivery.reply)


def test_what_was_suppressed_meanwhile_is_not_claimed(mailer: Mailer) -> None:
    campaign = started(mailer)
    ids = reserve(mailer, campaign)
    assert suppress(mailer.database, ["P1@Example.com"], "asked") == 1
    assert {one.email for one in claim(mailer, ids)} == {"p0@example.com", "p2@example.com"}
    assert counted(mailer, campaign) == {"sending": 2, "suppressed": 1}
    assert allow(mailer.database, "p1@example.com")
    assert not allow(mailer.database, "p1@example.com")


def test_a_scheduled_campaign_starts_once_with_many_schedulers(mailer: Mailer) -> None:
    campaign = mailer.campaigns.create(name="n", message=MESSAGE, recipients=people(1))
    with mailer.database.begin() as connection:
        connection.execute(sa.update(campaigns).values(state="scheduled", send_at=sa.text("now()")))
    with ThreadPoolExecutor(4) as schedulers:
        starts = list(schedulers.map(lambda _: start_scheduled(mailer.database), range(8)))
    assert sum(starts) == 1
    assert campaign.state == "running"


def test_a_campaign_ends_when_nothing_waits(mailer: Mailer) -> None:
    campaign = started(mailer, 2)
    finish(mailer.database)
    assert campaign.state == "running"
    claims = claim(mailer, reserve(mailer, campaign))
    outcomes = [Outcome(State.SENT, 250), Outcome(State.IN_DOUBT)]
    deliveries.record(mailer.database, list(zip(claims, outcomes, strict=True)))
    finish(mailer.database)
    assert campaign.state == "finished"


def test_what_waits_when_its_time_is_over_expires(mailer: Mailer) -> None:
    campaign = started(mailer)
    with mailer.database.begin() as connection:
        connection.execute(sa.update(campaigns).values(expires_at=sa.text("now()")))
    ids = reserve(mailer, campaign, 1)
    assert claim(mailer, ids) == []
    drop_leftovers(mailer.database)
    assert counted(mailer, campaign) == {"expired": 3}


def test_folded_counts_add_up_to_the_same(mailer: Mailer) -> None:
    campaign = started(mailer, 200)
    for _ in range(120):
        ids = reserve(mailer, campaign, 1)
        deliveries.give_back(mailer.database, [(id_, 0.0) for id_ in ids])
    with mailer.database.begin() as connection:
        connection.exec_driver_sql("UPDATE delivery_counts SET at = at - interval '2 minutes'")
        deliveries.fold_counts(connection)
        rows = connection.exec_driver_sql("SELECT count(*) FROM delivery_counts").scalar_one()
    assert rows <= 4
    assert counted(mailer, campaign) == {"pending": 200}


def test_a_deleted_row_is_counted_no_more(mailer: Mailer) -> None:
    campaign = started(mailer)
    with mailer.database.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.address == "p1@example.com"))
    assert counted(mailer, campaign) == {"pending": 2}


def test_the_migrations_make_the_schema(database_url: str) -> None:
    database = Database(database_url)
    with database.begin() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    # A column's comment is for the readers of mailer/schema.py.
    assert [one for one in found if one[0][0] != "modify_comment"] == []
    database.close()


def test_migrating_at_once_and_again_is_harmless(empty_database_url: str) -> None:
    with ThreadPoolExecutor(3) as programs:
        list(programs.map(migrate, [empty_database_url] * 3))
    migrate(empty_database_url)


def test_a_ledger_that_is_not_set_up_is_told(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(UnavailableError, match="mailer migrate"):
        start_scheduled(database)
    database.close()


def test_a_database_that_is_not_there_is_told_without_its_password() -> None:
    database = Database("postgresql://u:hunter2@127.0.0.1:1/x")
    with pytest.raises(UnavailableError) as caught:
        start_scheduled(database)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
