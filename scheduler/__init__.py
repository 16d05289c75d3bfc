"""Beat and what it ticks: the feeder, due campaigns, the janitor."""

from scheduler.app import app

__all__ = ["app"]
