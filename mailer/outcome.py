"""From what a server said to what becomes of the delivery. Plain decisions, no I/O."""

import random
from typing import NamedTuple

from mailer.schema import State
from mailer.settings import RetrySettings
from mailer.smtp import Kind, Verdict


class Outcome(NamedTuple):
    """The state a delivery moves to. ``wait``: seconds until the next attempt, for ``PENDING``."""

    state: State
    code: int | None = None
    enhanced_code: str | None = None
    reply: str = ""
    wait: float = 0.0


def decide(
    verdict: Verdict, *, attempt: int, age: float, on_doubt: str, retry: RetrySettings
) -> Outcome:
    """The outcome of one attempt.

    Args:
        verdict: what the SMTP engine saw.
        attempt: the number of this attempt, from 1.
        age: seconds since the first attempt began.
        on_doubt: the campaign's policy, ``hold`` or ``resend``.
        retry: how long and how often to try.
    """
    answer = (verdict.code, verdict.enhanced, verdict.text)
    match verdict.kind:
        case Kind.DELIVERED:
            return Outcome(State.SENT, *answer)
        case Kind.REFUSED:
            return Outcome(State.FAILED, *answer)
        case Kind.IN_DOUBT if on_doubt == "hold":
            return Outcome(State.IN_DOUBT, *answer)
        case _:
            return _try_later(answer, attempt, age, retry)


def failed(reply: str) -> Outcome:
    """The outcome of a delivery that never got as far as the wire and never will."""
    return Outcome(State.FAILED, reply=reply)


def _try_later(
    answer: tuple[int | None, str | None, str], attempt: int, age: float, retry: RetrySettings
) -> Outcome:
    wait = backoff(attempt, retry)
    if attempt >= retry.attempts or age + wait > retry.give_up_after:
        return Outcome(State.FAILED, *answer)
    return Outcome(State.PENDING, *answer, wait=wait)


def backoff(attempt: int, retry: RetrySettings) -> float:
    """Seconds to wait after the given attempt: doubling, up to half of it left to chance.

    The jitter spreads a batch that was deferred together, so that it does not come back together.
    """
    full = min(retry.first * 2.0 ** min(attempt - 1, 32), retry.longest)
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreading load needs no secrecy
