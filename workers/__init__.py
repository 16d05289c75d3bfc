"""Celery workers: they take hints in batches, claim, render, send and record."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """The application, made when Celery asks for it: importing a module needs no settings."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = app = import_module("workers.app").app
    return app
