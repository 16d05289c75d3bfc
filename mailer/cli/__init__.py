"""The command line: ``mailer …``. Exit codes: 0 done, 1 failed, 2 wrong use or bad input."""

import sys

import click

from mailer.cli.app import cli
from mailer.errors import MailerError

__all__ = ["main"]


def main() -> None:
    """Run one command. An error is one line on standard error."""
    try:
        sys.exit(cli(prog_name="mailer", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        _fail(error.format_message(), prefix="")
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(1)  # Ctrl-C: the user knows
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output, such as head, has seen enough
    except MailerError as error:
        _fail(str(error))


def _fail(text: str, prefix: str = "mailer: ") -> None:
    sys.stderr.write(f"{prefix}{text}\n")
    sys.exit(2)
