"""The workers with batches that send nothing: ``celery -A tests.bench.idle worker``."""

from collections.abc import Sequence

from workers import batching
from workers.app import app
from workers.deliver import Fate, Report

__all__ = ["app"]


def run_batch(provider: str, hints: Sequence[tuple[str, str]]) -> list[Report]:
    """Say that all were sent."""
    return [Report(id_, Fate.SENT, "250") for id_, _ in hints]


batching.run_batch = run_batch
