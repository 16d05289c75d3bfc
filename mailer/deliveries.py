"""Deliveries: one row, one recipient. The only module that writes the table ``deliveries``.

Every change of state is one conditional statement of ``queries.sql`` for a whole batch.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from mailer.db import Database, sql
from mailer.outcome import Outcome
from mailer.schema import State, campaigns, deliveries

# A queued row whose hint brought no worker within this many seconds is due again. Hints wait in
# the broker for seconds (the window holds seconds of work), so a minute means that they are lost.
PATIENCE = 60.0
# When a worker dies, or the broker forgets, the hints that are left get this many seconds.
HURRY = 5.0


class Reserved(NamedTuple):
    """A row that the feeder took for the broker. ``domain``: the recipient's, an A-label.

    ``alone``: a worker died with it before, so it must not take others with it.
    """

    id: str
    domain: str
    alone: bool


class Claim(NamedTuple):
    """A delivery that this worker alone may send now. ``age``: seconds since its first attempt."""

    id: uuid.UUID
    campaign_id: uuid.UUID
    email: str
    attempt: int
    variables: dict[str, Any]
    attachments: tuple[tuple[str, str, str], ...]
    age: float
    on_doubt: str
    message: bytes
    message_id: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as users see it."""

    id: uuid.UUID
    email: str
    state: State
    attempts: int
    code: int | None
    enhanced_code: str | None
    reply: str | None
    message_id: str


def message_id(delivery: uuid.UUID, campaign: uuid.UUID, single: bool, domain: str) -> str:
    """The Message-ID: the same at every attempt, and for all copies of one single message."""
    return f"<{(campaign if single else delivery).hex}@{domain}>"


def reserve(
    connection: sa.Connection, campaign: uuid.UUID, limit: int, patience: float = PATIENCE
) -> list[Reserved]:
    """Move up to ``limit`` due rows of a campaign to queued."""
    rows = connection.exec_driver_sql(
        sql("reserve"), {"campaign": campaign, "limit": limit, "patience": patience}
    )
    return [Reserved._make(row) for row in rows]


def claim(database: Database, ids: Sequence[str], worker: uuid.UUID, provider: str) -> list[Claim]:
    """Take the queued rows among ``ids`` for ``worker``, to be sent through ``provider``.

    Committed when this returns.
    """
    values = {"ids": list(ids), "worker": worker, "provider": provider}
    with database.begin() as connection:
        rows = connection.exec_driver_sql(sql("claim"), values).all()
    # By place: looking each column up by its name costs 20 µs a row, a tenth of a message.
    return [
        Claim(
            id_, campaign, email, attempt, variables, tuple(map(tuple, files or ())), age, on_doubt,
            bytes(message), message_id(id_, campaign, single, domain),
        )
        for (
            id_, state, campaign, email, attempt, variables, files, age,
            message, single, domain, on_doubt,
        ) in rows
        if state == "sending"
    ]  # fmt: skip


