"""The feeder: keeps a small window of hints in the broker, whatever the size of the campaigns."""

import logging
import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mailer import deliveries
from mailer.broker import Hint, Publisher
from mailer.db import Database, sql
from mailer.errors import UnavailableError
from mailer.limits import Limiter
from mailer.settings import Settings

logger = logging.getLogger(__name__)
# Hints outstanding for one provider: half a second of work at 8,000 messages/s, two ticks and more.
WINDOW = 4000
# No more is released than a provider's limits let through in this many seconds.
AHEAD = 2.0


@dataclass(frozen=True, slots=True)
class Work:
    """A running campaign and its counts."""

    campaign: uuid.UUID
    providers: Sequence[str]
    urgent: bool
    pending: int
    queued: int


class Feeder:
    """Moves due deliveries into the broker. Any number of feeders may run."""

    def __init__(
        self, settings: Settings, database: Database, publisher: Publisher, limiter: Limiter
    ) -> None:
        self._settings = settings
        self._database = database
        self._publisher = publisher
        self._limiter = limiter

    def feed(self) -> int:
        """One round. Returns how many hints were published.

        Raises:
            UnavailableError: the ledger or the broker does not answer.
        """
        if not self._publisher.remembers():
            self._republish()
        return sum(
            self._feed_provider(provider, works)
            for provider, works in self._by_provider().items()
            if provider in self._settings.providers
        )

    def _republish(self) -> None:
        """The broker lost its memory: what is queued is due again. Marked afterwards, so that a
        feeder that dies in between leaves it to the next; a hint that comes twice does no harm.
        """
        with self._database.begin() as connection:
            lost = deliveries.hurry(connection, 0.0)
        self._publisher.mark()
        if lost:
            logger.warning("the broker has forgotten its hints: %d are published again", lost)

    def _by_provider(self) -> dict[str, list[Work]]:
        with self._database.begin() as connection:
            rows = connection.exec_driver_sql(sql("work")).all()
        works: dict[str, list[Work]] = defaultdict(list)
        for row in rows:
            work = Work(*row)
            works[work.providers[0]].append(work)
        return works

    def _feed_provider(self, provider: str, works: Sequence[Work]) -> int:
        window = math.ceil(min(WINDOW, self._limiter.soon(provider, AHEAD)))
        room = window - sum(work.queued for work in works)
        published = 0
        for work in sorted(works, key=lambda work: (not work.urgent, work.pending)):
            waiting = sum(1 for other in works if other.pending)
            share = work.pending if work.urgent else math.ceil(room / max(waiting, 1))
            if work.pending and share > 0:
                published += self._release(work, provider, min(share, WINDOW))
        return published

    def _release(self, work: Work, provider: str, limit: int) -> int:
        with self._database.begin() as connection:
            reserved = deliveries.reserve(connection, work.campaign, limit)
        hints = [Hint(row.id, provider, row.domain, row.alone) for row in reserved]
        try:
            self._publisher.publish(hints, urgent=work.urgent)
        except UnavailableError:
            # Some may have arrived; a row is claimed once, so giving all back does no harm.
            deliveries.give_back(self._database, [(hint.id, 1.0) for hint in hints])
            raise
        return len(hints)
