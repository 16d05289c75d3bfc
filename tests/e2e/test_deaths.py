"""What becomes of a campaign when its workers end, in order or not."""

import os
import signal
from collections.abc import Iterator

import pytest

from mailer import Campaign, Progress
from tests.e2e.conftest import MakeSystem
from tests.e2e.system import System, eventually, people

ALL = 3000
CONNECTIONS = 4  # of each pool process, see System


@pytest.fixture
def own(make_system: MakeSystem) -> Iterator[System]:
    """A system whose processes may be killed."""
    with make_system() as system:
        system.beat()
        yield system


def under_way(system: System, recipients: list[dict[str, str]]) -> Campaign:
    campaign = system.send(recipients)
    eventually(lambda: campaign.progress().sent > ALL // 20)
    assert campaign.progress().sent < ALL
    return campaign


def assert_all_accounted_for(
    system: System, recipients: list[dict[str, str]], progress: Progress, most_in_doubt: int
) -> None:
    """Nobody got two; who is sent got one; who is neither is in doubt, and they are few."""
    arrived = system.arrived(recipients)
    assert set(arrived.values()) == {1}
    assert progress.in_doubt <= most_in_doubt
    assert progress.sent + progress.in_doubt == ALL
    assert progress.sent <= arrived.total() <= ALL


def test_a_killed_pool_process_loses_and_doubles_nothing(own: System) -> None:
    own.worker("w1", "-c", "2")
    recipients = people(ALL)
    campaign = under_way(own, recipients)
    _, (victim, _) = own.pids("w1")
    os.kill(victim, signal.SIGKILL)
    assert_all_accounted_for(own, recipients, campaign.wait(60), CONNECTIONS)


def test_a_killed_worker_loses_and_doubles_nothing(own: System) -> None:
    own.worker("w1", "-c", "2")
    recipients = people(ALL)
    campaign = under_way(own, recipients)
    own.kill("w1")
    own.worker("w2", "-c", "2")
    assert_all_accounted_for(own, recipients, campaign.wait(90), 2 * CONNECTIONS)


def test_a_worker_asked_to_end_leaves_no_doubt_and_the_rest_to_others(own: System) -> None:
    first = own.worker("w1", "-c", "2")
    recipients = people(ALL)
    campaign = under_way(own, recipients)
    first.end()
    assert not campaign.progress().sending
    own.worker("w2", "-c", "2")
    assert_all_accounted_for(own, recipients, campaign.wait(60), 0)


def test_a_worker_of_threads_sends_each_message_once(own: System) -> None:
    own.worker("w1", "-P", "threads", "-c", "4")
    recipients = people(ALL)
    campaign = own.send(recipients)
    assert campaign.wait(60).sent == ALL
    assert own.each_got_one(recipients)
