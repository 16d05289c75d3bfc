"""Commands that start, prepare or examine the parts of an installation."""

import os
import sys
from collections.abc import Callable

import click

from mailer.cli.doctor import examine
from mailer.db import migrate as migrate_ledger
from mailer.errors import UnavailableError
from mailer.settings import Settings

_PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.command()
def migrate() -> None:
    """Make or update the ledger's tables."""
    migrate_ledger(Settings.load().database)
    click.echo("the ledger is up to date")


@click.command()
def doctor() -> None:
    """Check settings, database, broker, limiter, providers and workers."""
    sys.exit(0 if examine(Settings.load()) else 1)


@click.command()
def up() -> None:
    """Run everything here for development, with a Postgres and a Redis of its own."""
    sys.exit(_embedded("stack", "run_up")())


@click.command()
def demo() -> None:
    """Send a sample campaign to a catcher on this machine and show what happens."""
    sys.exit(_embedded("demo", "run_demo")())


def _embedded(module: str, function: str) -> Callable[[], int]:
    """Imported when asked for: the extra is not installed in production."""
    try:
        found = __import__(f"mailer.embedded.{module}", fromlist=[function])
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is missing: install mailer[embedded]") from None
    run: Callable[[], int] = getattr(found, function)
    return run


def _celery(name: str, app: str, help_: str) -> click.Command:
    """A command that becomes ``celery -A APP NAME`` with the arguments passed on."""

    @click.command(name, context_settings=_PASS_ON, help=help_, add_help_option=False)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        # A mistake in the settings is one line, before Celery starts.
        Settings.load().check_servers()
        celery = [sys.executable, "-m", "celery", "-A", app, name, *arguments]
        os.execv(sys.executable, celery)  # noqa: S606 - nothing here comes from outside

    return command


COMMANDS = (
    up,
    demo,
    migrate,
    doctor,
    _celery("worker", "workers", "Send: celery -A workers worker."),
    _celery("beat", "scheduler", "Feed and schedule: celery -A scheduler beat."),
    _celery("flower", "workers", "Watch: celery -A workers flower."),
)
