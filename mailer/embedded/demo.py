"""``make demo``: a sample campaign through everything that mailer consists of, on this machine."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from mailer.campaigns import Campaign
from mailer.campaigns.report import ImportReport, Progress
from mailer.client import Mailer
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.place import Announcement
from mailer.embedded.stack import Stack, until_stopped
from mailer.errors import InputError
from mailer.message import Attachment, Message
from mailer.progress import follow
from mailer.settings import Settings

_RECIPIENTS = Path(__file__).parents[2] / "examples" / "recipients.csv"
_HTML = """\
<div style="font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto">
  <h1 style="font-size: 1.5rem">Hello {{ name }}</h1>
  <p>Your statement for November is ready. Your balance is <strong>{{ amount }}</strong>.</p>
  <p>See you soon in {{ city }}!</p>
</div>
"""
_TEXT = """\
Hello {{ name }},

your statement for November is ready. Your balance is {{ amount }}.

See you soon in {{ city }}!
"""


def run_demo() -> int:
    """Send it, show what happened, and on a terminal stay until Ctrl-C.

    Returns:
        0 when every valid recipient got the message exactly once, else 1.

    Raises:
        UnavailableError: a part did not start, or ended by itself.
        InputError: the sample recipients are not there: this is not a clone of the repository.
    """
    console = Console()
    outcome = 1
    with until_stopped(), Announcement(Path.cwd()) as announcement, temporary_folder() as folder:
        console.print("Starting Postgres, Redis, a mail catcher, a worker, beat and Flower…")
        with Stack(folder, durable=False) as stack:
            announcement.publish(stack.announcement)
            outcome = _show(stack, console)
            if sys.stdin.isatty():
                console.print("\nCtrl-C stops everything.")
                stack.wait()
    return outcome


def _show(stack: Stack, console: Console) -> int:
    with Mailer(Settings.load(stack.environment)) as mailer:
        campaign = mailer.campaigns.create(
            name="November statements", message=_message(), recipients=_recipients()
        )
        campaign.start()
        progress = follow(campaign, console, stack.check)
        received = _received(stack.inbox_url)
        report = campaign.import_report
        console.print(_table(report, progress, received))
        _what_next(stack, campaign, console)
    everybody_once = len(received) == report.accepted and set(received.values()) == {1}
    return 0 if everybody_once and progress.sent == report.accepted else 1


def _recipients() -> Path:
    if not _RECIPIENTS.is_file():
        raise InputError(f"the demo runs in a clone of the repository: there is no {_RECIPIENTS}")
    return _RECIPIENTS


def _message() -> Message:
    terms = b"Statements are made on the first day of each month.\r\n"
    return Message(
        sender="Example Bank <statements@example.com>",
        subject="Your statement, {{ name }}",
        text=_TEXT,
        html=_HTML,
        attachments=[Attachment.from_bytes(terms, "terms.txt")],
        priority="normal",
    )


def _received(inbox_url: str) -> Mapping[str, int]:
    """How many messages arrived for each address."""
    with urlopen(f"{inbox_url}/api/recipients", timeout=10) as answer:  # noqa: S310 - our own
        counts: dict[str, int] = json.load(answer)
    return counts


def _table(report: ImportReport, progress: Progress, received: Mapping[str, int]) -> Table:
    table = Table("", "Messages", title="November statements", title_justify="left")
    table.columns[1].justify = "right"
    rows = {
        "accepted from the file": report.accepted,
        "duplicate, left out": report.duplicate,
        "invalid, left out": report.invalid_total,
        "sent": progress.sent,
        "failed": progress.failed,
        "in doubt": progress.in_doubt,
        "received by the catcher": sum(received.values()),
        "a second": round(progress.rate),
    }
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    return table


def _what_next(stack: Stack, campaign: Campaign, console: Console) -> None:
    """Addresses and a command; without a terminal the stack is about to end."""
    stays = sys.stdin.isatty()
    command = Path(sys.executable).with_name("mailer")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    next_step = f"{command} campaign show {campaign.id}" if stays else f"{command} up"
    console.print(f"\nFlower  {stack.flower_url}\nInbox   {stack.inbox_url}", highlight=False)
    console.print(f"Next    {next_step}", highlight=False, soft_wrap=True)
