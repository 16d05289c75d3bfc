"""What recipients and their servers told us: suppressions. The only writer of that table."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from mailer.db import Database
from mailer.errors import InputError
from mailer.recipients import normalise
from mailer.schema import suppressions


def suppress(database: Database, emails: Iterable[str], reason: str) -> int:
    """Send nothing to these addresses from the next claim on. Returns how many were new.

    Raises:
        InputError: one of them is no address; then none is suppressed.
    """
    # One array, since a statement takes 65,535 parameters at the most and lists are longer.
    addresses = sa.func.unnest(sa.literal(sorted({_address(e) for e in emails}), ARRAY(sa.Text)))
    rows = sa.select(addresses, sa.literal(reason))
    statement = insert(suppressions).from_select(["address", "reason"], rows)
    new = statement.on_conflict_do_nothing().returning(suppressions.c.address)
    with database.begin() as connection:
        return len(connection.scalars(new).all())


def allow(database: Database, email: str) -> bool:
    """Take an address off the list. Returns whether it was on it.

    Raises:
        InputError: it is no address.
    """
    statement = sa.delete(suppressions).where(suppressions.c.address == _address(email))
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


def _address(email: str) -> str:
    try:
        return normalise(email)[1]
    except ValueError as error:
        raise InputError(f"{email!r}: {error}") from None
