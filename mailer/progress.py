"""The progress bar of a campaign."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mailer.campaigns import ENDED, Campaign
from mailer.campaigns.report import Progress as Counts


def follow(
    campaign: Campaign,
    console: Console | None = None,
    check: Callable[[], None] = lambda: None,
) -> Counts:
    """Draw the campaign's progress twice a second until it has ended. Returns the last counts.

    ``check`` is called each time; an error it raises ends the wait.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(campaign.name, total=None, rate=0.0, note="")
        while True:
            check()
            counts = campaign.progress()
            bar.update(
                task,
                total=counts.total,
                completed=counts.total - counts.waiting,
                rate=counts.rate,
                note=_note(counts),
            )
            if counts.state in ENDED and not counts.sending:
                return counts
            time.sleep(0.5)


def _note(counts: Counts) -> str:
    """What a person should know beside the bar."""
    parts = [f"{counts.failed} failed"] if counts.failed else []
    if counts.in_doubt:
        parts.append(f"{counts.in_doubt} in doubt")
    if counts.state != "running":
        parts.append(counts.state)
    return ", ".join(parts)
