"""The ledger's tables, and the states of a delivery with their legal moves.

The migrations in ``mailer/migrations`` make these tables; a test compares the two. Each table has
one module that writes it, named in its comment.
"""

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, UUID

metadata = sa.MetaData()
# Compared by bytes: addresses are never sorted for people, and a language's rules cost 3 us more.
ADDRESS = sa.Text(collation="C")


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # waiting for its time (due_at)
    QUEUED = "queued"  # a hint is in the broker or in a worker's buffer
    SENDING = "sending"  # claimed by one worker
    SENT = "sent"  # the server took responsibility: 250 after the final dot
    FAILED = "failed"  # refused for good, or attempts or time used up
    SUPPRESSED = "suppressed"  # the address is on the suppression list
    CANCELLED = "cancelled"  # its campaign was cancelled before it was claimed
    EXPIRED = "expired"  # its campaign's expires_at passed before it was claimed
    IN_DOUBT = "in_doubt"  # the final dot went out and no reply came back


# The only moves there are. Every write to deliveries.state is an UPDATE that names its sources
# from this table, so a move that is not here cannot happen.
MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.QUEUED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED}),
    State.QUEUED: frozenset(
        {State.PENDING, State.SENDING, State.SUPPRESSED, State.CANCELLED, State.EXPIRED}
    ),
    State.SENDING: frozenset({State.SENT, State.PENDING, State.FAILED, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.SENT, State.FAILED, State.PENDING}),
    State.FAILED: frozenset({State.PENDING}),  # an operator's retry
    State.CANCELLED: frozenset({State.PENDING}),  # an operator's retry
    State.EXPIRED: frozenset({State.PENDING}),  # an operator's retry
    State.SENT: frozenset(),
    State.SUPPRESSED: frozenset(),
}
WAITING = (State.PENDING, State.QUEUED, State.SENDING)


def sources(target: State) -> tuple[State, ...]:
    """The states from which a delivery may move to ``target``."""
    return tuple(state for state, targets in MOVES.items() if target in targets)


class CampaignState(StrEnum):
    """Where a campaign stands."""

    DRAFT = "draft"  # created, not started
    SCHEDULED = "scheduled"  # starts by itself at send_at
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"  # nothing of it is waiting any more
    CANCELLED = "cancelled"


def _now() -> sa.TextClause:
    return sa.text("now()")


def _id() -> sa.Column[object]:
    # mailer_uuid7() is made by the first migration: ids that grow with time keep the index's
    # newest pages in memory, and Postgres before 18 has no such function of its own.
    return sa.Column(
        "id", UUID(as_uuid=True), primary_key=True, server_default=sa.text("mailer_uuid7()")
    )


def _time(name: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), **options)  # type: ignore[arg-type]


# Written by mailer.campaigns.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("digest", BYTEA, primary_key=True, comment="SHA-256 of the document"),
    sa.Column("document", JSONB, nullable=False, comment="Message.dump(), without contents"),
)

# Written by mailer.campaigns. Each distinct attachment is stored once.
contents = sa.Table(
    "contents",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True, comment="SHA-256 in hexadecimal"),
    sa.Column("bytes", BYTEA, nullable=False),
)

# Written by mailer.campaigns.
campaigns = sa.Table(
    "campaigns",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, unique=True, comment="idempotency"),
    sa.Column("request_digest", BYTEA, comment="SHA-256 of all that was asked under the key"),
    sa.Column("single", sa.Boolean, nullable=False, comment="made by mailer.send: urgent"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("message", BYTEA, sa.ForeignKey("messages.digest"), nullable=False),
    sa.Column("message_id_domain", sa.Text, nullable=False),
    sa.Column("providers", ARRAY(sa.Text), nullable=False, comment="in order of preference"),
    sa.Column("on_doubt", sa.Text, nullable=False),
    _time("send_at"),
    _time("expires_at"),
    sa.Column("import_report", JSONB, nullable=False),
    _time("created_at", nullable=False, server_default=_now()),
    _time("started_at"),
    _time("finished_at"),
    sa.CheckConstraint("on_doubt in ('hold', 'resend')", name="campaigns_on_doubt"),
    sa.Index("campaigns_live", "state", postgresql_where=sa.text("state <> 'finished'")),
    sa.Index("campaigns_by_time", "created_at"),
    sa.Index("campaigns_by_end", "finished_at"),
)

# Written by mailer.deliveries. The first row of the ledger's promise: one row, one recipient.
deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    sa.Column("campaign_id", UUID(as_uuid=True), sa.ForeignKey("campaigns.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    _time("due_at", comment="pending: not before; queued: the hint counts as lost after"),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("code", sa.SmallInteger, comment="basic reply code"),
    sa.Column(
        "crashes",
        sa.SmallInteger,
        nullable=False,
        server_default=sa.text("0"),
        comment="workers that died with it; from the first on it goes alone, after three it fails",
    ),
    _time("first_attempt_at"),
    _time("changed_at", nullable=False, server_default=_now()),
    sa.Column("worker", UUID(as_uuid=True), comment="who claimed it last"),
    sa.Column("email", sa.Text, nullable=False, comment="as it goes on the envelope"),
    sa.Column("address", ADDRESS, nullable=False, comment="normalised: unique, suppressed"),
    sa.Column("provider", sa.Text, comment="through which it was sent last"),
    sa.Column("enhanced_code", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("variables", JSONB, nullable=False),
    sa.Column("attachments", JSONB, comment="personal files: [digest, name, type] each"),
    sa.UniqueConstraint("campaign_id", "address", name="deliveries_once"),
    # What may go next, campaign by campaign: a paused campaign costs nothing.
    sa.Index(
        "deliveries_due", "campaign_id", "due_at", postgresql_where=sa.text("state = 'pending'")
    ),
    # What is on its way: as small as the window, whatever the size of the ledger.
    sa.Index(
        "deliveries_in_flight",
        "due_at",
        postgresql_where=sa.text("state in ('queued', 'sending')"),
    ),
)

# Written by the database itself: a trigger on deliveries adds, for every statement, what it
# changed, so the counts cannot drift from the rows. Rows are only added, never updated: no two
# workers wait for each other. mailer.deliveries folds old ones together.
counts = sa.Table(
    "delivery_counts",
    metadata,
    sa.Column("campaign_id", UUID(as_uuid=True), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False, comment="a difference; the sum is the count"),
    _time("at", nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Index("delivery_counts_by_campaign", "campaign_id", "state"),
)

# Written by mailer.events.
suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("address", ADDRESS, primary_key=True, comment="normalised"),
    sa.Column("reason", sa.Text, nullable=False),
    _time("created_at", nullable=False, server_default=_now()),
)

# Written by mailer.liveness: who is alive. What a silent worker holds is freed.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, comment="host and process"),
    _time("seen_at", nullable=False, server_default=_now()),
)
