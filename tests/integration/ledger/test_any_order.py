"""The ledger under feeders, workers, janitors and operators in any order that Hypothesis finds."""

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from mailer import Campaign, ConflictError, Mailer, deliveries, liveness
from mailer.campaigns.schedule import drop_leftovers, finish, reopen
from mailer.deliveries import Claim
from mailer.schema import CampaignState, State

from .conftest import Bench

FINAL = {"sent", "failed", "suppressed", "cancelled", "expired", "in_doubt"}
RECORDED = st.sampled_from([State.SENT, State.FAILED, State.PENDING, State.IN_DOUBT])


class Machine(RuleBasedStateMachine):
    """Three recipients, as many workers as come, and hints that may come twice or never."""

    mailer: Mailer  # set below, one for all examples

    @initialize(on_doubt=st.sampled_from(["hold", "resend"]))
    def begin(self, on_doubt: str) -> None:
        self.bench = Bench(self.mailer, uuid.uuid4())
        self.bench.execute("DELETE FROM workers")
        self.bench.execute("UPDATE campaigns SET state = 'finished'")
        self.bench.execute("DELETE FROM deliveries")
        self.campaign: Campaign = self.bench.campaign(3, on_doubt=on_doubt)
        self.hints: list[str] = []
        self.claims: list[tuple[uuid.UUID, Claim]] = []
        self.attempts: Counter[uuid.UUID] = Counter()

    @rule(limit=st.integers(1, 3))
    def feed(self, limit: int) -> None:
        if self.campaign.state == "running":
            self.hints += self.bench.reserve(self.campaign, limit)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        """Hints stay: the broker may bring them again."""
        worker = uuid.uuid4()
        liveness.beat(self.mailer.database, worker, "test")
        self.bench.execute("UPDATE workers SET seen_at = now() + interval '1 hour'")
        for claim in self.bench.claim(self.hints[-limit:], worker):
            holders = [w for w, held in self.claims if held.id == claim.id]
            assert claim.attempt > self.attempts[claim.id], "claimed twice"
            assert all(self.is_released(held) for held in holders)
            self.attempts[claim.id] = claim.attempt
            self.claims.append((worker, claim))

    def is_released(self, holder: uuid.UUID) -> bool:
        """Nobody holds what is claimed anew, but for workers that were given up for dead."""
        rows = self.bench.execute("SELECT 1 FROM workers WHERE id = %s", holder)
        return not rows

    @rule(state=RECORDED, data=st.data())
    def record(self, state: State, data: st.DataObject) -> None:
        if self.claims:
            place = data.draw(st.integers(0, len(self.claims) - 1))
            worker, claim = self.claims.pop(place)
            self.bench.record([claim], state)
            if not any(held == worker for held, _ in self.claims):
                liveness.leave(self.mailer.database, worker)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """The worker is silent from now on, though its last word may still come."""
        if self.claims:
            worker, _ = data.draw(st.sampled_from(self.claims))
            liveness.leave(self.mailer.database, worker)

    @rule()
    def lose_the_hints(self) -> None:
        self.hints.clear()
        self.bench.execute("UPDATE deliveries SET due_at = now() WHERE state = 'queued'")

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.hints:
            id_ = data.draw(st.sampled_from(self.hints))
            deliveries.give_back(self.mailer.database, [(id_, 0.0)])

    @rule()
    def clean(self) -> None:
        with self.mailer.database.begin() as connection:
            deliveries.free_lost_hints(connection)
            deliveries.free_silent_workers(connection, 0.0)
        reopen(self.mailer.database)
        drop_leftovers(self.mailer.database)
        finish(self.mailer.database)

    @rule(word=st.sampled_from(["pause", "resume", "cancel"]))
    def operate(self, word: str) -> None:
        with suppress(ConflictError):
            getattr(self.campaign, word)()

    @rule()
    def retry(self) -> None:
        self.campaign.retry(["failed", "in_doubt", "cancelled"])

    @invariant()
    def the_counts_are_those_of_the_rows(self) -> None:
        assert sum(self.bench.states(self.campaign).values()) == 3

    def teardown(self) -> None:
        """After everybody has recovered nothing is left waiting."""
        self.hints.clear()
        self.bench.execute("DELETE FROM workers")
        with suppress(ConflictError):
            self.campaign.resume()
        for _ in range(4):
            self.lose_the_hints()
            self.clean()
            if self.campaign.state == CampaignState.RUNNING:
                self.bench.send(self.campaign)
        self.clean()
        assert set(self.bench.states(self.campaign)) <= FINAL
        assert self.campaign.state in ("finished", "cancelled")


@pytest.fixture
def machine(mailer: Mailer) -> Callable[[], Machine]:
    Machine.mailer = mailer
    return Machine


def test_nothing_is_lost_and_nothing_claimed_twice_in_any_order(
    machine: Callable[[], Machine],
) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
