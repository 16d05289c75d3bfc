"""``mailer campaign …``"""

import csv
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import orjson

from mailer.campaigns import VERDICTS, Campaign, ImportReport
from mailer.cli.message import Time, build, message_options
from mailer.cli.tables import print_table
from mailer.client import Mailer
from mailer.deliveries import Delivery
from mailer.errors import InputError
from mailer.progress import follow

_COLUMNS = ("id", "email", "state", "attempts", "code", "enhanced_code", "reply", "message_id")


@click.group()
def campaign() -> None:
    """One message to many recipients."""


@campaign.command()
@click.option("--name", required=True)
@message_options
@click.option("--recipients", required=True, help="CSV, TSV, XLSX or JSONL file.")
@click.option("--provider", multiple=True, help="Again for a second choice.")
@click.option("--send-at", type=Time(), help="Start by itself then, such as 2026-12-01T09:00Z.")
@click.option("--expires-at", type=Time(), help="Send nothing after that time.")
@click.option(
    "--on-doubt", type=click.Choice(["hold", "resend"]), default="hold", show_default=True
)
@click.option("--key", help="The same key makes no second campaign.")
@click.option("--start", is_flag=True, help="Start at once.")
def create(
    name: str,
    recipients: str,
    provider: tuple[str, ...],
    send_at: datetime | None,
    expires_at: datetime | None,
    on_doubt: str,
    key: str | None,
    start: bool,
    **message: Any,
) -> None:
    """Store a campaign; prints its id."""
    if start and send_at:
        raise InputError("--start: contradicts --send-at, which starts the campaign by itself")
    with Mailer() as mailer:
        made = mailer.campaigns.create(
            name=name,
            message=build(**message),
            recipients=Path(recipients),
            provider=provider or None,
            send_at=send_at,
            expires_at=expires_at,
            on_doubt=on_doubt,
            key=key,
        )
        _print_report(made.import_report)
        if start and made.state == "draft":
            made.start()
        click.echo(str(made.id))


def _print_report(report: ImportReport) -> None:
    """On standard error: standard output holds the id alone."""
    click.echo(
        f"{report.accepted} accepted, {report.duplicate} duplicate, {report.invalid_total} invalid,"
        f" {report.suppressed} suppressed",
        err=True,
    )
    for row in sorted([*report.invalid, *report.duplicates], key=lambda row: row.line)[:20]:
        click.echo(f"  line {row.line}: {row.email}: {row.reason}", err=True)


@campaign.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """The newest hundred."""
    with Mailer() as mailer:
        rows = [_summary(c) for c in mailer.campaigns.list()]
    if as_json:
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    columns = ("id", "name", "state", "total", "sent", "failed", "in_doubt", "waiting")
    print_table(columns, ([row[column] for column in columns] for row in rows))


def _summary(made: Campaign) -> dict[str, Any]:
    progress = made.progress()
    about = {"id": str(made.id), "name": made.name, "key": made.key}
    return about | asdict(progress) | {"waiting": progress.waiting}


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
def show(id_: str, as_json: bool) -> None:
    """State, counts and what became of the recipients' file."""
    with Mailer() as mailer:
        found = mailer.campaigns.get(id_)
        summary, report = _summary(found), found.import_report
    if as_json:
        click.echo(orjson.dumps(summary | {"import": report.dump()}, option=orjson.OPT_INDENT_2))
        return
    for key, value in summary.items():
        click.echo(f"{key:>10}  {f'{value:.1f}' if isinstance(value, float) else value}")
    _print_report(report)


@campaign.command()
@click.argument("id_", metavar="ID")
def watch(id_: str) -> None:
    """A live progress bar until the campaign has ended."""
    with Mailer() as mailer:
        follow(mailer.campaigns.get(id_))


@campaign.command()
@click.argument("id_", metavar="ID")
def check(id_: str) -> None:
    """What to look at before it is sent; exit 1 when something keeps it from starting."""
    with Mailer() as mailer:
        findings = mailer.campaigns.get(id_).check()
    for finding in findings:
        click.echo(f"{finding.level}: {finding.field}: {finding.text}")
    sys.exit(1 if any(finding.level == "error" for finding in findings) else 0)


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--force", is_flag=True, help="Also when the check finds errors.")
def start(id_: str, force: bool) -> None:
    """Send from now on."""
    with Mailer() as mailer:
        mailer.campaigns.get(id_).start(force=force)


@campaign.command()
@click.argument("id_", metavar="ID")
def pause(id_: str) -> None:
    """Stop what is not yet in a worker's hands."""
    with Mailer() as mailer:
        mailer.campaigns.get(id_).pause()


@campaign.command()
@click.argument("id_", metavar="ID")
def resume(id_: str) -> None:
    """Go on after a pause."""
    with Mailer() as mailer:
        mailer.campaigns.get(id_).resume()


@campaign.command()
@click.argument("id_", metavar="ID")
def cancel(id_: str) -> None:
    """Send nothing more of it."""
    with Mailer() as mailer:
        mailer.campaigns.get(id_).cancel()


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--state", "states", multiple=True, default=["failed"], show_default=True)
def retry(id_: str, states: Iterable[str]) -> None:
    """Send once more to what ended in these states."""
    with Mailer() as mailer:
        click.echo(f"{mailer.campaigns.get(id_).retry(states)} deliveries are due again")


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--as", "verdict", type=click.Choice(list(VERDICTS)), required=True)
@click.option("--delivery", help="Its id; without it all that are in doubt.")
def settle(id_: str, verdict: str, delivery: str | None) -> None:
    """Say what became of deliveries in doubt; resend doubles what had arrived after all."""
    with Mailer() as mailer:
        count = mailer.campaigns.get(id_).settle(verdict, delivery)
    click.echo(f"{count} deliveries settled")


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--state")
@click.option(
    "--format", "format_", type=click.Choice(["csv", "json"]), default="csv", show_default=True
)
def deliveries(id_: str, state: str | None, format_: str) -> None:
    """Who got what, one row a recipient."""
    with Mailer() as mailer:
        rows = mailer.campaigns.get(id_).deliveries(state)
        (_print_csv if format_ == "csv" else _print_json)(rows)


def _print_csv(rows: Iterable[Delivery]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([getattr(row, column) for column in _COLUMNS])


def _print_json(rows: Iterable[Delivery]) -> None:
    """An array, written as it comes: a campaign may be larger than memory."""
    separator = "[\n"
    for row in rows:
        click.echo(separator + orjson.dumps(asdict(row)).decode(), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


@campaign.command()
@click.argument("id_", metavar="ID")
@click.option("--to", "email", required=True, help="One of its recipients.")
def preview(id_: str, email: str) -> None:
    """The message as this recipient gets it, as an .eml file on standard output."""
    with Mailer() as mailer:
        click.echo(mailer.campaigns.get(id_).preview(email), nl=False)
