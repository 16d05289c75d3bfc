"""One run: an installation, a campaign, faults one after the other, the reckoning."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mailer import Campaign
from mailer.db import migrate
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.catcher import Catcher
from mailer.embedded.servers import Postgres, Redis
from mailer.errors import MailerError, WaitTimeoutError
from tests.chaos.faults import Fire
from tests.e2e.system import System, people

RECOVERY = 60.0  # seconds after which a campaign that stands still counts as stuck
END = 120.0  # seconds for the rest, once the faults are over
CONNECTIONS = 4  # of each pool process, see System


@dataclass
class Report:
    """What a run showed."""

    seed: int
    recipients: int
    states: Counter[str] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    denied: int = 0  # failed in the ledger, though accepted
    recovery: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def doubled(self) -> int:
        """Recipients that were sent more than one message."""
        return sum(count > 1 for count in self.accepted.values())

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        promises = {
            "lost": self.lost == 0,
            "doubled": self.doubled == 0,
            "failed, though accepted": self.denied == 0,
            "counters differ from the rows": all(
                self.counters[state] == self.states[state] for state in self.counters
            ),
        }
        return [name for name, kept in promises.items() if not kept]

    def table(self) -> str:
        """In Markdown."""
        rows = {
            "seed": self.seed,
            "recipients": self.recipients,
            "accepted by the sink": self.accepted.total(),
            "sent": self.states["sent"],
            "failed": self.states["failed"],
            "in doubt": self.states["in_doubt"],
            "lost": self.lost,
            "doubled": self.doubled,
            "failed, though accepted": self.denied,
            "promises broken": ", ".join(self.broken) or "none",
        }
        lines = ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
        lines += ["| fault | times | seconds to go on, at most |", "|---|---|---|"]
        for name, seconds in sorted(self.recovery.items()):
            lines.append(f"| {name.replace('_', ' ')} | {len(seconds)} | {max(seconds):.1f} |")
        return "\n".join(lines)


def run(seed: int, seconds: float, recipients: int) -> Report:
    """A campaign of so many recipients under fire for so long."""
    with (
        temporary_folder() as folder,
        Postgres(folder / "postgres") as postgres,
        Redis(folder / "redis") as redis,
        Catcher() as catcher,
    ):
        migrate(postgres.url)
        home = folder / "home"
        home.mkdir()
        with System(
            home, postgres.url, redis.url, catcher, config=_slow(catcher), attempts=1000
        ) as system:
            system.beat()
            fire = Fire(system, postgres.url, redis, seed)
            campaign = system.send(people(recipients), provider="fire")
            report = Report(seed, recipients)
            try:
                _burn(fire, campaign, report, seconds)
                _wait(campaign)
            finally:
                _write_logs(system, Path("build") / f"chaos-{seed}")
            _reckon(report, system, campaign)
    return report


def _slow(catcher: Catcher) -> str:
    """A provider whose limit makes the campaign last as long as the fire."""
    server = f'host = "127.0.0.1"\nport = {catcher.port}\ntls = "none"\nconnections = 4\n'
    return f'[providers.fire]\n{server}limits = ["600/s"]\n'


def _burn(fire: Fire, campaign: Campaign, report: Report, seconds: float) -> None:
    """One fault after the other, each when the campaign has got over the one before."""
    _moves(fire, 0.0)
    started = time.monotonic()
    round_: list[str] = []
    while time.monotonic() - started < seconds and not _ended(campaign):
        if not round_:
            round_ = [fault.__name__ for fault in fire.faults]
            fire.chance.shuffle(round_)
        name = round_.pop()
        getattr(fire, name)()
        report.recovery[name].append(_moves(fire, fire.chance.uniform(0, 1.5)))


def _moves(fire: Fire, pause: float) -> float:
    """Wait until mail flows again, and a little more. Returns the seconds until it did."""
    count, began = fire.system.catcher.count, time.monotonic()
    while fire.system.catcher.count < count + 100:
        if time.monotonic() - began > RECOVERY:
            break
        time.sleep(0.02)
    seconds = time.monotonic() - began
    time.sleep(pause)
    return seconds


def _ended(campaign: Campaign) -> bool:
    try:
        return campaign.state == "finished"
    except MailerError:
        return False


def _wait(campaign: Campaign) -> None:
    deadline = time.monotonic() + END
    while time.monotonic() < deadline:
        try:
            campaign.wait(END)
        except WaitTimeoutError:
            return  # the reckoning shows what is left
        except MailerError:
            time.sleep(0.5)
        else:
            return


def _reckon(report: Report, system: System, campaign: Campaign) -> None:
    report.accepted = Counter(system.catcher.store.recipients())
    for delivery in campaign.deliveries():
        accepted = report.accepted[delivery.email]
        report.states[delivery.state] += 1
        if delivery.state == "sent":
            report.lost += not accepted
        elif delivery.state == "failed":
            report.denied += bool(accepted)
        elif delivery.state != "in_doubt":
            report.lost += 1
    progress = campaign.progress()
    report.counters = {state: getattr(progress, state) for state in ("sent", "failed", "in_doubt")}


def _write_logs(system: System, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, process in enumerate(system.processes):
        name = process.name.replace(" ", "-")
        (folder / f"{number}-{name}.log").write_text("\n".join(process.lines))
