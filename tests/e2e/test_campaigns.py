"""Campaigns through two workers and a beat, from create() to the recipient's server."""

import json
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from mailer.schema import campaigns
from tests.e2e.system import System, addresses, eventually, gate, people, stays

ALL = 2000
MANY = 1500  # more than the two workers take into their hands at once


def test_each_recipient_of_a_campaign_gets_one_message(system: System) -> None:
    recipients = people(ALL)
    campaign = system.send(recipients)
    assert campaign.wait(60).sent == ALL
    assert system.each_got_one(recipients)
    shown = json.loads(system.cli("campaign", "show", str(campaign.id), "--json").stdout)
    assert (shown["state"], shown["total"], shown["sent"]) == ("finished", ALL, ALL)
    assert shown["import"]["accepted"] == ALL


def test_nothing_is_sent_before_the_start(system: System) -> None:
    recipients = people(3)
    campaign = system.campaign(recipients)
    assert stays(lambda: not system.arrived(recipients))
    assert campaign.state == "draft"


def test_after_a_pause_only_what_a_worker_holds_is_sent_and_a_resume_goes_on(
    system: System,
) -> None:
    recipients = people(MANY)
    with gate(system.catcher) as closed:
        campaign = system.send(recipients)
        eventually(lambda: campaign.progress().sending)
        campaign.pause()
        eventually(lambda: not campaign.progress().queued, 2)
        held = campaign.progress().sending
        closed.open()
        eventually(lambda: not campaign.progress().sending)
    assert held < MANY
    assert stays(lambda: system.arrived(recipients).total() == held)
    assert (campaign.state, campaign.progress().pending) == ("paused", MANY - held)
    campaign.resume()
    assert campaign.wait(60).sent == MANY
    assert system.each_got_one(recipients)


def test_after_a_cancel_only_what_a_worker_holds_is_sent(system: System) -> None:
    recipients = people(MANY)
    with gate(system.catcher) as closed:
        campaign = system.send(recipients)
        eventually(lambda: campaign.progress().sending)
        campaign.cancel()
        eventually(lambda: not (campaign.progress().queued + campaign.progress().pending), 2)
        held = campaign.progress().sending
        closed.open()
        progress = campaign.wait(30)
    assert (progress.state, progress.sent, progress.cancelled) == ("cancelled", held, MANY - held)
    assert stays(lambda: system.arrived(recipients).total() == held)


def test_an_address_suppressed_while_its_campaign_runs_gets_nothing(system: System) -> None:
    recipients = people(MANY)
    late = max(addresses(recipients))  # sent in this order
    with gate(system.catcher):
        campaign = system.send(recipients)
        eventually(lambda: campaign.progress().sending)
        assert system.cli("suppress", "add", late).returncode == 0
    progress = campaign.wait(60)
    assert (progress.sent, progress.suppressed) == (MANY - 1, 1)
    assert late not in system.arrived(recipients)


def test_a_campaign_starts_by_itself_at_its_time_and_once_with_two_beats(system: System) -> None:
    second = system.beat()
    recipients = people(100)
    send_at = datetime.now(UTC) + timedelta(seconds=2)
    campaign = system.campaign(recipients, send_at=send_at)
    assert campaign.wait(30).sent == 100
    with system.mailer.database.begin() as connection:
        query = sa.select(campaigns.c.started_at).where(campaigns.c.id == campaign.id)
        started = connection.execute(query).scalar_one()
    assert send_at <= started <= send_at + timedelta(seconds=2)
    assert all(delivery.attempts == 1 for delivery in campaign.deliveries())
    assert system.each_got_one(recipients)
    second.end()
