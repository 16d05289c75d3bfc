"""Limits, on a real Redis."""

import time

import pytest

from mailer import Settings, UnavailableError
from mailer.limits import Limiter


def test_no_window_sees_more_than_the_limit(settings: Settings) -> None:
    limiter, grants = Limiter(settings), []
    until = time.monotonic() + 1.6
    while time.monotonic() < until:
        before = time.monotonic()
        grant = limiter.take("slow", None, 3)
        grants += [before] * grant.granted
        time.sleep(min(grant.wait, 0.01))
    assert len(grants) == 8  # the day's quota ends it
    for start in grants:
        assert sum(start <= at < start + 0.98 for at in grants) <= 5


def test_what_one_limit_refuses_costs_the_others_nothing(settings: Settings) -> None:
    limiter = Limiter(settings)
    assert limiter.take("slow", "corp", 5).granted == 2
    assert limiter.take("slow", "corp", 5).granted == 0
    assert limiter.take("slow", None, 5).granted == 3


def test_what_has_no_limit_goes(settings: Settings) -> None:
    assert Limiter(settings).take("main", None, 10_000).granted == 10_000


def test_a_refusal_says_when_to_ask_again(settings: Settings) -> None:
    limiter = Limiter(settings)
    assert limiter.take("slow", None, 5).granted == 5
    refusal = limiter.take("slow", None, 5)
    assert refusal.granted == 0
    assert 0 < refusal.wait <= 1.02


def test_nothing_may_go_while_redis_cannot_be_asked(settings: Settings) -> None:
    gone = settings.model_copy(update={"redis_url": "redis://:hunter2@127.0.0.1:1/0"})
    with pytest.raises(UnavailableError) as caught:
        Limiter(gone).take("slow", None, 1)
    assert "hunter2" not in str(caught.value)
