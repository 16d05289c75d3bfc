"""The batch, read top to bottom: limits, claim, render, send, decide, record."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from mailer import deliveries
from mailer.campaigns.content import load_contents
from mailer.db import keep_trying
from mailer.deliveries import Claim
from mailer.errors import InputError, UnavailableError
from mailer.outcome import Outcome, decide, failed
from mailer.schema import State
from mailer.smtp import Kind, Transaction, Verdict
from workers import runtime
from workers.journal import Batch, Noted
from workers.replay import settle
from workers.runtime import Runtime

logger = logging.getLogger(__name__)


class Fate(StrEnum):
    """How a hint ended, for Celery's events."""

    SENT = "sent"
    FAILED = "failed"
    LATER = "later"
    DROPPED = "dropped"  # the delivery moved on, or may not go yet


class Report(NamedTuple):
    """What became of one hint. ``text``: reply code and text, never an address."""

    id: str
    fate: Fate
    text: str = ""


def run_batch(provider: str, hints: Sequence[tuple[str, str]]) -> list[Report] | None:
    """``run`` for Celery's pools, where an exception would end the process: None on a defect."""
    try:
        return run(provider, hints)
    except Exception:
        logger.exception("a batch of %d through %s broke off", len(hints), provider)
        return None


def run(provider: str, hints: Sequence[tuple[str, str]]) -> list[Report]:
    """Send the deliveries that the hints name, through one provider.

    Args:
        provider: its name in the settings.
        hints: (delivery id, recipient's domain) each.
    """
    try:
        worker = keep_trying(runtime.current, stop=runtime.out_of_time)
        with worker.hold(_take(worker, provider, hints)) as ids:
            outcomes = _deliver(worker, provider, ids)
    except UnavailableError as error:  # we are to stop while something is away
        logger.warning("%d hints are left to other workers: %s", len(hints), error)
        outcomes = []
    return _reports(hints, outcomes)


def _take(worker: Runtime, provider: str, hints: Sequence[tuple[str, str]]) -> list[str]:
    """The ids that the limits let go now; the others are due again when they may."""
    groups: dict[str | None, list[str]] = defaultdict(list)
    for id_, domain in hints:
        groups[worker.destinations.of(domain)].append(id_)
    granted: list[str] = []
    held: list[tuple[str, float]] = []
    for destination, ids in groups.items():
        take = partial(worker.limiter.take, provider, destination, len(ids))
        grant = keep_trying(take, stop=runtime.out_of_time)
        granted += ids[: grant.granted]
        held += [(id_, grant.wait) for id_ in ids[grant.granted :]]
    _give_back(worker, held)
    return granted


def _give_back(worker: Runtime, waits: Sequence[tuple[str, float]]) -> None:
    keep_trying(lambda: deliveries.give_back(worker.database, waits), stop=runtime.out_of_time)


def _deliver(worker: Runtime, provider: str, ids: Sequence[str]) -> list[tuple[Claim, Outcome]]:
    """Claim, send, record. Whatever breaks off in between is settled as the notes say."""
    claims = _claim(worker, provider, ids)
    if not claims:
        return []
    notes = worker.journal.batch(claims)
    try:
        outcomes = _send(worker, provider, claims, notes)
        keep_trying(lambda: deliveries.record(worker.database, outcomes), stop=runtime.out_of_time)
    except Exception:
        keep_trying(
            lambda: settle(worker.database, worker.id, notes.read(), worker.settings.retry),
            stop=runtime.out_of_time,
        )
        notes.close()
        raise
    notes.close()
    return outcomes


def _claim(worker: Runtime, provider: str, ids: Sequence[str]) -> list[Claim]:
    try:
        return deliveries.claim(worker.database, ids, worker.id, provider) if ids else []
    except UnavailableError:
        # The claim may have been committed all the same. Nothing of it is on the wire.
        keep_trying(
            lambda: deliveries.unclaim(worker.database, ids, worker.id), stop=runtime.out_of_time
        )
        _give_back(worker, [(id_, 0.0) for id_ in ids])
        return []


def _send(
    worker: Runtime, provider: str, claims: Sequence[Claim], notes: Batch
) -> list[tuple[Claim, Outcome]]:
    outcomes: list[tuple[Claim, Outcome]] = []
    ready: list[tuple[Claim, Transaction]] = []
    contents = keep_trying(lambda: _contents(worker, claims), stop=runtime.out_of_time)
    for claim in claims:
        try:
            ready.append((claim, _render(worker, claim, contents, notes)))
        except InputError as error:
            outcomes.append((claim, failed(str(error))))
    verdicts = worker.send(provider, [transaction for _, transaction in ready])
    for (claim, _), verdict in zip(ready, verdicts, strict=True):
        outcomes.append((claim, _outcome(worker, claim, verdict)))
    return outcomes


def _outcome(worker: Runtime, claim: Claim, verdict: Verdict) -> Outcome:
    if runtime.finishing() and verdict.kind is Kind.LATER and verdict.code is None:
        return Outcome(State.PENDING, reply="the worker was stopped")  # not the server's fault
    return decide(
        verdict,
        attempt=claim.attempt,
        age=claim.age,
        on_doubt=claim.on_doubt,
        retry=worker.settings.retry,
    )


def _contents(worker: Runtime, claims: Sequence[Claim]) -> dict[str, bytes]:
    digests = {digest for claim in claims for digest, _, _ in claim.attachments}
    if not digests:
        return {}
    with worker.database.begin() as connection:
        return load_contents(connection, digests)


def _render(worker: Runtime, claim: Claim, contents: dict[str, bytes], notes: Batch) -> Transaction:
    mail = worker.press.mail(
        worker.compiled(claim.message),
        claim.variables,
        email=claim.email,
        delivery=claim.id,
        message_id=claim.message_id,
        files=claim.attachments,
        contents=contents.__getitem__,
    )
    return Transaction(
        key=Noted(claim, notes),
        sender=mail.sender,
        recipients=(mail.recipient,),
        content=mail.content,
        smtputf8=mail.smtputf8,
        eight_bit=mail.eight_bit,
    )


_FATES = {State.SENT: Fate.SENT, State.PENDING: Fate.LATER}


def _reports(
    hints: Sequence[tuple[str, str]], outcomes: Sequence[tuple[Claim, Outcome]]
) -> list[Report]:
    reports = {
        str(claim.id): Report(
            str(claim.id), _FATES.get(outcome.state, Fate.FAILED), _summary(outcome)
        )
        for claim, outcome in outcomes
    }
    return [reports.get(id_) or Report(id_, Fate.DROPPED) for id_, _ in hints]


def _summary(outcome: Outcome) -> str:
    """Codes only: a server's text often repeats the address."""
    codes = " ".join(str(c) for c in (outcome.code, outcome.enhanced_code) if c)
    return codes or outcome.state.value
