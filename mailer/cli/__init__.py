"""The command line: ``mailer …``. Exit codes: 0 done, 1 failed, 2 wrong use or bad input."""

import sys

from mailer.cli.app import cli
from mailer.errors import MailerError

__all__ = ["main"]


def main() -> None:
    """Run one command. An error is one line on standard error."""
    try:
        cli(prog_name="mailer", standalone_mode=True)
    except MailerError as error:
        sys.stderr.write(f"mailer: {error}\n")
        sys.exit(2)
