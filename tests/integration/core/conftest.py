"""A mailer on a fresh ledger, with limits and a folder for attachments, without workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer import Mailer, Message, Settings

MESSAGE = Message(sender="a@example.com", subject="Hi {{ name }}", text="Dear {{ name }}")


@pytest.fixture
def settings(database_url: str, broker_url: str, tmp_path: Path) -> Settings:
    return Settings.parse(
        {
            "database_url": database_url,
            "broker_url": broker_url,
            "attachments_dir": str(tmp_path),
            "providers": {
                "main": {"host": "127.0.0.1", "tls": "none"},
                "slow": {"host": "127.0.0.1", "tls": "none", "limits": ["5/s", "8/day"]},
            },
            "destinations": {"corp": {"domains": ["corp.example"], "limits": ["2/s"]}},
        },
        {},
    )


def people(count: int) -> list[dict[str, str]]:
    return [{"email": f"p{n}@example.com", "name": f"P{n}"} for n in range(count)]


@pytest.fixture
def mailer(settings: Settings) -> Iterator[Mailer]:
    with Mailer(settings) as made:
        yield made
