"""``mailer doctor``: is everything there that a campaign needs?"""

import asyncio
from collections.abc import Callable

import click
import sqlalchemy as sa

from mailer.broker import Publisher, make_app
from mailer.db import Database
from mailer.errors import MailerError, UnavailableError
from mailer.limits import Limiter
from mailer.liveness import alive
from mailer.providers import choose, server
from mailer.settings import Settings
from mailer.smtp import Pool, SmtpError


def examine(settings: Settings) -> bool:
    """Print one line a part. Returns whether all are well."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("database", lambda: _database(settings)),
        ("broker", lambda: _broker(settings)),
        ("limiter", lambda: _limiter(settings)),
        ("workers", lambda: _workers(settings)),
        ("providers", lambda: ", ".join(choose(settings, list(settings.providers)))),
        *(
            (f"provider {name}", lambda name=name: _provider(settings, name))
            for name in settings.providers
        ),
    ]
    results = [_report(name, check) for name, check in checks]  # all are told, whatever fails
    return all(results)


def _report(name: str, check: Callable[[], str]) -> bool:
    try:
        click.echo(f"  ok  {name}: {check()}")
    except MailerError as error:
        click.echo(f"FAIL  {name}: {error}")
        return False
    return True


def _database(settings: Settings) -> str:
    database = Database(settings.database, connections=1)
    try:
        with database.begin() as connection:
            version = connection.execute(sa.text("SHOW server_version")).scalar_one()
            revision = connection.execute(
                sa.text("SELECT version_num FROM alembic_version")
            ).scalar_one()
    finally:
        database.close()
    return f"PostgreSQL {version}, ledger at revision {revision}"


def _broker(settings: Settings) -> str:
    with make_app("doctor", settings) as app:
        Publisher(app).check()
        return f"{settings.broker.split('://', 1)[0]} answers"


def _limiter(settings: Settings) -> str:
    return f"Redis {Limiter(settings).version()}"


def _workers(settings: Settings) -> str:
    database = Database(settings.database, connections=1)
    try:
        names = alive(database)
    finally:
        database.close()
    if not names:
        raise UnavailableError("none has been heard of; start one with `mailer worker`")
    return f"{len(names)} processes alive"


def _provider(settings: Settings, name: str) -> str:
    try:
        found = asyncio.run(Pool(server(settings.providers[name])).check())
    except SmtpError as error:
        raise UnavailableError(str(error)) from None
    return f"{found.name} answers, {found.tls_version or 'no TLS'}"
