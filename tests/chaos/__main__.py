"""``make chaos``: a campaign under fire, then sink, ledger and counters compared row by row.

``python -m tests.chaos --seed 1 --seconds 60`` prints a table and exits with 1 when a promise was
broken. A seed repeats the faults and their order; the moments differ as processes do.
"""

import sys

import click

from tests.chaos.run import run


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="How long faults go on.")
@click.option("--recipients", type=int, help="500 for each second, unless given.")
def main(seed: int, seconds: float, recipients: int | None) -> None:
    """Send a campaign while everything around it fails."""
    report = run(seed, seconds, recipients or int(seconds * 500))
    click.echo(report.table())
    sys.exit(bool(report.broken))


main()
