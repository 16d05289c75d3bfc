"""Campaigns: one message to many recipients. The only package that writes the table
``campaigns``, and what belongs to it: ``messages`` and ``contents``.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mailer import deliveries as ledger
from mailer.campaigns import create as creation
from mailer.campaigns.content import load_contents, load_message
from mailer.campaigns.report import ImportReport, Progress, Rejected
from mailer.db import Database, sql
from mailer.deliveries import Delivery
from mailer.errors import ConflictError, InputError, NotFoundError, WaitTimeoutError
from mailer.message import Message
from mailer.press import Press
from mailer.providers import choose
from mailer.recipients import normalise
from mailer.render import Finding, check, compile_message
from mailer.schema import CampaignState, State, campaigns, deliveries
from mailer.settings import Settings

__all__ = ["Campaign", "Campaigns", "ImportReport", "Progress", "Rejected"]

ENDED = (CampaignState.FINISHED, CampaignState.CANCELLED)
RETRYABLE = (State.FAILED, State.IN_DOUBT, State.CANCELLED, State.EXPIRED)
VERDICTS = {"sent": State.SENT, "failed": State.FAILED, "resend": State.PENDING}
_PAGE = 5000


class Campaign:
    """A handle on one campaign; every call asks the ledger."""

    def __init__(
        self, database: Database, settings: Settings, press: Press, id_: uuid.UUID
    ) -> None:
        self._database = database
        self._settings = settings
        self._press = press
        self.id = id_

    def __repr__(self) -> str:
        return f"<Campaign {self.id}>"

    @property
    def name(self) -> str:
        """The name it was created with."""
        return str(self._row().name)

    @property
    def key(self) -> str | None:
        """The idempotency key it was created with."""
        key: str | None = self._row().key
        return key

    @property
    def state(self) -> str:
        """One of ``CampaignState``."""
        return str(self._row().state)

    @property
    def import_report(self) -> ImportReport:
        """What became of the recipients that were handed in."""
        return ImportReport.load(self._row().import_report)

    def check(self) -> list[Finding]:
        """What to look at before it is sent. Findings of level "error" keep it from starting."""
        row = self._row()
        with self._database.begin() as connection:
            compiled = compile_message(load_message(connection, row.message))
            sample = connection.execute(
                sa.select(deliveries.c.variables, deliveries.c.email)
                .where(deliveries.c.campaign_id == self.id)
                .limit(1)
            ).one()
        names = choose(self._settings, row.providers)  # some may be gone from the settings
        sizes = [self._settings.providers[name].max_size for name in names]
        return check(
            compiled,
            bulk=not row.single,
            size_limit=min((size for size in sizes if size), default=None),
            dkim_domains=self._press.signs_for or None,
            sample=sample.variables | {"email": sample.email},
        )

    def start(self, *, force: bool = False) -> None:
        """Send from now on.

        Args:
            force: also when ``check`` finds errors.

        Raises:
            ConflictError: it was started before.
            InputError: ``check`` found an error.
        """
        errors = [] if force else [f for f in self.check() if f.level == "error"]
        if errors:
            raise InputError(f"{errors[0].field}: {errors[0].text}")
        self._move((CampaignState.DRAFT, CampaignState.SCHEDULED), CampaignState.RUNNING, "started")

    def pause(self) -> None:
        """Stop what is not yet in a worker's hands; ``resume()`` goes on."""
        with self._database.begin() as connection:
            live = (CampaignState.RUNNING, CampaignState.SCHEDULED)
            self._transition(connection, live, CampaignState.PAUSED, "paused")
            ledger.recall(connection, self.id)

    def resume(self) -> None:
        """Go on after a pause: at send_at when that is still to come and nobody started it."""
        row = self._row()
        to_come = row.started_at is None and row.send_at and row.send_at > datetime.now(UTC)
        target = CampaignState.SCHEDULED if to_come else CampaignState.RUNNING
        self._move((CampaignState.PAUSED,), target, "resumed")

    def cancel(self) -> None:
        """Send nothing more. What a worker holds already still ends as it ends."""
        live = tuple(state for state in CampaignState if state not in ENDED)
        self._move(live, CampaignState.CANCELLED, "cancelled")
        while True:
            with self._database.begin() as connection:
                if not ledger.drop(connection, self.id, State.CANCELLED):
                    return

    def retry(self, states: Iterable[str] = ("failed",)) -> int:
        """Send once more to the deliveries in these states. Returns how many."""
        wanted = [_state(s) for s in states]
        if not wanted or not set(wanted) <= set(RETRYABLE):
            raise InputError(f"states: can be {', '.join(RETRYABLE)}")
        with self._database.begin() as connection:
            row = self._row(connection, lock=True)
            if row.state in (CampaignState.DRAFT, CampaignState.SCHEDULED):
                raise ConflictError(f"campaign {self.id} was not started yet")
            count = ledger.retry(connection, self.id, wanted)
            if count and row.state in ENDED:
                self._set_state(connection, CampaignState.RUNNING)
        return count

    def settle(self, verdict: str, delivery: str | uuid.UUID | None = None) -> int:
        """Say what became of one delivery in doubt, or of all of them. Returns how many.

        Args:
            verdict: ``sent``, ``failed``, or ``resend`` to send them once more, which doubles
                those that had arrived after all.
            delivery: its id; None for all that are in doubt.
        """
        if verdict not in VERDICTS:
            raise InputError(f"verdict: {verdict!r} is none of {', '.join(VERDICTS)}")
        target, one = VERDICTS[verdict], None if delivery is None else _delivery_id(delivery)
        with self._database.begin() as connection:
            row = self._row(connection, lock=True)
            count = ledger.settle(connection, self.id, target, one)
            if one is not None and not count:
                raise ConflictError(f"campaign {self.id} has no delivery {one} in doubt")
            if count and target is State.PENDING and row.state in ENDED:
                self._set_state(connection, CampaignState.RUNNING)
        return count

    def progress(self) -> Progress:
        """Counts by state. Costs the same for ten rows and for ten million."""
        with self._database.begin() as connection:
            row = self._row(connection)
            counted = connection.exec_driver_sql(sql("progress"), {"campaign": self.id}).all()
        counts = dict.fromkeys(State, 0) | {State(state): n for state, n, _ in counted}
        lately = next((n for state, _, n in counted if state == State.SENT), 0)
        return Progress(
            state=row.state,
            total=sum(counts.values()),
            rate=_rate(row, counts[State.SENT], lately),
            **{state.value: n for state, n in counts.items()},
        )

    def wait(self, timeout: float | None = None) -> Progress:
        """Return when the campaign has ended.

        Raises:
            WaitTimeoutError: it had not after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            progress = self.progress()
            if progress.state in ENDED and not progress.sending:
                return progress
            if deadline is not None and time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"campaign {self.id} is {progress.state} after {timeout:g} s: "
                    f"{progress.waiting} of {progress.total} are waiting"
                )
            time.sleep(0.2)

    def deliveries(self, state: str | None = None) -> Iterator[Delivery]:
        """All deliveries, or those in one state, read a page at a time."""
        wanted = None if state is None else _state(state)
        self._row()
        return self._pages(wanted)  # apart, so that a mistake is told now and not at the first row

    def _pages(self, wanted: State | None) -> Iterator[Delivery]:
        after: uuid.UUID | None = None
        while True:
            with self._database.begin() as connection:
                page = ledger.listing(connection, self.id, wanted, after, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def preview(self, email: str) -> bytes:
        """The message as this recipient gets it (RFC 5322, an .eml file's content)."""
        row = self._row()
        address = _normalised(email)
        with self._database.begin() as connection:
            found = connection.execute(
                sa.select(deliveries).where(
                    deliveries.c.campaign_id == self.id, deliveries.c.address == address
                )
            ).one_or_none()
            if found is None:
                raise NotFoundError(f"campaign {self.id} has no recipient {email}")
            message = load_message(connection, row.message)
            files = load_contents(connection, [a[0] for a in found.attachments or ()])
        return self._press.mail(
            compile_message(message),
            found.variables,
            email=found.email,
            delivery=found.id,
            message_id=ledger.message_id(found.id, self.id, row.single, row.message_id_domain),
            files=[tuple(a) for a in found.attachments or ()],
            contents=files.__getitem__,
        ).content

    def _row(self, connection: sa.Connection | None = None, *, lock: bool = False) -> sa.Row[Any]:
        if connection is None:
            with self._database.begin() as own:
                return self._row(own)
        query = sa.select(campaigns).where(campaigns.c.id == self.id)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no campaign {self.id}")
        return row

    def _move(self, sources: Sequence[CampaignState], target: CampaignState, done: str) -> None:
        with self._database.begin() as connection:
            self._transition(connection, sources, target, done)

    def _transition(
        self,
        connection: sa.Connection,
        sources: Sequence[CampaignState],
        target: CampaignState,
        done: str,
    ) -> None:
        state = self._row(connection, lock=True).state
        if state not in sources:
            raise ConflictError(f"campaign {self.id} cannot be {done}: it is {state}")
        self._set_state(connection, target)

    def _set_state(self, connection: sa.Connection, target: CampaignState) -> None:
        times: dict[str, Any] = {"finished_at": sa.func.now() if target in ENDED else None}
        if target is CampaignState.RUNNING:
            times["started_at"] = sa.func.coalesce(campaigns.c.started_at, sa.func.now())
        connection.execute(
            sa.update(campaigns).where(campaigns.c.id == self.id).values(state=target, **times)
        )


class Campaigns:
    """``mailer.campaigns``: making and finding campaigns."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._press = Press(settings)

    def create(
        self,
        *,
        name: str,
        message: Message,
        recipients: str | Path | Iterable[Mapping[str, object]],
        provider: str | Sequence[str] | None = None,
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        on_doubt: str = "hold",
        key: str | None = None,
    ) -> Campaign:
        """Store a campaign with one delivery for each recipient; it is sent once started.

        Args:
            recipients: path of a CSV, TSV, XLSX or JSONL file, or any iterable of mappings with
                an ``email``.
            provider: a name, several in order of preference, or None for the first configured.
            send_at: start by itself at that time; aware.
            expires_at: what was not sent by then expires; aware.
            on_doubt: what to do where a message may or may not have been accepted: ``hold`` it
                for an operator, or ``resend`` it with the same Message-ID.
            key: idempotency: the same key returns the same campaign.

        Raises:
            InputError: something cannot be used; nothing was stored.
            ConflictError: the key was used with other content.
        """
        request = creation.Request(
            name=name,
            message=message,
            recipients=recipients,
            providers=choose(self._settings, provider),
            on_doubt=on_doubt,
            send_at=send_at,
            expires_at=expires_at,
            key=key,
        )
        self._press.check(message)
        return self._handle(
            creation.create(self._database, request, self._settings.attachments_dir)
        )

    def get(self, id_: str | uuid.UUID) -> Campaign:
        """The campaign with that id.

        Raises:
            NotFoundError: there is none.
        """
        try:
            campaign = self._handle(uuid.UUID(str(id_)))
        except ValueError:
            raise NotFoundError(f"there is no campaign {id_}") from None
        _ = campaign.state
        return campaign

    def list(self, limit: int = 100) -> Sequence[Campaign]:
        """The newest campaigns first, without the single messages of ``mailer.send``."""
        query = (
            sa.select(campaigns.c.id)
            .where(~campaigns.c.single)
            .order_by(campaigns.c.created_at.desc())
            .limit(limit)
        )
        with self._database.begin() as connection:
            return [self._handle(id_) for id_ in connection.scalars(query)]

    def _handle(self, id_: uuid.UUID) -> Campaign:
        return Campaign(self._database, self._settings, self._press, id_)


def _rate(row: sa.Row[Any], sent: int, lately: int) -> float:
    if row.started_at is None:
        return 0.0
    if row.finished_at is not None:
        return float(sent / max((row.finished_at - row.started_at).total_seconds(), 0.001))
    running = (datetime.now(UTC) - row.started_at).total_seconds()
    return float(lately / min(max(running, 1.0), 10.0))


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError:
        raise InputError(f"state: {name!r} is none of {', '.join(State)}") from None


def _delivery_id(text: str | uuid.UUID) -> uuid.UUID:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        raise NotFoundError(f"there is no delivery {text}") from None


def _normalised(email: str) -> str:
    """The normalised form of an address that a caller typed."""
    try:
        return normalise(email)[1]
    except ValueError as error:
        raise InputError(f"email: {error}") from None
