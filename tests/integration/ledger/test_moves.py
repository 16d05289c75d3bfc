"""Each statement that writes a state, from every state there is, on a real ledger."""

import re
import uuid
from typing import Any

from mailer import Campaign
from mailer.db import _queries, sql
from mailer.schema import MOVES, CampaignState, State

from .conftest import Bench

ALL = list(State)
WORKER = uuid.uuid4()


def rows(bench: Bench, campaign: Campaign, crashes: int = 0) -> dict[uuid.UUID, State]:
    """One delivery in every state."""
    states = {d.id: state for d, state in zip(campaign.deliveries(), ALL, strict=True)}
    bench.execute(
        "UPDATE deliveries d SET state = r.state, worker = %s, attempts = 1, crashes = %s,"
        " due_at = now() - interval '1 hour'"
        " FROM unnest(%s::uuid[], %s::text[]) AS r(id, state) WHERE d.id = r.id",
        WORKER,
        crashes,
        list(states),
        [state.value for state in states.values()],
    )
    return states


def run(bench: Bench, name: str, values: dict[str, Any]) -> None:
    with bench.mailer.database.begin() as connection:
        connection.exec_driver_sql(sql(name), values)


def now(bench: Bench) -> dict[uuid.UUID, State]:
    return {id_: State(state) for id_, state in bench.execute("SELECT id, state FROM deliveries")}


def parameters(campaign: uuid.UUID, ids: list[uuid.UUID], outcome: State) -> dict[str, Any]:
    count = len(ids)
    return {
        "campaign": campaign, "limit": 100, "patience": 60, "ids": ids, "worker": WORKER,
        "provider": "main", "attempts": [1] * count, "states": [outcome.value] * count,
        "codes": [250] * count, "enhanced_codes": ["2.0.0"] * count, "replies": ["ok"] * count,
        "waits": [0.0] * count, "silence": 0.0, "wait": 0.0, "delivery": None,
        "state": outcome.value,
    }  # fmt: skip


WRITERS = [
    "reserve", "claim", "record", "unclaim", "release", "release_rest", "doubt", "give_back",
    "free_lost_hints", "free_silent_workers", "drop_cancelled", "drop_expired", "recall", "settle",
]  # fmt: skip
OUTCOMES = {
    "record": [State.SENT, State.FAILED, State.PENDING, State.IN_DOUBT],
    "settle": [State.SENT, State.FAILED, State.PENDING],
}


def test_every_statement_that_writes_a_state_is_tried_here() -> None:
    writers = {
        name
        for name, body in _queries().items()
        if re.search(r"UPDATE deliveries\b[^;]*?SET state =", body, re.DOTALL)
    }
    assert writers == {*WRITERS, "retry"}


SETTINGS = [
    ("hold", CampaignState.RUNNING, 0),
    ("hold", CampaignState.PAUSED, 0),
    ("hold", CampaignState.CANCELLED, 2),
    ("resend", CampaignState.RUNNING, 0),
    ("resend", CampaignState.RUNNING, 2),
]


def test_no_statement_moves_a_delivery_where_the_table_has_no_move(bench: Bench) -> None:
    moved = {name: move for name in WRITERS for move in moves(bench, name)}
    assert moved.keys() == set(WRITERS), "one of them moved nothing from any state"


def moves(bench: Bench, name: str) -> set[tuple[State, State]]:
    """The moves that a statement makes, all found to be legal."""
    seen: set[tuple[State, State]] = set()
    for on_doubt, campaign_state, crashes in SETTINGS:
        for outcome in OUTCOMES.get(name, [State.SENT]):
            campaign = bench.campaign(len(ALL), start=False, on_doubt=on_doubt)
            bench.execute("UPDATE campaigns SET state = %s", campaign_state.value)
            before = rows(bench, campaign, crashes)
            run(bench, name, parameters(campaign.id, list(before), outcome))
            after = now(bench)
            made = {(s, after[i]) for i, s in before.items() if s is not after[i]}
            assert {(s, t) for s, t in made if t not in MOVES[s]} == set(), name
            bench.states(campaign)
            seen |= made
            bench.execute("DELETE FROM deliveries")
    return seen


def test_a_retry_moves_what_may_be_retried_only(bench: Bench) -> None:
    campaign = bench.campaign(len(ALL))
    before = rows(bench, campaign)
    campaign.retry(["failed", "in_doubt", "cancelled", "expired"])
    moved = {s for i, s in before.items() if now(bench)[i] is not s}
    assert moved == {State.FAILED, State.IN_DOUBT, State.CANCELLED, State.EXPIRED}
    assert all(State.PENDING in MOVES[state] for state in moved)
