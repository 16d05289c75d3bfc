"""Campaigns as programs use them: what is imported, what is refused, how one moves on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mailer import (
    Campaign,
    ConflictError,
    InputError,
    Mailer,
    MailerError,
    Message,
    NotFoundError,
    RecipientsError,
    TemplateError,
    WaitTimeoutError,
)
from mailer.campaigns.schedule import finish, start_scheduled
from mailer.events import allow, listed, suppress
from mailer.schema import State

from .conftest import MESSAGE, Bench, people

SOON = timedelta(minutes=5)


def nothing_is_stored(bench: Bench) -> bool:
    tables = ("campaigns", "deliveries", "delivery_counts", "contents")
    return not any(bench.execute(f"SELECT count(*) FROM {t}")[0][0] for t in tables)  # noqa: S608


def test_the_import_reports_every_row_with_its_line(bench: Bench, tmp_path: Path) -> None:
    suppress(bench.mailer.database, ["OUT@example.com"], "asked")
    path = tmp_path / "staff.csv"
    path.write_text(
        "Email,Name\na@example.com,Ann\nnot an address,Bob\nA@Example.com,Ann\nout@example.com,Cy\n"
        "d@example.com,Dee,more\ne@example.com,Eve\n"
    )
    report = bench.campaign(path).import_report  # type: ignore[arg-type]
    assert (report.accepted, report.duplicate, report.suppressed) == (2, 1, 1)
    assert [(row.line, row.email) for row in report.duplicates] == [(4, "A@Example.com")]
    assert [row.line for row in report.invalid] == [3, 6]
    assert report.duplicates[0].reason == "same address as line 2"


def test_a_variable_that_recipients_lack_is_named_with_the_first_rows(bench: Bench) -> None:
    rows = [row | {"name": "" if n % 2 else "x"} for n, row in enumerate(people(20), 1)]
    with pytest.raises(TemplateError, match=r"'name': 10 recipients .*lines 1, 3, 5, 7, 9, …"):
        bench.campaign(rows)
    assert nothing_is_stored(bench)


def test_a_variable_in_the_wrong_case_is_told_with_the_right_one(bench: Bench) -> None:
    with pytest.raises(TemplateError, match=r"write {{ name }}"):
        bench.campaign(message=Message("a@b.example", text="{{ Name }}"))


def test_a_default_makes_up_for_what_recipients_lack(bench: Bench) -> None:
    message = Message("a@b.example", text="{{ nick | default('you') }}")
    assert bench.campaign(message=message).import_report.accepted == 3


ENDLESS = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}"
REFUSED: dict[str, tuple[dict[str, Any], type[MailerError]]] = {
    "no file": ({"recipients": "/not/there.csv"}, RecipientsError),
    "no rows": ({"recipients": []}, RecipientsError),
    "no usable row": ({"recipients": [{"email": "x"}]}, RecipientsError),
    "no email": ({"recipients": [{"name": "x"}]}, RecipientsError),
    "unknown provider": ({"provider": "nobody"}, NotFoundError),
    "endless loop": ({"message": Message("a@b.example", text=ENDLESS)}, TemplateError),
    "no message": ({"message": "text"}, InputError),
    "cc": ({"message": Message("a@b.example", text="x", cc=["c@d.example"])}, InputError),
    "policy": ({"on_doubt": "guess"}, InputError),
    "no zone": ({"send_at": datetime(2030, 1, 1)}, InputError),
    "no date": ({"send_at": "tomorrow"}, InputError),
    "over": ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, InputError),
    "order": (
        {
            "send_at": datetime.now(UTC) + 2 * SOON,
            "expires_at": datetime.now(UTC) + SOON,
        },
        InputError,
    ),
    "empty key": ({"key": ""}, InputError),
    "NUL": ({"name": "a\0b"}, InputError),
    "no name": ({"name": None}, InputError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_stores_nothing(bench: Bench, case: str) -> None:
    values, kind = REFUSED[case]
    good: dict[str, Any] = {"name": "n", "message": MESSAGE, "recipients": people(2)}
    with pytest.raises(kind) as caught:
        bench.mailer.campaigns.create(**good | values)
    assert "\n" not in str(caught.value)
    assert nothing_is_stored(bench)


def test_the_same_key_returns_the_same_campaign(bench: Bench) -> None:
    first = bench.campaign(key="k")
    assert bench.campaign(key="k", start=False).id == first.id
    assert bench.mailer.campaigns.get(first.id).key == "k"


@pytest.mark.parametrize(
    "other", [{"recipients": 2}, {"on_doubt": "resend"}, {"message": Message("a@b.c", text="x")}]
)
def test_a_key_with_other_content_is_a_conflict(bench: Bench, other: dict[str, Any]) -> None:
    bench.campaign(key="k")
    with pytest.raises(ConflictError, match=r"^key 'k': already used"):
        bench.campaign(**{"key": "k", "start": False} | other)
    assert len(bench.mailer.campaigns.list()) == 1


def test_two_creates_with_the_same_key_at_once_make_one_campaign(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: bench.campaign(key="k", start=False), range(4)))
    assert len({campaign.id for campaign in made}) == 1
    assert bench.states(made[0]) == {"pending": 3}


def moved(campaign: Campaign, word: str) -> str:
    getattr(campaign, word)()
    return campaign.state


def test_a_campaign_goes_from_draft_over_a_pause_to_its_end(bench: Bench) -> None:
    campaign = bench.campaign(start=False)
    assert campaign.state == "draft"
    assert [moved(campaign, w) for w in ("start", "pause", "resume")] == [
        "running", "paused", "running",
    ]  # fmt: skip
    bench.send(campaign)
    finish(bench.mailer.database)
    progress = campaign.wait(timeout=0)
    assert (progress.state, progress.sent, progress.waiting) == ("finished", 3, 0)
    assert progress.rate > 0


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ((), ("pause", "resume")),
        (("start",), ("start", "resume")),
        (("start", "pause"), ("start", "pause")),
        (("cancel",), ("start", "pause", "resume", "cancel")),
    ],
)
def test_a_wrong_move_of_a_campaign_is_refused_and_changes_nothing(
    bench: Bench, before: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    campaign = bench.campaign(start=False)
    for word in before:
        moved(campaign, word)
    state = campaign.state
    for word in wrong:
        with pytest.raises(ConflictError, match=f"it is {state}"):
            moved(campaign, word)
        assert campaign.state == state


def test_a_pause_takes_back_what_is_queued_and_leaves_what_is_claimed(bench: Bench) -> None:
    campaign = bench.campaign(4)
    bench.claim(bench.reserve(campaign, 1))
    late = bench.reserve(campaign, 2)
    campaign.pause()
    assert bench.states(campaign) == {"sending": 1, "pending": 3}
    assert bench.claim(late) == []


def test_a_hint_of_a_campaign_that_was_paused_meanwhile_claims_nothing(bench: Bench) -> None:
    campaign = bench.campaign(2)
    campaign.pause()
    assert bench.claim(bench.reserve(campaign)) == []
    assert bench.states(campaign) == {"pending": 2}


def test_a_cancel_ends_what_waits_and_lets_what_is_claimed_end(bench: Bench) -> None:
    campaign = bench.campaign(4)
    held = bench.claim(bench.reserve(campaign, 1))
    bench.reserve(campaign, 1)
    campaign.cancel()
    bench.record(held)
    assert bench.states(campaign) == {"sent": 1, "cancelled": 3}
    assert campaign.retry(["cancelled"]) == 3
    assert (campaign.state, bench.states(campaign)) == ("running", {"sent": 1, "pending": 3})


def test_a_retry_sends_what_failed_once_more(bench: Bench) -> None:
    campaign = bench.campaign(2)
    bench.send(campaign, State.FAILED)
    finish(bench.mailer.database)
    assert campaign.retry() == 2
    bench.send(campaign)
    assert bench.states(campaign) == {"sent": 2}
    assert {d.attempts for d in campaign.deliveries()} == {2}


def test_wrong_retries_are_refused(bench: Bench) -> None:
    campaign = bench.campaign(start=False)
    for states in ([], ["sent"], ["nothing"], ["failed", "suppressed"]):
        with pytest.raises(InputError):
            campaign.retry(states)
    with pytest.raises(ConflictError, match="not started yet"):
        campaign.retry()


def test_a_scheduled_campaign_starts_at_its_time_once(bench: Bench) -> None:
    campaign = bench.campaign(send_at=datetime.now(UTC) + SOON, start=False)
    assert campaign.state == "scheduled"
    assert start_scheduled(bench.mailer.database) == 0
    bench.execute("UPDATE campaigns SET send_at = now()")
    with ThreadPoolExecutor(3) as pool:
        started = pool.map(lambda _: start_scheduled(bench.mailer.database), range(3))
        assert sum(started) == 1
    assert campaign.state == "running"


def test_a_scheduled_campaign_that_was_paused_waits_for_its_time_again(bench: Bench) -> None:
    campaign = bench.campaign(send_at=datetime.now(UTC) + SOON, start=False)
    assert [moved(campaign, w) for w in ("pause", "resume", "start")] == [
        "paused", "scheduled", "running",
    ]  # fmt: skip
    assert [moved(campaign, w) for w in ("pause", "resume")] == ["paused", "running"]


def test_what_is_claimed_too_late_expires(bench: Bench) -> None:
    campaign = bench.campaign(2, expires_at=datetime.now(UTC) + SOON)
    ids = bench.reserve(campaign)
    bench.execute("UPDATE campaigns SET expires_at = now()")
    assert bench.claim(ids) == []
    assert bench.states(campaign) == {"expired": 2}


def test_waiting_too_long_tells_how_it_stands(bench: Bench) -> None:
    with pytest.raises(WaitTimeoutError, match="is running after 0 s: 3 of 3 are waiting"):
        bench.campaign().wait(timeout=0)


def test_deliveries_come_page_by_page_each_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.campaigns._PAGE", 2)
    campaign = bench.campaign(5)
    bench.send(campaign, limit=1)
    assert sorted(d.email for d in campaign.deliveries()) == [p["email"] for p in people(5)]
    (sent,) = campaign.deliveries(state="sent")
    assert (sent.code, sent.enhanced_code, sent.reply, sent.attempts) == (250, "2.0.0", "ok", 1)
    with pytest.raises(InputError, match="'lost' is none of"):
        campaign.deliveries(state="lost")


def test_a_preview_is_the_message_as_its_recipient_gets_it(bench: Bench) -> None:
    campaign = bench.campaign(start=False)
    mail = message_from_bytes(campaign.preview("P1@example.net"), policy=policy.default)
    assert (mail["subject"], mail["to"]) == ("Hello Person 1", "p1@example.net")
    with pytest.raises(NotFoundError):
        campaign.preview("nobody@example.net")
    with pytest.raises(InputError):
        campaign.preview("no address")


@pytest.mark.parametrize("id_", ["x", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_campaign_is_not_found(mailer: Mailer, id_: str) -> None:
    with pytest.raises(NotFoundError):
        mailer.campaigns.get(id_)
    with pytest.raises(NotFoundError):
        mailer.delivery(id_)


def test_a_campaign_whose_provider_is_gone_says_so_at_its_start(bench: Bench) -> None:
    campaign = bench.campaign(start=False)
    bench.execute("UPDATE campaigns SET providers = '{gone}'")
    with pytest.raises(NotFoundError, match="'gone'"):
        campaign.start()


def test_an_address_suppressed_after_the_start_gets_nothing(bench: Bench) -> None:
    campaign = bench.campaign(2)
    ids = bench.reserve(campaign)
    suppress(bench.mailer.database, ["P1@EXAMPLE.net"], "complaint")
    assert [claim.email for claim in bench.claim(ids)] == ["p0@example.net"]
    assert bench.states(campaign) == {"suppressed": 1, "sending": 1}


def test_suppressions_are_counted_listed_and_taken_back(mailer: Mailer) -> None:
    many = [f"p{n}@example.com" for n in range(40_000)]
    assert suppress(mailer.database, many, "imported") == 40_000
    assert suppress(mailer.database, [many[0].upper(), "new@example.com"], "again") == 1
    assert suppress(mailer.database, [], "none") == 0
    assert listed(mailer.database)[0][:2] == ("new@example.com", "again")
    assert allow(mailer.database, "NEW@example.com")
    assert not allow(mailer.database, "new@example.com")
    with pytest.raises(InputError, match="'x@'"):
        suppress(mailer.database, ["fine@example.com", "x@"], "bad")
    assert len(listed(mailer.database)) == 40_000
