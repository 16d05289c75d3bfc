import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.outcome import Outcome, backoff, decide, failed
from mailer.schema import State
from mailer.settings import RetrySettings
from mailer.smtp import Kind, Phase, Verdict

RETRY = RetrySettings()


def verdict(kind: Kind) -> Verdict:
    return Verdict(kind, Phase.DOT, 451, "4.7.1", "try later")


def decided(kind: Kind, attempt: int = 1, age: float = 0.0, on_doubt: str = "hold") -> Outcome:
    return decide(verdict(kind), attempt=attempt, age=age, on_doubt=on_doubt, retry=RETRY)


@pytest.mark.parametrize(
    ("kind", "on_doubt", "state"),
    [
        (Kind.DELIVERED, "hold", State.SENT),
        (Kind.REFUSED, "hold", State.FAILED),
        (Kind.LATER, "hold", State.PENDING),
        (Kind.IN_DOUBT, "hold", State.IN_DOUBT),
        (Kind.IN_DOUBT, "resend", State.PENDING),
    ],
)
def test_each_kind_of_verdict_has_its_state_and_keeps_the_reply(
    kind: Kind, on_doubt: str, state: State
) -> None:
    outcome = decided(kind, on_doubt=on_doubt)
    assert outcome.state is state
    assert (outcome.code, outcome.enhanced_code, outcome.reply) == (451, "4.7.1", "try later")
    assert (outcome.wait > 0) == (state is State.PENDING)


def test_every_kind_of_verdict_is_decided() -> None:
    assert {decided(kind).state for kind in Kind} <= set(State)


def test_the_last_attempt_that_is_put_off_fails() -> None:
    assert decided(Kind.LATER, attempt=RETRY.attempts - 1).state is State.PENDING
    assert decided(Kind.LATER, attempt=RETRY.attempts).state is State.FAILED


def test_a_delivery_that_could_only_be_tried_too_late_fails() -> None:
    assert decided(Kind.LATER, age=RETRY.give_up_after - 1).state is State.FAILED
    assert decided(Kind.LATER, age=RETRY.give_up_after - 61).state is State.PENDING


def test_what_never_reached_the_wire_fails_with_the_reason_alone() -> None:
    assert failed("no such file") == Outcome(State.FAILED, None, None, "no such file")


@given(
    attempt=st.integers(1, 32767),
    first=st.floats(0.001, 1e6),
    longest=st.floats(0.001, 1e6),
)
def test_the_wait_doubles_up_to_the_longest_and_at_most_half_is_left_out(
    attempt: int, first: float, longest: float
) -> None:
    wait = backoff(attempt, RetrySettings(first=first, longest=longest))
    full = min(first * 2.0 ** min(attempt - 1, 32), longest)
    assert full / 2 <= wait <= full


def test_what_was_put_off_together_does_not_come_back_together() -> None:
    assert len({backoff(3, RETRY) for _ in range(50)}) > 40
