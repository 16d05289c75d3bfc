"""What recipients and their servers told us: suppressions. The only writer of that table."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mailer.db import Database
from mailer.recipients import normalise
from mailer.schema import suppressions


def suppress(database: Database, emails: Iterable[str], reason: str) -> int:
    """Send nothing to these addresses from the next claim on. Returns how many were new.

    Raises:
        ValueError: one of them is no address; then none is suppressed.
    """
    rows = [{"address": a, "reason": reason} for a in {normalise(e)[1] for e in emails}]
    if not rows:
        return 0
    statement = insert(suppressions).values(rows).on_conflict_do_nothing()
    with database.begin() as connection:
        return connection.execute(statement).rowcount


def allow(database: Database, email: str) -> bool:
    """Take an address off the list. Returns whether it was on it."""
    statement = sa.delete(suppressions).where(suppressions.c.address == normalise(email)[1])
    with database.begin() as connection:
        return connection.execute(statement).rowcount > 0


def listed(database: Database) -> list[tuple[str, str, str]]:
    """All suppressed addresses with reason and time, the newest first."""
    query = sa.select(suppressions).order_by(suppressions.c.created_at.desc())
    with database.begin() as connection:
        return [
            (row.address, row.reason, row.created_at.isoformat())
            for row in connection.execute(query)
        ]
