"""Campaigns whose time has come."""

from mailer.campaigns.schedule import start_scheduled
from mailer.db import Database


def start_due(database: Database) -> None:
    """Start what is due. Any number of schedulers may call this at once."""
    start_scheduled(database)
