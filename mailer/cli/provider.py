"""``mailer provider …``"""

import asyncio

import click
from rich.console import Console
from rich.table import Table

from mailer.errors import UnavailableError
from mailer.providers import choose, server
from mailer.settings import Settings
from mailer.smtp import Pool, SmtpError


@click.group()
def provider() -> None:
    """SMTP accounts that mail is handed to."""


@provider.command("list")
def list_() -> None:
    """What is configured."""
    table = Table("name", "host", "tls", "login", "limits", "connections", box=None)
    for name, p in Settings.load().providers.items():
        limits = ", ".join(str(limit) for limit in p.limits) or "none"
        login = "yes" if p.username else "no"
        table.add_row(name, f"{p.host}:{p.port}", p.tls, login, limits, str(p.connections))
    Console(soft_wrap=True).print(table)


@provider.command()
@click.argument("name")
def test(name: str) -> None:
    """Connect, secure the connection, log in; prints what the server offers."""
    settings = Settings.load()
    choose(settings, name)
    try:
        probe = asyncio.run(Pool(server(settings.providers[name])).check())
    except SmtpError as error:
        raise UnavailableError(f"provider {name}: {error}") from None
    click.echo(str(probe))
