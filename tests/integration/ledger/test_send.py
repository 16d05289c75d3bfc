"""One urgent message: ``Mailer.send``."""

from email import message_from_bytes, policy

import pytest
import redis

from mailer import (
    ConflictError,
    InputError,
    Mailer,
    Message,
    NotFoundError,
    Settings,
    TemplateError,
    UnavailableError,
)
from mailer.campaigns import Campaign
from mailer.embedded.servers import Redis
from mailer.events import suppress

from .conftest import MESSAGE, Bench

COPIES = Message(
    "a@b.example", text="x", cc="Cy <cy@example.net>", bcc=["Bo <bo@example.net>"], subject="s"
)


def only(bench: Bench) -> Campaign:
    ((id_,),) = bench.execute("SELECT id FROM campaigns")
    return bench.mailer.campaigns.get(id_)


def test_an_urgent_message_is_queued_ahead_of_bulk(bench: Bench, settings: Settings) -> None:
    sent = bench.mailer.send(MESSAGE, to="Ann@example.net", variables={"name": "Ann"})
    assert (sent.email, sent.state) == ("Ann@example.net", "queued")
    assert bench.mailer.delivery(sent.id) == sent
    assert bench.mailer.campaigns.list() == []
    with redis.Redis.from_url(settings.redis) as client:
        assert (client.llen("mailer.urgent"), client.llen("mailer.bulk")) == (1, 0)


def test_each_copy_is_a_delivery_with_the_same_message_and_no_trace_of_bcc(bench: Bench) -> None:
    sent = bench.mailer.send(COPIES, to="Ann <ann@example.net>")
    campaign = only(bench)
    everybody = {d.email: d for d in campaign.deliveries()}
    assert set(everybody) == {"ann@example.net", "cy@example.net", "bo@example.net"}
    assert {d.message_id for d in everybody.values()} == {sent.message_id}
    for email in everybody:
        content = campaign.preview(email)
        mail = message_from_bytes(content, policy=policy.default)
        assert (mail["to"], mail["cc"]) == ("Ann <ann@example.net>", "Cy <cy@example.net>")
        assert mail["message-id"] == sent.message_id
        assert b"bo@example.net" not in content
        assert "bcc" not in mail


def test_a_key_used_twice_sends_once(bench: Bench, settings: Settings) -> None:
    first = bench.mailer.send(COPIES, to="ann@example.net", key="k")
    assert bench.mailer.send(COPIES, to="ann@example.net", key="k").id == first.id
    with redis.Redis.from_url(settings.redis) as client:
        assert client.llen("mailer.urgent") == 3
    with pytest.raises(ConflictError):
        bench.mailer.send(COPIES, to="other@example.net", key="k")


def test_a_suppressed_recipient_is_told_at_once(bench: Bench) -> None:
    suppress(bench.mailer.database, ["ann@example.net"], "asked")
    assert bench.mailer.send(COPIES, to="ann@example.net").state == "suppressed"


def test_what_cannot_be_sent_stores_nothing(bench: Bench) -> None:
    with pytest.raises(InputError):
        bench.mailer.send(COPIES, to="no address")
    with pytest.raises(TemplateError, match="'name'"):
        bench.mailer.send(MESSAGE, to="ann@example.net")
    with pytest.raises(NotFoundError):
        bench.mailer.send(COPIES, to="ann@example.net", provider="nobody")
    assert bench.execute("SELECT id FROM campaigns") == []


def test_an_unreachable_broker_stores_nothing(bench: Bench, settings: Settings) -> None:
    nowhere = settings.model_copy(update={"broker_url": "redis://:hunter2@127.0.0.1:1/0"})
    with Mailer(nowhere) as mailer, pytest.raises(UnavailableError, match=r"^broker: ") as caught:
        mailer.send(COPIES, to="ann@example.net")
    assert "hunter2" not in str(caught.value)
    assert bench.execute("SELECT id FROM campaigns") == []


def test_a_broker_that_went_away_is_noticed_before_anything_is_stored(
    bench: Bench, settings: Settings, server_folder: object
) -> None:
    assert hasattr(server_folder, "joinpath")
    server = Redis(server_folder.joinpath("short-lived")).start()
    with Mailer(settings.model_copy(update={"broker_url": server.url})) as mailer:
        mailer.send(COPIES, to="ann@example.net")
        server.stop()
        with pytest.raises(UnavailableError, match=r"^broker: "):
            mailer.send(COPIES, to="bob@example.net")
    assert len(bench.execute("SELECT id FROM campaigns")) == 1
