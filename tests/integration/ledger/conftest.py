"""A mailer on a fresh ledger and an empty broker, and short words for what tests do with it."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from mailer import Campaign, Mailer, Message, Settings, deliveries, liveness
from mailer.broker import Publisher, make_app
from mailer.deliveries import Claim
from mailer.limits import Limiter
from mailer.outcome import Outcome
from mailer.schema import State

if TYPE_CHECKING:
    from scheduler.feeder import Feeder

MESSAGE = Message("News <news@example.com>", subject="Hello {{ name }}", text="Dear {{ name }}\n")


def people(count: int) -> list[dict[str, object]]:
    return [{"email": f"p{n}@example.net", "name": f"Person {n}"} for n in range(count)]


@dataclass
class Bench:
    """What feeds and sends in a test, step by step and without a worker process."""

    mailer: Mailer
    worker: uuid.UUID

    def campaign(
        self,
        recipients: Iterable[Mapping[str, object]] | int = 3,
        *,
        start: bool = True,
        **more: Any,
    ) -> Campaign:
        made = self.mailer.campaigns.create(
            name="test",
            message=more.pop("message", MESSAGE),
            recipients=people(recipients) if isinstance(recipients, int) else recipients,
            **more,
        )
        if start:
            made.start()
        return made

    def feeder(self) -> "Feeder":
        from scheduler.feeder import Feeder  # asks the environment for the servers

        settings = self.mailer.settings
        return Feeder(
            settings, self.mailer.database, Publisher(make_app("test", settings)), Limiter(settings)
        )

    def reserve(self, campaign: Campaign, limit: int = 100) -> list[str]:
        with self.mailer.database.begin() as connection:
            return [row.id for row in deliveries.reserve(connection, campaign.id, limit)]

    def claim(self, ids: Iterable[str], worker: uuid.UUID | None = None) -> list[Claim]:
        return deliveries.claim(self.mailer.database, list(ids), worker or self.worker, "main")

    def record(self, claims: Iterable[Claim], state: State = State.SENT, wait: float = 0.0) -> None:
        outcome = Outcome(state, 250, "2.0.0", "ok", wait)
        deliveries.record(self.mailer.database, [(claim, outcome) for claim in claims])

    def send(self, campaign: Campaign, state: State = State.SENT, limit: int = 100) -> None:
        self.record(self.claim(self.reserve(campaign, limit)), state)

    def execute(self, statement: str, *values: object) -> list[Any]:
        with self.mailer.database.begin() as connection:
            result = connection.exec_driver_sql(statement, values)
            return list(result.all()) if result.returns_rows else []

    def states(self, campaign: Campaign) -> dict[str, int]:
        """Counted from the rows, and found to be what the counts say."""
        rows = Counter(delivery.state.value for delivery in campaign.deliveries())
        progress = campaign.progress()
        assert {s.value: getattr(progress, s) for s in State if getattr(progress, s)} == rows
        return dict(rows)


@pytest.fixture
def settings(database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MAILER_DATABASE_URL", database_url)
    monkeypatch.setenv("MAILER_BROKER_URL", broker_url)
    return Settings.parse(
        {
            "database_url": database_url,
            "broker_url": broker_url,
            "providers": {"main": {"host": "127.0.0.1", "tls": "none"}},
        },
        {},
    )


@pytest.fixture
def mailer(settings: Settings) -> Iterator[Mailer]:
    with Mailer(settings) as made:
        yield made


@pytest.fixture
def bench(mailer: Mailer) -> Bench:
    worker = uuid.uuid4()
    liveness.beat(mailer.database, worker, "test")
    return Bench(mailer, worker)
