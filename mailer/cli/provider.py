"""``mailer provider …``"""

import asyncio

import click

from mailer.cli.tables import print_table
from mailer.errors import UnavailableError
from mailer.providers import choose, server
from mailer.settings import Settings, presets
from mailer.smtp import Pool, SmtpError


@click.group()
def provider() -> None:
    """SMTP accounts that mail is handed to."""


@provider.command("list")
def list_() -> None:
    """What is configured."""
    print_table(
        ("name", "host", "tls", "login", "limits", "connections"),
        (
            (
                name,
                f"{p.host}:{p.port}",
                p.tls,
                "yes" if p.username else "no",
                ", ".join(str(limit) for limit in p.limits) or "none",
                p.connections,
            )
            for name, p in Settings.load().providers.items()
        ),
    )


@provider.command("presets")
def list_presets() -> None:
    """Providers whose numbers are known, and how surely."""
    print_table(
        ("preset", "provider", "host", "limits", "connections", "confidence"),
        (
            (
                name,
                preset.title,
                f"{preset.values['host']}:{preset.values['port']}"
                if "host" in preset.values
                else preset.needs,
                ", ".join(preset.values.get("limits", ())),
                preset.values.get("connections"),
                preset.confidence,
            )
            for name, preset in presets().items()
        ),
    )


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
    click.echo(f"{name}: connected to {probe.name}, {probe.tls_version or 'no TLS'}")
    for keyword, parameters in sorted(probe.extensions.items()):
        click.echo(f"  {keyword} {parameters}".rstrip())
