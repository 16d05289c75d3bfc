"""How the programs start, and on which brokers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from mailer.broker import BULK, URGENT
from tests.e2e.conftest import MakeSystem
from tests.e2e.system import people

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


@pytest.mark.parametrize("program", [["workers", "worker"], ["scheduler", "beat"]])
def test_an_unknown_key_in_the_settings_is_one_line_and_exit_code_2(
    tmp_path: Path, program: list[str]
) -> None:
    settings = tmp_path / "mailer.toml"
    settings.write_text('[providers.main]\nhots = "127.0.0.1"\nhost = "127.0.0.1"\n')
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", *program],
        env={**os.environ, "MAILER_CONFIG": str(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "mailer: providers.main.hots: unknown key\n"


@pytest.fixture
def rabbitmq() -> str:
    """RabbitMQ where it runs, without what an earlier run left in our queues."""
    try:
        with Connection(RABBITMQ, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1)
            for queue in (URGENT, BULK):
                connection.default_channel.queue_delete(queue)
    except (OSError, OperationalError):
        pytest.skip("no RabbitMQ on 127.0.0.1:5672")
    return RABBITMQ


def test_rabbitmq_is_a_broker_as_well(make_system: MakeSystem, rabbitmq: str) -> None:
    recipients = people(200)
    with make_system(broker=rabbitmq) as system:
        programs = [system.worker("rabbit", "-c", "2"), system.beat()]
        assert system.send(recipients).wait(60).sent == 200
        assert system.each_got_one(recipients)
        for program in programs:
            program.end()
