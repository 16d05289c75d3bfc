"""Who is alive: workers beat into the ledger, so that what a dead one held can be freed.

The only module that writes the table ``workers``.
"""

import uuid

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mailer.db import Database
from mailer.schema import workers

BEAT = 5.0  # seconds between two beats
SILENCE = 20.0  # one that missed four beats is taken for dead


def beat(database: Database, worker: uuid.UUID, name: str) -> None:
    """Say that ``worker`` is alive. The time is the database's: no two clocks to compare."""
    statement = insert(workers).values(id=worker, name=name)
    with database.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": sa.func.now()})
        )


def leave(database: Database, worker: uuid.UUID) -> None:
    """Say that ``worker`` ended in order: whatever it still held is freed at once."""
    with database.begin() as connection:
        connection.execute(sa.delete(workers).where(workers.c.id == worker))


def alive(database: Database, silence: float = SILENCE) -> list[str]:
    """The names of the worker processes seen lately."""
    with database.begin() as connection:
        return list(connection.scalars(sa.select(workers.c.name).where(~_silent(silence))))


def _silent(seconds: float) -> sa.ColumnElement[bool]:
    return workers.c.seen_at < sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def forget_silent(connection: sa.Connection, silence: float = SILENCE) -> int:
    """Drop workers that have gone silent; one that still lives comes back with its next beat.

    Returns how many.
    """
    return connection.execute(sa.delete(workers).where(_silent(silence))).rowcount
