"""A short run of ``make chaos``: every kind of fault once, as a fixed seed orders them."""

import pytest

from tests.chaos.run import run


@pytest.mark.timeout(240)
def test_a_campaign_under_fire_loses_and_doubles_nothing() -> None:
    report = run(seed=7, seconds=15, recipients=6000)
    assert not report.broken, report.table()
    assert report.states["failed"] == 0
    assert len(report.recovery) > 5
