"""``python -m tests.bench.path``: messages a second from a started campaign to its last outcome.

Every run has servers of its own on this machine: Postgres with fsync on, Redis, a sink. The peers
get their tasks enqueued beforehand and are timed from their first message; ours is timed with its
feeding.
"""

import os
import statistics
import sys
from pathlib import Path

import click
import psycopg
import redis
from celery import Celery
from rich.console import Console
from rich.table import Table

from mailer import Mailer, Message, Settings
from tests.bench.path import sample, system
from tests.bench.path.system import Course, Servers
from tests.bench.report import save

CELERY = [sys.executable, "-m", "celery"]


def ours(servers: Servers, count: int, concurrency: int, events: bool) -> Course:
    """One worker, one beat."""
    config = servers.folder / "mailer.toml"
    config.write_text(
        f'[providers.sink]\nhost = "127.0.0.1"\nport = {servers.smtp_port}\ntls = "none"\n'
        "messages_per_connection = 10000\n"
    )
    environment = {
        "MAILER_CONFIG": str(config),
        "MAILER_DATABASE_URL": servers.database,
        "MAILER_BROKER_URL": servers.redis,
        "MAILER_STATE_DIR": str(servers.folder / "state"),
    }
    worker = [
        *CELERY,
        "-A",
        "workers",
        "worker",
        "-c",
        str(concurrency),
        *(["-E"] if events else []),
    ]
    beat = [*CELERY, "-A", "scheduler", "beat", "-s", str(servers.folder / "beat")]
    with Mailer(Settings.load(os.environ | environment)) as mailer:
        campaign = mailer.campaigns.create(
            name="bench",
            message=Message(
                sender=sample.SENDER, subject=sample.SUBJECT, text=sample.TEXT, html=sample.HTML
            ),
            recipients=sample.recipients(count),
        )
        with (
            system.process(worker, environment, servers.folder),
            system.process(beat, environment, servers.folder),
        ):
            campaign.start()
            return system.follow(count, lambda: campaign.progress().sent)


def usual(servers: Servers, count: int, concurrency: int, task: str) -> Course:
    """A Celery task for each recipient, as teams write it."""
    os.environ |= {
        "BENCH_DATABASE": servers.database,
        "BENCH_BROKER": servers.redis,
        "BENCH_SMTP_PORT": str(servers.smtp_port),
    }
    with psycopg.connect(servers.database, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS usual_mail")
        connection.execute(
            "CREATE TABLE usual_mail (id serial PRIMARY KEY, email text, name text, state text)"
        )
        with connection.cursor().copy("COPY usual_mail (email, name, state) FROM STDIN") as copy:
            for row in sample.recipients(count):
                copy.write_row((row["email"], row["name"], "waiting"))
        _enqueue(servers, count, task)
        worker = [*CELERY, "-A", "tests.bench.path.usual", "worker", "-c", str(concurrency)]
        with system.process(worker, {}, servers.folder):
            return system.follow(count, lambda: _sent(connection))


def _enqueue(servers: Servers, count: int, task: str) -> None:
    with Celery(broker=servers.redis) as app, app.producer_or_acquire() as producer:
        for row in range(1, count + 1):
            app.send_task(f"usual.{task}", (row,), producer=producer)


def _sent(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM usual_mail WHERE state = 'sent'").fetchone()
    return row[0] if row else 0


@click.command()
@click.option("--count", default=20_000, show_default=True, help="Messages of ours a run.")
@click.option("--runs", default=3, show_default=True)
@click.option("-c", "concurrency", default=4, show_default=True)
@click.option("--only", help="One contestant alone.")
def main(count: int, runs: int, concurrency: int, only: str | None) -> None:
    """Run all contestants in turn, several times, and print their medians."""
    contestants = {
        "mailer": lambda s: ours(s, count, concurrency, events=False),
        "mailer, task events on": lambda s: ours(s, count, concurrency, events=True),
        "usual way, tuned": lambda s: usual(s, min(count, 5000), concurrency, "tuned"),
        "usual way": lambda s: usual(s, min(count, 2000), concurrency, "plain"),
    }
    courses: dict[str, list[Course]] = {name: [] for name in contestants if only in (None, name)}
    for _ in range(runs):
        for name, run in courses.items():
            with system.servers() as servers:
                redis.Redis.from_url(servers.redis).flushall()
                run.append(contestants[name](servers))
                Console(stderr=True).print(f"{name}: {run[-1].rate:.0f}/s")
    _report(courses)


def _report(courses: dict[str, list[Course]]) -> None:
    rates = {name: statistics.median(c.rate for c in runs) for name, runs in courses.items()}
    slowest = rates.get("usual way")
    table = Table("whole path", "messages/s", "× usual way", "CPU µs a message", box=None)
    for name, runs in courses.items():
        ratio = f"{rates[name] / slowest:.1f}" if slowest else ""
        cpu = statistics.median(c.cpu_us for c in runs)
        table.add_row(name, f"{rates[name]:.0f}", ratio, f"{cpu:.0f}")
    Console().print(table)
    Path("build").mkdir(exist_ok=True)
    save(
        "path",
        {
            name: {"rate": rates[name], "runs": [[c.rate, c.cpu_us, c.points] for c in runs]}
            for name, runs in courses.items()
        },
    )


if __name__ == "__main__":
    main()
