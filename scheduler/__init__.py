"""Beat and what it ticks: the feeder, due campaigns, the janitor."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """The application, made when Celery asks for it: importing a module needs no settings."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = app = import_module("scheduler.app").app
    return app
