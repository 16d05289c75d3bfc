"""A campaign of 20,000 through two workers and one beat: ``python -m tests.e2e.run20k [COUNT]``.

Prints what arrived, what the ledger says and the messages a second, from the start of the campaign
to the last arrival; exit 1 when anything was lost or doubled.
"""

import json
import sys
import time

from mailer.db import migrate
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.catcher import Catcher
from mailer.embedded.servers import Postgres, Redis
from tests.e2e.system import System, people


def main(count: int) -> int:
    """Run it; the exit code."""
    with (
        temporary_folder() as folder,
        Postgres(folder / "postgres", durable=False) as postgres,
        Redis(folder / "redis") as redis,
        Catcher() as catcher,
    ):
        migrate(postgres.url)
        with System(folder, postgres.url, redis.url, catcher) as system:
            programs = [system.worker(f"w{n}", "-c", "2") for n in (1, 2)] + [system.beat()]
            good = _campaign(system, count)
            for program in programs:
                program.end()
    return 0 if good else 1


def _campaign(system: System, count: int) -> bool:
    recipients = people(count)
    campaign = system.campaign(recipients)
    started = time.monotonic()
    campaign.start()
    assert system.catcher.wait_for(count, timeout=600), f"{system.catcher.count} arrived"
    seconds = time.monotonic() - started
    progress = campaign.wait(60)
    shown = json.loads(system.cli("campaign", "show", str(campaign.id), "--json").stdout)
    once = system.each_got_one(recipients) and system.catcher.count == count
    print(f"arrived: {system.catcher.count}, each exactly once: {once}")
    print(f"ledger: {progress.sent} sent; campaign show: {shown['sent']} sent, {shown['state']}")
    print(f"{count / seconds:,.0f} messages/s: {count:,} in {seconds:.1f} s")
    return once and progress.sent == shown["sent"] == count


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
