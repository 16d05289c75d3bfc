"""Servers for the tests: embedded ones of their own, one set for each process of pytest-xdist.

A test asks for ``database_url`` (a fresh, migrated database), ``broker_url`` (an empty Redis) or
``catcher`` (an SMTP sink). Nothing is started for a run that asks for none of them, and no server
that already runs on the machine is touched.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from kombu import pools

from mailer.db import migrate
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.catcher import Catcher
from mailer.embedded.servers import Postgres, Redis

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where servers keep their data; unlike ``tmp_path`` open to Postgres when we are root."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_url(server_folder: Path) -> Iterator[str]:
    """A Postgres for the whole run, with a migrated database to copy from."""
    with Postgres(server_folder / "postgres", durable=False) as server:
        _run(server.url, f"CREATE DATABASE {_TEMPLATE}")
        migrate(_database(server.url, _TEMPLATE))
        yield server.url


@pytest.fixture(scope="session")
def redis_url(server_folder: Path) -> Iterator[str]:
    """A Redis for the whole run."""
    with Redis(server_folder / "redis") as server:
        yield server.url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh database without any table, for this test alone."""
    with fresh_database(postgres_url, "template0") as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, migrated database for this test alone."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def broker_url(redis_url: str) -> str:
    """A Redis emptied for this test, and none of another test's connections to it."""
    pools.reset()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """An SMTP sink that keeps what it gets."""
    with Catcher() as sink:
        yield sink


@contextmanager
def fresh_database(server: str, template: str = _TEMPLATE) -> Iterator[str]:
    """A database of its own, migrated unless ``template`` says otherwise."""
    name = f"test_{next(_numbers)}"
    _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _database(server, name)
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")  # a test may leave connections behind


def _run(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())


def _database(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")
