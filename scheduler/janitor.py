"""The janitor: frees what was lost, ends what has ended, folds the counts."""

import logging

from mailer import deliveries, liveness
from mailer.campaigns.schedule import drop_leftovers, finish, reopen
from mailer.db import Database

logger = logging.getLogger(__name__)


def clean(database: Database) -> None:
    """One round. Each step is a transaction of its own, safe beside any other janitor's."""
    with database.begin() as connection:
        hints = deliveries.free_lost_hints(connection)
    with database.begin() as connection:
        claims = deliveries.free_silent_workers(connection, liveness.SILENCE)
        if liveness.forget_silent(connection):
            deliveries.hurry(connection, deliveries.HURRY)  # hints in its hands died with it
    if hints or claims:
        logger.warning("freed %d lost hints and %d claims of silent workers", hints, claims)
    reopen(database)
    drop_leftovers(database)
    finish(database)
    with database.begin() as connection:
        deliveries.fold_counts(connection)
