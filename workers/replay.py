"""What becomes of a killed worker's batches: the living look for them every few seconds."""

import logging
import uuid
from dataclasses import dataclass

from mailer import deliveries, liveness
from mailer.db import Database
from mailer.outcome import decide
from mailer.settings import RetrySettings, Settings
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
            settle(database, worker, notes, settings.retry)
        deliveries.release_rest(database, worker)
        liveness.leave(database, worker)
        with database.begin() as connection:  # hints in its hands, or its parent's, died with it
            deliveries.hurry(connection, deliveries.HURRY)
        journal.remove(folder)
        logger.warning("freed what the dead worker %s held", worker)


def settle(database: Database, worker: uuid.UUID, notes: Notes, retry: RetrySettings) -> None:
    """Write what the notes on a batch say, and free the rest of it."""
    outcomes = [
        (
            _Attempt(id_, notes.attempts[id_]),
            decide(verdict, attempt=notes.attempts[id_], age=0.0, on_doubt="hold", retry=retry),
        )
        for id_, verdict in notes.answered.items()
    ]
    deliveries.record(database, outcomes)
    deliveries.doubt(database, notes.unknown, worker)
    deliveries.release(database, notes.untouched, worker)
    logger.warning(
        "a batch broke off: %d answered, %d in doubt, %d not sent",
        len(outcomes),
        len(notes.unknown),
        len(notes.untouched),
    )
