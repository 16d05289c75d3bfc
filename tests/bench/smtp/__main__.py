"""``python -m tests.bench.smtp``: the table, and the section "smtp" of build/bench.json."""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import trustme
from rich.console import Console
from rich.table import Table

from tests.bench.report import save
from tests.smtp import real

from . import peers

RUNS = 5
Client = Callable[[int, int], dict[str, float]]
Row = dict[str, Any]


# (name, client, messages): enough for each to run for a second or more.
LOOPBACK: list[tuple[str, Client, int]] = [
    ("mailer", partial(peers.python, "ours"), 30_000),
    ("smtplib, 10 threads", partial(peers.python, "smtplib"), 6_000),
    ("aiosmtplib, 10 tasks", partial(peers.python, "aiosmtplib"), 4_000),
    ("nodemailer, pool of 10", peers.nodemailer, 3_000),
    ("smtp-source -d -s 10 (C)", peers.smtp_source, 15_000),
]
FAR: list[tuple[str, Client, int]] = [
    ("mailer, PIPELINING", partial(peers.python, "ours-1"), 150),
    ("mailer, BDAT flights of 20", partial(peers.python, "ours-1-flights"), 1_000),
    ("smtplib", partial(peers.python, "smtplib-1"), 40),
]


def measure(rows: list[tuple[str, Client, int]], port: int, runs: int) -> list[Row]:
    """Every client in turn, over and over, so that a busy moment strikes all of them."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in rows}
    missing: dict[str, str] = {}
    for _ in range(runs):
        for name, client, count in rows:
            if name in missing:
                continue
            try:
                results[name].append(client(port, count) | {"count": count})
            except peers.MissingError as error:
                missing[name] = str(error)
    return [_row(name, results[name], missing.get(name)) for name, _, _ in rows]


def _row(name: str, results: list[dict[str, float]], missing: str | None) -> Row:
    if missing is not None:
        return {"client": name, "missing": missing}
    rates = [each["count"] / each["seconds"] for each in results]
    cpus = [each["cpu"] / each["count"] * 1e6 for each in results]
    return {
        "client": name,
        "messages_per_second": round(statistics.median(rates), 1),
        "cpu_us_per_message": round(statistics.median(cpus), 1),
        "runs": [round(rate, 1) for rate in rates],
    }


def far(runs: int) -> list[Row]:
    """A real Postfix, 20 ms away: smtp-sink knows no BDAT."""
    if os.geteuid() != 0 or not (real.FOLDER / "complete").exists():
        why = "needs root and the servers of tests/smtp/servers.sh"
        return [{"client": name, "missing": why} for name, _, _ in FAR]
    folder = Path(tempfile.mkdtemp(prefix="mailer-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with (
            real.postfix(folder, trustme.CA()) as server,
            peers.delayed(server.plain, 0.01) as port,
        ):
            return measure(FAR, port, runs)
    finally:
        shutil.rmtree(folder)


def memory(port: int, count: int) -> Row:
    """How much more memory the last of many messages needs than the first thousand did."""
    result = peers.python("ours", port, count)
    return {
        "messages": count,
        "after_1000_mib": round(result["first_1000"] / 2**20, 1),
        "after_last_mib": round(result["last"] / 2**20, 1),
        "growth_mib": round((result["last"] - result["first_1000"]) / 2**20, 1),
    }


def show(console: Console, title: str, rows: list[Row], base: str) -> None:
    """A table; the last column compares every client with ``base``."""
    table = Table(title=title, title_justify="left")
    table.add_column("client")
    for heading in ("messages/s", "CPU µs/message", f"of {base}"):
        table.add_column(heading, justify="right")
    rates = {row["client"]: row.get("messages_per_second", 0) for row in rows}
    for row in rows:
        if "missing" in row:
            table.add_row(row["client"], "-", "-", row["missing"])
            continue
        rate, cpu = row["messages_per_second"], row["cpu_us_per_message"]
        times = f"{rate / rates[base]:.2f} x" if rates[base] else "-"
        table.add_row(row["client"], f"{rate:,.0f}", f"{cpu:.1f}", times)
    console.print(table)


@click.command(help=__doc__)
@click.option("--runs", default=RUNS, show_default=True, help="The median of so many.")
@click.option("--messages", default=100_000, show_default=True, help="For the memory row.")
def main(runs: int, messages: int) -> None:
    console = Console()
    try:
        with peers.sink() as port:
            near, grown = measure(LOOPBACK, port, runs), memory(port, messages)
    except peers.MissingError as error:
        raise click.ClickException(str(error)) from error
    distant = far(runs)
    show(console, "Loopback, 2 kB, 10 connections, smtp-sink", near, "smtplib, 10 threads")
    show(console, "One connection, 20 ms of round trip, Postfix", distant, "smtplib")
    console.print(
        f"{grown['messages']:,} messages: {grown['after_1000_mib']} MiB after the first 1,000, "
        f"{grown['after_last_mib']} MiB after the last ({grown['growth_mib']:+} MiB)"
    )
    save("smtp", {"loopback": near, "far": distant, "memory": grown})


if __name__ == "__main__":
    main()
