"""What a pool decides, without a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.smtp import Kind, Phase, Verdict
from mailer.smtp.pool_plan import LONGEST_PAUSE, Backoff, Limits, Queue, for_waiting
from mailer.smtp.work import Work
from tests.smtp.helpers import message


def works(*keys: int) -> list[Work]:
    return [Work(message(key)) for key in keys]


def pop_all(queue: Queue) -> list[object]:
    return [work.transaction.key for work in queue.drain()]


def test_groups_take_turns_and_keep_their_own_order() -> None:
    queue = Queue()
    queue.extend("a", works(1, 2, 3))
    queue.extend("b", works(11, 12))
    assert pop_all(queue) == [1, 11, 2, 12, 3]
    assert len(queue) == 0


def test_what_was_given_back_is_first_again() -> None:
    queue = Queue()
    queue.extend("a", works(1, 2))
    work = queue.pop()
    assert work is not None
    queue.put_back("a", work)
    assert pop_all(queue) == [1, 2]


def test_withdrawn_work_is_passed_over() -> None:
    queue = Queue()
    lot = works(1, 2, 3)
    queue.extend("a", lot)
    lot[0].withdrawn = lot[2].withdrawn = True
    assert pop_all(queue) == [2]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5))))
def test_nothing_is_lost_in_the_queue(groups: list[tuple[str, int]]) -> None:
    queue, key, expected = Queue(), 0, set()
    for group, count in groups:
        queue.extend(group, works(*range(key, key + count)))
        expected |= set(range(key, key + count))
        key += count
    assert len(queue) == len(expected)
    assert set(pop_all(queue)) == expected


@pytest.mark.parametrize(
    ("waiting", "connections", "opening", "expected"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (4, 0, 0, 1),
        (5, 0, 0, 2),
        (5, 0, 2, 0),
        (99, 2, 1, 7),
        (99, 10, 0, 0),
    ],
)
def test_growth_follows_what_waits(
    waiting: int, connections: int, opening: int, expected: int
) -> None:
    assert Limits(connections=10).to_open(waiting, connections, opening) == expected


@given(st.integers(0, 500), st.integers(0, 20), st.integers(0, 20))
def test_growth_never_passes_the_limit(waiting: int, connections: int, opening: int) -> None:
    grown = connections + opening + Limits(connections=10).to_open(waiting, connections, opening)
    assert grown <= max(10, connections + opening)


def test_a_connection_wears_out_by_messages_age_or_the_servers_limit() -> None:
    limits = Limits(messages=100, age=60)
    assert not limits.worn_out(99, 59, None)
    assert limits.worn_out(100, 0, None)
    assert limits.worn_out(1, 60, None)
    assert not limits.worn_out(0, 60, None), "one message at least, whatever the limit"
    assert limits.worn_out(5, 0, 5)
    assert limits.worn_out(100, 0, 1000)


def test_pauses_double_up_to_a_bound_and_end_with_success() -> None:
    backoff, now, pauses = Backoff(), 100.0, []
    verdict = Verdict(Kind.LATER, Phase.CONNECT)
    for _ in range(8):
        backoff.failed(verdict, now)
        backoff.failed(verdict, now)  # of ten that were opened together, all fail
        pauses.append(backoff.remaining(now))
        now += backoff.remaining(now)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE
    backoff.succeeded()
    assert backoff.remaining(now) == 0


def test_what_waited_is_never_in_doubt() -> None:
    lost = Verdict(Kind.IN_DOUBT, Phase.DOT, text="closed")
    assert for_waiting(lost).kind is Kind.LATER
