"""From a request to rows in the ledger, in one transaction: all of it or nothing."""

import hashlib
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mailer.campaigns.given import GivenFiles
from mailer.campaigns.report import LISTED, ImportReport, Rejected
from mailer.db import Database, dumps, sql
from mailer.errors import ConflictError, InputError, RecipientsError, TemplateError
from mailer.message import Message
from mailer.recipients import Problem, Recipient, read
from mailer.render import Compiled, compile_message
from mailer.schema import CampaignState, campaigns, contents, messages

SHOWN = 5  # rows named in an error
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # Postgres stores no NUL and no surrogate


def _check_text(field_: str, text: str | None) -> None:
    if text is None and field_ == "key":
        return
    if not isinstance(text, str) or _UNFIT.search(text):
        raise InputError(f"{field_}: must be text in one line")
    if not text and field_ == "key":
        raise InputError("key: is empty, and would make all such requests one")


@dataclass(frozen=True, slots=True)
class Request:
    """All that was asked for. ``recipients``: a path, or any iterable of mappings."""

    name: str
    message: Message
    recipients: str | Path | Iterable[Mapping[str, object]]
    providers: Sequence[str]
    on_doubt: str = "hold"
    send_at: datetime | None = None
    expires_at: datetime | None = None
    key: str | None = None
    single: bool = False

    def __post_init__(self) -> None:
        for key in ("name", "key"):
            _check_text(key, getattr(self, key))
        if not isinstance(self.message, Message):
            raise InputError("message: must be a mailer.Message")
        if self.on_doubt not in ("hold", "resend"):
            raise InputError('on_doubt: must be "hold" or "resend"')
        for key in ("send_at", "expires_at"):
            when = getattr(self, key)
            if when is not None and (not isinstance(when, datetime) or when.utcoffset() is None):
                raise InputError(f"{key}: must be a datetime with a time zone")
        if self.send_at and self.expires_at and self.expires_at <= self.send_at:
            raise InputError("expires_at: must be after send_at")
        if not self.single and (self.message.cc or self.message.bcc):
            raise InputError(
                "cc, bcc: only mailer.send takes them; in a campaign each copy would be sent "
                "once for every recipient"
            )


def create(database: Database, request: Request, folder: Path | None) -> uuid.UUID:
    """Store the campaign with its deliveries, or find the one that has the request's key.

    Args:
        folder: the one under which personal attachments may lie.

    Raises:
        RecipientsError: the recipients cannot be read, or none of them can be used.
        TemplateError: a recipient lacks a variable that the message names, or a template fails
            for each of the first recipients, as one does that never ends.
        ConflictError: the key belongs to a request with other content.
    """
    document, files = request.message.dump()
    digest = hashlib.sha256(dumps(document).encode()).digest()
    rows = _Rows(request, compile_message(request.message), folder, digest)
    # Files go over a connection of their own, since the first is busy with the COPY that finds
    # them. It commits first: a file without a campaign does no harm.
    with database.begin() as connection, database.begin() as storage:
        if request.key is not None:
            known = _lock_key(connection, request.key)
            if known is not None:
                return _same(known, rows, request.key)
        if request.expires_at and request.expires_at <= datetime.now(UTC):
            raise InputError("expires_at: is over already")
        rows.store = partial(_store_content, storage)
        for name, data in files.items():
            rows.store(name, data)
        _store_message(connection, digest, document)
        campaign = _store_campaign(connection, request, digest)
        _stage(connection, rows)
        rows.check()
        _deliver(connection, campaign, rows)
    return campaign