class Attempt(Protocol):
    """What an outcome belongs to: a delivery, and which of its attempts."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def attempt(self) -> int: ...


def record(database: Database, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
    """Write what became of claims, in one statement."""
    if not outcomes:
        return
    with database.begin() as connection:
        connection.exec_driver_sql(
            sql("record"),
            {
                "ids": [attempt.id for attempt, _ in outcomes],
                "attempts": [attempt.attempt for attempt, _ in outcomes],
                "states": [outcome.state.value for _, outcome in outcomes],
                "codes": [outcome.code for _, outcome in outcomes],
                "enhanced_codes": [outcome.enhanced_code for _, outcome in outcomes],
                "replies": [outcome.reply for _, outcome in outcomes],
                "waits": [outcome.wait for _, outcome in outcomes],
            },
        )


def unclaim(database: Database, ids: Sequence[str], worker: uuid.UUID) -> None:
    """Make due again what ``worker`` may have claimed or not: it did not hear of the commit."""
    with database.begin() as connection:
        connection.exec_driver_sql(sql("unclaim"), {"ids": list(ids), "worker": worker})


def release(database: Database, attempts: Mapping[uuid.UUID, int], worker: uuid.UUID) -> None:
    """Make attempts of a dead worker that never reached the wire due again."""
    _settle_attempts(database, "release", attempts, worker)


def doubt(database: Database, attempts: Mapping[uuid.UUID, int], worker: uuid.UUID) -> None:
    """Settle attempts of a dead worker whose outcome nobody knows, as their campaigns say."""
    _settle_attempts(database, "doubt", attempts, worker)


def _settle_attempts(
    database: Database, query: str, attempts: Mapping[uuid.UUID, int], worker: uuid.UUID
) -> None:
    if attempts:
        ids, numbers = list(attempts), list(attempts.values())
        with database.begin() as connection:
            connection.exec_driver_sql(
                sql(query), {"ids": ids, "attempts": numbers, "worker": worker}
            )


def release_rest(database: Database, worker: uuid.UUID) -> None:
    """Make due again what a dead worker still holds, once its journal was replayed."""
    with database.begin() as connection:
        connection.exec_driver_sql(sql("release_rest"), {"worker": worker})


def give_back(database: Database, waits: Iterable[tuple[str, float]]) -> None:
    """Make queued rows due again, each ``wait`` seconds from now."""
    pairs = list(waits)
    if pairs:
        with database.begin() as connection:
            connection.exec_driver_sql(
                sql("give_back"), {"ids": [i for i, _ in pairs], "waits": [w for _, w in pairs]}
            )


def hurry(connection: sa.Connection, wait: float) -> int:
    """Some hints are lost: make due again what is not claimed within ``wait`` seconds.

    Returns how many rows were queued.
    """
    return connection.exec_driver_sql(sql("hurry"), {"wait": wait}).rowcount


def free_lost_hints(connection: sa.Connection) -> int:
    """Make due again what was queued and never claimed. Returns how many."""
    return connection.exec_driver_sql(sql("free_lost_hints")).rowcount


def free_silent_workers(connection: sa.Connection, silence: float) -> int:
    """Settle the claims of workers not seen for ``silence`` seconds. Returns how many."""
    return connection.exec_driver_sql(sql("free_silent_workers"), {"silence": silence}).rowcount


def recall(connection: sa.Connection, campaign: uuid.UUID) -> int:
    """Take a campaign's rows back from the broker. Returns how many."""
    return connection.exec_driver_sql(sql("recall"), {"campaign": campaign}).rowcount


def drop(connection: sa.Connection, campaign: uuid.UUID, target: State) -> int:
    """Cancel or expire a slice of what waits. Returns how many; 0 when none is left."""
    query = sql("drop_cancelled" if target is State.CANCELLED else "drop_expired")
    return connection.exec_driver_sql(query, {"campaign": campaign}).rowcount


def retry(connection: sa.Connection, campaign: uuid.UUID, states: Iterable[State]) -> int:
    """Make ended deliveries of these states due again. Returns how many."""
    return connection.exec_driver_sql(
        sql("retry"), {"campaign": campaign, "states": [s.value for s in states]}
    ).rowcount


def settle(
    connection: sa.Connection, campaign: uuid.UUID, target: State, delivery: uuid.UUID | None
) -> int:
    """Move one delivery in doubt, or all of a campaign, to ``target``. Returns how many."""
    return connection.exec_driver_sql(
        sql("settle"), {"campaign": campaign, "state": target.value, "delivery": delivery}
    ).rowcount


def fold_counts(connection: sa.Connection) -> None:
    """Add up old differences of the counts."""
    connection.exec_driver_sql(sql("fold_counts"))


def listing(
    connection: sa.Connection,
    campaign: uuid.UUID,
    state: State | None,
    after: uuid.UUID | None,
    limit: int,
) -> list[Delivery]:
    """A page of a campaign's deliveries in the order of their ids."""
    query = _VIEW.where(deliveries.c.campaign_id == campaign).order_by(deliveries.c.id).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state.value)
    if after is not None:
        query = query.where(deliveries.c.id > after)
    return [_view(row) for row in connection.execute(query)]


def find(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Delivery | None:
    """The one delivery that fulfils the conditions."""
    row = connection.execute(_VIEW.where(*conditions)).one_or_none()
    return None if row is None else _view(row)


_VIEW = sa.select(deliveries, campaigns.c.single, campaigns.c.message_id_domain).join(campaigns)


def _view(row: sa.Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        email=row.email,
        state=State(row.state),
        attempts=row.attempts,
        code=row.code,
        enhanced_code=row.enhanced_code,
        reply=row.reply,
        message_id=message_id(row.id, row.campaign_id, row.single, row.message_id_domain),
    )
