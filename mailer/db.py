"""The way to the ledger: one engine a process, errors that a person understands, migrations."""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import orjson
import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - the pool's: all connections stayed in use
)

from mailer.errors import UnavailableError

T = TypeVar("T")
logger = logging.getLogger(__name__)
_MIGRATIONS = Path(__file__).parent / "migrations"


def dumps(value: object) -> str:
    """JSON for a jsonb column."""
    return orjson.dumps(value, default=str).decode()


class Database:
    """Connections to one ledger, kept and shared by the threads of a process."""

    def __init__(self, url: str, *, connections: int = 5) -> None:
        self.engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=connections,
            max_overflow=connections,
            # A connection that died with a restarted server is replaced before anybody meets it;
            # one round trip a checkout, and a checkout serves a whole batch.
            pool_pre_ping=True,
            connect_args={
                "application_name": "mailer",
                # A server that vanished without a word is noticed after 20 seconds.
                "connect_timeout": 10,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 2,
                "tcp_user_timeout": 20_000,
            },
            json_serializer=dumps,
            json_deserializer=orjson.loads,
        )

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end, rolled back by any error.

        Raises:
            UnavailableError: the server cannot be reached, went away, has no ledger yet, or does
                not let us write.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, InternalError) as error:
            raise UnavailableError(f"database: {_reason(error.orig)}") from None
        except (psycopg.OperationalError, TimeoutError) as error:  # the first comes from a COPY
            raise UnavailableError(f"database: {_reason(error)}") from None
        except ProgrammingError as error:
            raise _unprepared(error) from None

    def close(self) -> None:
        """Close the idle connections."""
        self.engine.dispose()


def _reason(error: BaseException | None) -> str:
    """The server's or the driver's own first line; neither ever holds the password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unprepared(error: DBAPIError) -> Exception:
    """What to say of a database that somebody has yet to set up; another error is a defect."""
    match getattr(error.orig, "sqlstate", None):
        case "42P01" | "42703" | "42883":  # undefined table, column, function
            return UnavailableError(
                "database: the ledger is not set up for this version; run `mailer migrate`"
            )
        case "42501":  # insufficient privilege
            return UnavailableError(f"database: {_reason(error.orig)}")
    return error


def migrate(url: str) -> None:
    """Bring the ledger's schema to this version's. Safe to run by several programs at once.

    Raises:
        UnavailableError: the server cannot be reached, or its ledger is newer than this version.
    """
    database = Database(url, connections=1)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        with database.begin() as connection:
            # Any fixed number does: it makes the second of two migrations wait for the first.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7261001)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise UnavailableError(f"database: the ledger is of another version: {error}") from None
    finally:
        database.close()


def keep_trying(
    call: Callable[[], T], *, wait: float = 0.5, stop: Callable[[], bool] = lambda: False
) -> T:
    """Call until what it needs answers; one line when it begins to wait and one when it goes on.

    Raises:
        UnavailableError: ``stop()`` became true first.
    """
    waiting = False
    while True:
        try:
            result = call()
        except UnavailableError as error:
            if stop():
                raise
            if not waiting:
                logger.warning("waiting: %s", error)
            waiting = True
            time.sleep(wait)
        else:
            if waiting:
                logger.warning("going on")
            return result


@functools.cache
def sql(name: str) -> str:
    """The statement ``name`` of ``mailer/queries.sql``: ``-- name: x`` starts one."""
    return _queries()[name]


@functools.cache
def _queries() -> dict[str, str]:
    text = (Path(__file__).parent / "queries.sql").read_text(encoding="utf-8")
    return {
        name.strip(): body.strip()
        for name, _, body in (part.partition("\n") for part in text.split("-- name:")[1:])
    }
