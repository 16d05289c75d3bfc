"""What a dead worker leaves behind, and what the ledger says once that was looked through."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mailer import Campaign, InputError, Mailer, Message, Settings
from mailer import deliveries as ledger
from mailer.db import Database
from mailer.deliveries import Claim
from mailer.errors import ConflictError, NotFoundError, UnavailableError
from mailer.liveness import beat
from mailer.schema import deliveries
from mailer.smtp import Kind, Phase, Verdict
from scheduler.janitor import clean
from workers import replay as replaying
from workers.journal import Batch, Journal
from workers.replay import replay

OK = Verdict(Kind.DELIVERED, Phase.DOT, 250, "2.0.0", "Kept")


class Dead:
    """A worker that claimed three and died: one answered, one silent, one not yet sent."""

    def __init__(self, mailer: Mailer, campaign: Campaign, count: int = 3) -> None:
        self.id = uuid.uuid4()
        self._database = mailer.database
        beat(mailer.database, self.id, "dead")
        self.journal = Journal(mailer.settings.state_dir, self.id)
        self.claims = self._claim(campaign, count)
        self.batch: Batch = self.journal.batch(self.claims)

    def _claim(self, campaign: Campaign, count: int) -> list[Claim]:
        with self._database.begin() as connection:
            ids = [row.id for row in ledger.reserve(connection, campaign.id, count)]
        return ledger.claim(self._database, ids, self.id, "main")

    def die_in_the_middle(self) -> None:
        answered, silent, _ = self.claims
        self.batch.before_dot(answered)
        self.batch.after_reply(answered, OK)
        self.batch.before_dot(silent)
        self.journal.close(keep=True)


@pytest.fixture
def mailer(database_url: str, broker_url: str, tmp_path: Path) -> Iterator[Mailer]:
    settings = Settings.parse(
        {
            "database_url": database_url,
            "broker_url": broker_url,
            "state_dir": str(tmp_path / "state"),
            "providers": {"main": {"host": "127.0.0.1", "tls": "none"}},
        },
        {},
    )
    with Mailer(settings) as made:
        yield made


def started(mailer: Mailer, count: int = 3, on_doubt: str = "hold") -> Campaign:
    campaign = mailer.campaigns.create(
        name="test",
        message=Message(sender="a@example.com", subject="Hi", text="Hello"),
        recipients=[{"email": f"p{n}@example.com"} for n in range(count)],
        provider="main",
        on_doubt=on_doubt,
    )
    campaign.start()
    return campaign


def states(campaign: Campaign, claims: list[Claim]) -> list[str]:
    found = {d.id: d.state.value for d in campaign.deliveries()}
    return [found[claim.id] for claim in claims]


def silence(database: Database) -> None:
    """As if the worker had not been heard of, and the ledger been up, for long."""
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE workers SET seen_at = now() - interval '1 hour'"))
        ledger.free_silent_workers(connection, 0.0)


def test_a_replay_records_the_answered_doubts_the_silent_and_frees_the_rest(
    mailer: Mailer,
) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.die_in_the_middle()
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["sent", "in_doubt", "pending"]
    assert not list((mailer.settings.state_dir / "journals").iterdir())


def test_with_resend_what_is_in_doubt_is_due_again(mailer: Mailer) -> None:
    campaign = started(mailer, on_doubt="resend")
    dead = Dead(mailer, campaign)
    dead.die_in_the_middle()
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["sent", "pending", "pending"]


def test_a_replay_after_the_janitor_still_tells_what_is_known(mailer: Mailer) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.die_in_the_middle()
    silence(mailer.database)
    assert states(campaign, dead.claims) == ["in_doubt"] * 3
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["sent", "in_doubt", "pending"]


def test_without_its_folder_a_silent_worker_leaves_all_in_doubt(mailer: Mailer) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.die_in_the_middle()
    shutil.rmtree(mailer.settings.state_dir)
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["sending"] * 3
    silence(mailer.database)
    assert states(campaign, dead.claims) == ["in_doubt"] * 3


def test_a_living_worker_is_left_alone(mailer: Mailer) -> None:
    campaign = started(mailer)
    living = Dead(mailer, campaign)
    replay(mailer.database, mailer.settings)
    clean(mailer.database)
    assert states(campaign, living.claims) == ["sending"] * 3
    living.journal.close(keep=False)


@pytest.mark.parametrize("step", ["record", "doubt", "release", "release_rest", "hurry"])
def test_a_replay_cut_off_anywhere_is_done_again(
    mailer: Mailer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.die_in_the_middle()

    def cut(*_: object) -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as away:
        away.setattr(replaying.deliveries, step, cut)
        with pytest.raises(UnavailableError):
            replay(mailer.database, mailer.settings)
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["sent", "in_doubt", "pending"]


def test_a_claim_that_was_not_noted_yet_is_due_again(mailer: Mailer) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.batch.close()
    dead.journal.close(keep=True)
    replay(mailer.database, mailer.settings)
    assert states(campaign, dead.claims) == ["pending"] * 3


def test_what_kills_three_workers_is_set_aside_and_goes_alone_before(mailer: Mailer) -> None:
    campaign = started(mailer, count=1)
    for death in range(3):
        with mailer.database.begin() as connection:
            (row,) = ledger.reserve(connection, campaign.id, 10)
            assert row.alone is bool(death)
            connection.execute(sa.update(deliveries).values(state="pending", due_at=sa.func.now()))
        dead = Dead(mailer, campaign, 1)
        dead.journal.close(keep=True)
        replay(mailer.database, mailer.settings)
    (delivery,) = campaign.deliveries("failed")
    assert delivery.reply == "its worker broke down three times while sending it"


def test_operators_settle_what_is_in_doubt(mailer: Mailer) -> None:
    campaign = started(mailer)
    dead = Dead(mailer, campaign)
    dead.journal.close(keep=True)
    silence(mailer.database)
    first, second, _ = (claim.id for claim in dead.claims)
    assert campaign.settle("sent", first) == 1
    assert campaign.settle("failed", str(second)) == 1
    with pytest.raises(ConflictError):
        campaign.settle("failed", first)
    with pytest.raises(NotFoundError):
        campaign.settle("failed", "none")
    with pytest.raises(InputError):
        campaign.settle("lost")
    clean(mailer.database)
    assert campaign.state == "finished"
    assert campaign.settle("resend") == 1
    assert campaign.state == "running"
    assert states(campaign, dead.claims) == ["sent", "failed", "pending"]