@dataclass(slots=True)
class _Lines:
    """How often something was found, and the first places."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(place)

    def __str__(self) -> str:
        return ", ".join(self.shown) + (", …" if self.count > SHOWN else "")


class _Rows:
    """The recipients on their way into the ledger: checked, counted, digested."""

    def __init__(
        self, request: Request, compiled: Compiled, folder: Path | None, digest: bytes
    ) -> None:
        self.report = ImportReport()
        self.staged = 0
        self.store: Callable[[str, bytes], None] = lambda digest, data: None
        self._compiled = compiled
        self._folder = folder
        self._personal = any(a.path is not None for a in request.message.attachments)
        self._given = GivenFiles(request.recipients) if self._personal else None
        self._reader = read(self._given.rows if self._given else request.recipients)
        self._lacking: dict[str, _Lines] = defaultdict(_Lines)
        self._unusable = _Lines()
        self._sample: list[Recipient] = []
        self._hash = hashlib.sha256(
            dumps([digest.hex(), request.name, list(request.providers), request.on_doubt]).encode()
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of all that was asked, once every row was read."""
        return self._hash.digest()

    def __iter__(self) -> Iterator[tuple[int, str, str, str, str | None]]:
        for row in self._reader:
            if isinstance(row, Problem):
                self.report.reject(row.line, row.email, row.reason)
                continue
            variables = dumps(row.variables)
            self._hash.update(f"{row.address}\0{variables}\n".encode())
            self._find_lacking(row)
            if len(self._sample) < SHOWN:
                self._sample.append(row)
            self.staged += 1
            yield row.line, row.email, row.address, variables, self._attachments(row)

    def _find_lacking(self, row: Recipient) -> None:
        for name in self._compiled.needs:
            if row.variables.get(name) in (None, ""):
                self._lacking[name].add(str(row.line))

    def _attachments(self, row: Recipient) -> str | None:
        if not self._personal or self._lacking:
            return None
        try:
            given = self._given.take(row.line) if self._given else {}
            found = self._compiled.attachments(row.variables | given, self._folder)
            for file in found:
                self.store(file.digest, file.read())
        except InputError as error:
            self._unusable.add(f"line {row.line}: {error}")
            return None
        return dumps([[file.digest, file.name, file.type] for file in found])

    def check(self) -> None:
        """Raise what makes the whole request unusable."""
        for name, lines in self._lacking.items():
            folded = name.casefold()  # as columns are
            if folded != name and folded in self._sample[0].variables:
                remedy = f"the column is called {folded}: write {{{{ {folded} }}}}"
            else:
                remedy = f"fill the column, or write {{{{ {name} | default('…') }}}}"
            raise TemplateError(
                f"variable {name!r}: {lines.count} recipients have no value for it (lines "
                f"{lines}); {remedy}"
            )
        if self._unusable.count:
            raise InputError(
                f"files of {self._unusable.count} recipients cannot be used: {self._unusable}"
            )
        if not self.staged:
            first = self.report.invalid[0] if self.report.invalid else None
            why = f"; line {first.line}: {first.reason}" if first else ""
            raise RecipientsError(f"{self._reader.label}: no usable recipient{why}")
        self._try_templates()

    def _try_templates(self) -> None:
        """Raise what is wrong with a template itself; one recipient's own trouble stays his."""
        problems = []
        for row in self._sample:
            values = {"unsubscribe_url": "", **row.variables}
            try:
                for template in self._compiled.message.templates.values():
                    template.render(values)
                return
            except TemplateError as error:
                problems.append(error)
        raise problems[0]


def _lock_key(connection: sa.Connection, key: str) -> sa.Row[Any, Any] | None:
    """The campaign that has the key. Requests with the same key wait here for one another."""
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key}
    )
    return connection.execute(
        sa.select(campaigns.c.id, campaigns.c.request_digest).where(campaigns.c.key == key)
    ).one_or_none()


def _same(known: sa.Row[Any, Any], rows: _Rows, key: str) -> uuid.UUID:
    for _ in rows:  # reads every row, so that the digest covers them
        pass
    if bytes(known.request_digest) != rows.digest:
        raise ConflictError(
            f"key {key!r}: already used by campaign {known.id} with other content; nothing was done"
        )
    found: uuid.UUID = known.id
    return found


def _store_message(connection: sa.Connection, digest: bytes, document: dict[str, Any]) -> None:
    connection.execute(
        insert(messages).values(digest=digest, document=document).on_conflict_do_nothing()
    )


def _store_content(connection: sa.Connection, digest: str, data: bytes) -> None:
    connection.execute(insert(contents).values(digest=digest, bytes=data).on_conflict_do_nothing())


def _store_campaign(connection: sa.Connection, request: Request, digest: bytes) -> uuid.UUID:
    state = CampaignState.DRAFT if request.send_at is None else CampaignState.SCHEDULED
    campaign: uuid.UUID = connection.execute(
        sa.insert(campaigns)
        .values(
            name=request.name,
            key=request.key,
            single=request.single,
            state=CampaignState.RUNNING if request.single else state,
            message=digest,
            message_id_domain=request.message.id_domain,
            providers=list(request.providers),
            on_doubt=request.on_doubt,
            send_at=request.send_at,
            expires_at=request.expires_at,
            import_report={},
            started_at=sa.func.now() if request.single else None,
        )
        .returning(campaigns.c.id)
    ).scalar_one()
    return campaign


def _stage(connection: sa.Connection, rows: _Rows) -> None:
    connection.exec_driver_sql(sql("stage"))
    cursor = connection.connection.cursor()
    with cursor.copy("COPY staged FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _deliver(connection: sa.Connection, campaign: uuid.UUID, rows: _Rows) -> None:
    made = connection.exec_driver_sql(sql("deliver_staged"), {"campaign": campaign}).rowcount
    report = rows.report
    report.duplicate = rows.staged - made
    if report.duplicate:
        doubled = connection.exec_driver_sql(sql("doubled"), {"limit": LISTED})
        report.duplicates = [
            Rejected(line, email, f"same address as line {first}") for line, email, first in doubled
        ]
    report.suppressed = connection.execute(
        sa.text(
            "SELECT coalesce(sum(n), 0) FROM delivery_counts"
            " WHERE campaign_id = :id AND state = 'suppressed'"
        ),
        {"id": campaign},
    ).scalar_one()
    report.suppressed = int(report.suppressed)
    report.accepted = made - report.suppressed
    connection.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign)
        .values(import_report=report.dump(), request_digest=rows.digest)
    )
