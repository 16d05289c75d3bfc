"""Pictures of Flower for the documentation, from a real campaign: ``python -m tests.e2e.pictures``.

Needs ``chromium`` on PATH; writes docs/images/flower-workers.png and flower-tasks.png.
"""

import subprocess
import tempfile
from pathlib import Path

from mailer.db import migrate
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.catcher import Catcher
from mailer.embedded.servers import Postgres, Redis
from tests.e2e.system import System, people

IMAGES = Path(__file__).parents[2] / "docs" / "images"
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def take(url: str, target: Path) -> None:
    """A picture of a page, once its scripts have filled it."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-quic", "--hide-scrollbars", *QUIET, f"--user-data-dir={profile}",
                "--window-size=1280,640", "--virtual-time-budget=8000", f"--screenshot={target}",
                url,
            ],
            check=True, timeout=90, capture_output=True,
        )  # fmt: skip


def main() -> None:
    """Run a campaign and photograph what Flower shows of it."""
    with (
        temporary_folder() as folder,
        Postgres(folder / "postgres", durable=False) as postgres,
        Redis(folder / "redis") as redis,
        Catcher() as catcher,
    ):
        migrate(postgres.url)
        with System(folder, postgres.url, redis.url, catcher) as system:
            system.worker("w1", "-c", "2")
            system.worker("w2", "-c", "2")
            _, url = system.flower()
            system.beat()
            catcher.script = lambda stage, address: (
                "550 5.1.1 No such user" if stage == "rcpt" and "7@" in address else None
            )
            system.send(people(2000)).wait(60)
            take(f"{url}/workers", IMAGES / "flower-workers.png")
            take(f"{url}/tasks", IMAGES / "flower-tasks.png")


if __name__ == "__main__":
    main()
