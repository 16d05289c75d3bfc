"""What becomes of deliveries that servers refuse or defer, that are late, or that are urgent."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

from mailer import Attachment, Message
from mailer.embedded.catcher import Stage
from tests.e2e.system import MESSAGE, System, addresses, eventually, gate, people, stays

RATE = 20  # the provider "limited" lets through so many messages a second
TRANSIT = 0.5  # seconds by which one message may travel faster than another


def answering(reply: str, *, only: list[str], times: int = 1_000_000) -> Callable[..., str | None]:
    """A script that refuses these recipients, each so many times."""
    asked: Counter[str] = Counter()
    counting = threading.Lock()

    def script(stage: Stage, address: str) -> str | None:
        if stage != "rcpt" or address not in only:
            return None
        with counting:
            asked[address] += 1
        return reply if asked[address] <= times else None

    return script


def test_a_deferred_recipient_is_tried_again_and_delivered(system: System) -> None:
    recipients = people(20)
    deferred = addresses(recipients)[::4]
    system.catcher.script = answering("451 4.7.1 Come back later", only=deferred, times=2)
    campaign = system.send(recipients)
    assert campaign.wait(30).sent == 20
    assert system.each_got_one(recipients)
    attempts = {d.email: d.attempts for d in campaign.deliveries()}
    assert attempts == {a: 3 if a in deferred else 1 for a in addresses(recipients)}


def test_a_refused_recipient_fails_with_code_and_text_and_the_others_get_theirs(
    system: System,
) -> None:
    recipients = people(20)
    refused = addresses(recipients)[3]
    system.catcher.script = answering("550 5.1.1 No such user here", only=[refused])
    campaign = system.send(recipients)
    progress = campaign.wait(30)
    assert (progress.sent, progress.failed) == (19, 1)
    (failed,) = campaign.deliveries("failed")
    assert (failed.email, failed.attempts, failed.code) == (refused, 1, 550)
    assert (failed.enhanced_code, failed.reply) == ("5.1.1", "No such user here")
    assert refused not in system.arrived(recipients)


def test_a_recipient_deferred_too_often_fails_with_the_last_reply(system: System) -> None:
    recipients = people(3)
    system.catcher.script = answering("452 4.2.2 Mailbox full", only=addresses(recipients)[:1])
    campaign = system.send(recipients)
    progress = campaign.wait(30)
    assert (progress.sent, progress.failed) == (2, 1)
    (failed,) = campaign.deliveries("failed")
    assert (failed.attempts, failed.code, failed.enhanced_code) == (3, 452, "4.2.2")


def test_a_failed_delivery_is_sent_by_a_retry(system: System) -> None:
    recipients = people(3)
    refused = addresses(recipients)[:1]
    system.catcher.script = answering("550 5.1.1 No such user", only=refused, times=1)
    campaign = system.send(recipients)
    assert campaign.wait(30).failed == 1
    assert campaign.retry(states=["failed"]) == 1
    assert campaign.wait(30).sent == 3
    assert system.each_got_one(recipients)


def test_what_was_not_sent_in_time_expires(system: System) -> None:
    recipients = people(200)
    soon = datetime.now(UTC) + timedelta(seconds=3)
    campaign = system.send(recipients, provider="limited", expires_at=soon)
    progress = campaign.wait(30)
    assert (progress.state, progress.sent + progress.expired) == ("finished", 200)
    assert progress.expired > 100  # at most 60 of them could be sent
    assert system.arrived(recipients).total() == progress.sent


def test_a_providers_limit_holds_over_all_workers(system: System) -> None:
    recipients = people(80)
    assert system.send(recipients, provider="limited").wait(60).sent == 80
    assert system.each_got_one(recipients)
    first = addresses(recipients)[0].split("-")[0]
    times = sorted(
        m.received_at.timestamp() for m in system.catcher.messages if first in m.recipients[0]
    )
    for first_of_many, start in enumerate(times):
        window = [at for at in times[first_of_many:] if at < start + 1 - TRANSIT]
        assert len(window) <= RATE


def test_an_urgent_message_overtakes_a_running_campaign(system: System) -> None:
    recipients = people(3000)
    (urgent,) = people(1)
    with gate(system.catcher):
        campaign = system.send(recipients)
        eventually(lambda: campaign.progress().sending)
        system.mailer.send(MESSAGE, to=urgent["email"], variables=urgent, provider="main")
    assert campaign.wait(60).sent == 3000
    last = system.catcher.received(addresses(recipients)[-1])[0]
    (own,) = system.catcher.received(urgent["email"])
    assert own.id < last.id - 500


def test_a_single_message_reaches_its_copies_and_hides_the_blind_ones(system: System) -> None:
    to, cc, bcc = addresses(people(3))
    message = Message(sender="a@example.com", subject="One", text="One.", cc=[cc], bcc=[bcc])
    sent = system.mailer.send(message, to=to, provider="main")
    eventually(lambda: all(system.catcher.received(a) for a in (to, cc, bcc)))
    contents = [system.catcher.received(a)[0].content for a in (to, cc, bcc)]
    for mail in map(message_from_bytes, contents):
        assert (mail["To"], mail["Cc"], mail["Message-ID"]) == (to, cc, sent.message_id)
    assert not any(bcc.encode() in content for content in contents)
    eventually(lambda: system.mailer.delivery(sent.id).state == "sent")


def test_the_same_key_sends_once(system: System) -> None:
    (person,) = people(1)

    def send() -> object:
        return system.mailer.send(
            MESSAGE, to=person["email"], variables=person, provider="main", key=person["email"]
        ).id

    assert send() == send()
    eventually(lambda: system.arrived([person]))
    assert stays(lambda: system.each_got_one([person]))


def test_everybody_gets_his_own_file_and_nobody_elses(system: System) -> None:
    recipients = people(60)
    for person in recipients:
        person["slip"] = f"{person['email'].split('@')[0]}.txt"
        Path(system.folder, "files", person["slip"]).write_text(f"pay of {person['email']};")
    message = Message(
        sender="HR <hr@example.com>",
        subject="Your payslip",
        text="Attached.",
        attachments=[Attachment.per_recipient("{{ slip }}")],
    )
    assert system.send(recipients, message=message).wait(30).sent == 60
    for person in recipients:
        (caught,) = system.catcher.received(person["email"])
        files = [p for p in message_from_bytes(caught.content).walk() if p.get_filename()]
        assert [f.get_filename() for f in files] == [person["slip"]]
        assert files[0].get_payload(decode=True) == f"pay of {person['email']};".encode()
