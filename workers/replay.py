"""What becomes of a killed worker's batches: the living look for them every few seconds."""

import logging
import uuid
from dataclasses import dataclass

from mailer import deliveries, liveness
from mailer.db import Database
from mailer.outcome import decide
from mailer.settings import RetrySettings, Settings
from mailer.smtp import Kind
from workers import journal
from workers.journal import Notes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Attempt:
    id: uuid.UUID
    attempt: int


def replay(database: Database, settings: Settings) -> None:
    """Bring the ledger up to what the journals of dead processes on this host say.

    Every step is conditional: a replay that is cut off is done again by the next one.

    Raises:
        UnavailableError: the ledger cannot be reached; the journals stay.
    """
    for worker, folder in journal.orphans(settings.state_dir):
        for notes in journal.read(folder):
            _settle(database, worker, notes, settings.retry)
        deliveries.release_rest(database, worker)
        liveness.leave(database, worker)
        journal.remove(folder)


def _settle(database: Database, worker: uuid.UUID, notes: Notes, retry: RetrySettings) -> None:
    known = {id_: v for id_, v in notes.verdicts.items() if v.kind is not Kind.IN_DOUBT}
    unknown = [*notes.unanswered, *(notes.verdicts.keys() - known.keys())]
    deliveries.record(
        database,
        [
            (
                _Attempt(id_, notes.attempts[id_]),
                decide(verdict, attempt=notes.attempts[id_], age=0.0, on_doubt="hold", retry=retry),
            )
            for id_, verdict in known.items()
        ],
    )
    deliveries.doubt(database, unknown, worker)
    deliveries.release(database, notes.untouched, worker)
    logger.warning(
        "replayed the journal of a killed worker: %d answered, %d in doubt, %d not sent",
        len(known),
        len(unknown),
        len(notes.untouched),
    )
