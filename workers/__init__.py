"""Celery workers: they take hints in batches, claim, render, send and record."""

from workers.app import app

__all__ = ["app"]
