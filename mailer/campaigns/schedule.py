"""What happens to campaigns by itself: the start at send_at, the end, the leftovers."""

from mailer import deliveries
from mailer.db import Database, sql
from mailer.schema import CampaignState, State


def start_scheduled(database: Database) -> int:
    """Start the campaigns whose send_at has come. Returns how many this call started."""
    with database.begin() as connection:
        return connection.exec_driver_sql(sql("start_due")).rowcount


def reopen(database: Database) -> int:
    """Let finished campaigns go on that have something waiting after all. Returns how many."""
    with database.begin() as connection:
        return connection.exec_driver_sql(sql("reopen")).rowcount


def finish(database: Database) -> int:
    """End the running campaigns that have nothing waiting. Returns how many."""
    with database.begin() as connection:
        return connection.exec_driver_sql(sql("finish")).rowcount


def drop_leftovers(database: Database) -> None:
    """Cancel or expire what still waits in campaigns that are cancelled or out of time.

    ``Campaign.cancel`` does this at once; here it is made up for when that was cut short, and for
    deliveries that were deferred in the meantime.
    """
    with database.begin() as connection:
        leftovers = connection.exec_driver_sql(sql("leftovers")).all()
    for campaign, state in leftovers:
        cancelled = state == CampaignState.CANCELLED
        with database.begin() as connection:
            deliveries.drop(connection, campaign, State.CANCELLED if cancelled else State.EXPIRED)
