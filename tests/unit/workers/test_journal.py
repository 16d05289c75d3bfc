"""The journal: what it notes, and what can be read after a death at any moment."""

import multiprocessing
import os
import signal
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.deliveries import Claim
from mailer.errors import UnavailableError
from mailer.smtp import Kind, Phase, Verdict
from workers import journal
from workers.journal import Batch, Journal

OK = Verdict(Kind.DELIVERED, Phase.DOT, 250, "2.0.0", "Kept — 好")
LOST = Verdict(Kind.IN_DOUBT, Phase.DOT, text="the connection was closed")


def claim(attempt: int = 1) -> Claim:
    return Claim(
        id=uuid.uuid4(),
        campaign_id=uuid.uuid4(),
        email="ann@example.com",
        attempt=attempt,
        variables={},
        attachments=(),
        age=0.0,
        on_doubt="hold",
        message=b"",
        message_id="<1@example.com>",
    )


def test_each_attempt_is_answered_unknown_or_untouched(tmp_path: Path) -> None:
    claims = answered, silent, cut, untouched = [claim(n) for n in (1, 2, 3, 4)]
    batch = Batch(tmp_path / "0.log", claims)
    for each in (answered, silent, cut):
        batch.before_dot(each)
    batch.after_reply(answered, OK)
    batch.after_reply(cut, LOST)
    notes = batch.read()
    assert notes.answered == {answered.id: OK}
    assert notes.unknown == {silent.id: 2, cut.id: 3}
    assert notes.untouched == {untouched.id: 4}
    batch.close()
    assert not list(tmp_path.iterdir())


@given(kept=st.integers(min_value=0, max_value=1000))
def test_notes_cut_off_anywhere_never_call_a_sent_message_untouched(
    kept: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "0.log"
    claims = [claim(), claim()]
    batch = Batch(path, claims)
    whole = len(path.read_bytes())
    for each in claims:
        batch.before_dot(each)
        batch.after_reply(each, OK)
    path.write_bytes(path.read_bytes()[: whole + kept])
    notes = batch.read()
    assert not notes.untouched
    assert set(notes.answered) | set(notes.unknown) == {each.id for each in claims}
    batch.close()


def test_a_batch_cut_off_in_its_first_note_has_sent_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    batch = Batch(path, [claim(), claim()])
    path.write_bytes(path.read_bytes()[:60])
    assert not batch.read().attempts
    batch.close()


def test_a_full_disk_lets_nothing_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Journal(tmp_path, uuid.uuid4())
    monkeypatch.setattr(os, "pwrite", lambda *_: 10)
    with pytest.raises(UnavailableError, match="No space left"):
        notes.batch([claim()])
    assert notes.clean
    notes.close(keep=False)


def test_a_reply_that_finds_no_room_is_covered_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = claim(), claim()
    batch = Batch(tmp_path / "0.log", [first, second])
    whole = os.pwrite
    for each in (first, second):
        batch.before_dot(each)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:20], at))
        batch.after_reply(first, OK)
    batch.after_reply(second, OK)
    assert batch.read().answered == {second.id: OK}
    assert set(batch.read().unknown) == {first.id}
    batch.close()


def test_a_process_that_ends_in_order_leaves_nothing(tmp_path: Path) -> None:
    notes = Journal(tmp_path, uuid.uuid4())
    notes.batch([claim()]).close()
    assert notes.clean
    notes.close(keep=False)
    assert not list((tmp_path / "journals").iterdir())


def test_what_is_kept_is_an_orphan_once_its_process_ended(tmp_path: Path) -> None:
    worker = uuid.uuid4()
    notes = Journal(tmp_path, worker)
    notes.batch([claim()])
    assert not notes.clean
    assert not list(journal.orphans(tmp_path))
    notes.close(keep=True)
    assert [found for found, _ in journal.orphans(tmp_path)] == [worker]


def test_the_journal_of_a_living_process_is_left_alone_and_of_a_killed_one_found(
    tmp_path: Path,
) -> None:
    worker, ours = uuid.uuid4(), multiprocessing.get_context("spawn")
    parent, child = ours.Pipe()
    process = ours.Process(target=_live, args=(tmp_path, worker, child))
    process.start()
    assert parent.recv() == "ready"
    assert not list(journal.orphans(tmp_path))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert [found for found, _ in journal.orphans(tmp_path)] == [worker]


def test_two_that_replay_never_see_the_same_orphan(tmp_path: Path) -> None:
    notes = Journal(tmp_path, uuid.uuid4())
    notes.close(keep=True)
    first = journal.orphans(tmp_path)
    next(first)
    assert not list(journal.orphans(tmp_path))
    first.close()  # type: ignore[attr-defined]


def _live(folder: Path, worker: uuid.UUID, pipe: Connection) -> None:
    notes = Journal(folder, worker)
    notes.batch([claim()])
    pipe.send("ready")
    pipe.recv()
