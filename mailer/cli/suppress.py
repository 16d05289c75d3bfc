"""``mailer suppress …``"""

from pathlib import Path

import click

from mailer.client import Mailer
from mailer.events import allow, listed
from mailer.events import suppress as add_all
from mailer.recipients import Recipient, read


@click.group()
def suppress() -> None:
    """Addresses that get nothing, whatever the campaign."""


@suppress.command()
@click.argument("email", nargs=-1, required=True)
@click.option("--reason", default="added by hand", show_default=True)
def add(email: tuple[str, ...], reason: str) -> None:
    """Suppress addresses."""
    with Mailer() as mailer:
        click.echo(f"{add_all(mailer.database, email, reason)} added")


@suppress.command()
@click.argument("email")
def remove(email: str) -> None:
    """Let an address get mail again."""
    with Mailer() as mailer:
        found = allow(mailer.database, email)
    click.echo("removed" if found else "was not on the list")


@suppress.command("list")
def list_() -> None:
    """Address, reason and time, tab-separated, the newest first."""
    with Mailer() as mailer:
        for row in listed(mailer.database):
            click.echo("\t".join(row))


@suppress.command("import")
@click.argument("file", type=Path)
@click.option("--reason", default="imported", show_default=True)
def import_(file: Path, reason: str) -> None:
    """Suppress all addresses of a CSV, TSV, XLSX or JSONL file."""
    rows = list(read(file))
    addresses = [row.email for row in rows if isinstance(row, Recipient)]
    with Mailer() as mailer:
        added = add_all(mailer.database, addresses, reason)
    click.echo(f"{added} added, {len(rows) - len(addresses)} rows not usable")
