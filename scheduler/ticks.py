"""A beat scheduler that runs our ticks in threads of its own process."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.beat import Scheduler

from mailer.broker import Publisher
from mailer.db import Database
from mailer.errors import MailerError
from mailer.limits import Limiter
from mailer.settings import Settings
from scheduler.due import start_due
from scheduler.feeder import Feeder
from scheduler.janitor import clean

logger = logging.getLogger(__name__)
STOPPING = 10.0  # seconds that the ticks under way get at the end


class Ticker(threading.Thread):
    """Runs one function each time it is woken; a tick that is late is not made up for."""

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._function = function
        self._wake = threading.Event()
        self._ended = False
        self._failing: str | None = None

    def wake(self) -> None:
        """Run as soon as the tick before is over."""
        self._wake.set()

    def end(self) -> None:
        """Run no more after the tick under way."""
        self._ended = True
        self._wake.set()

    def run(self) -> None:
        """Wait and run until ``end``."""
        while self._wake.wait() and not self._ended:
            self._wake.clear()
            self._tick()

    def _tick(self) -> None:
        """One line when an outage begins and one when it is over, however long it lasts."""
        try:
            self._function()
        except MailerError as error:
            if self._failing is None:
                logger.warning("%s waits: %s", self.name, error)
            self._failing = str(error)
        except Exception:
            logger.exception("%s failed; it goes on with its next tick", self.name)
        else:
            if self._failing is not None:
                logger.warning("%s goes on", self.name)
            self._failing = None


class TickScheduler(Scheduler):  # type: ignore[misc]
    """Celery's beat, with entries named ``scheduler.*`` run here. Others are sent as usual."""

    def __init__(self, app: Any, *args: Any, **options: Any) -> None:
        self._tickers: dict[str, Ticker] = {}
        super().__init__(app, *args, **options)

    def setup_schedule(self) -> None:
        """Called once by beat, before its first tick."""
        settings = Settings.load()
        self._database = Database(settings.database)
        feeder = Feeder(settings, self._database, Publisher(self.app), Limiter(settings))
        for name, function in {
            "scheduler.feed": feeder.feed,
            "scheduler.start_due": lambda: start_due(self._database),
            "scheduler.clean": lambda: clean(self._database),
        }.items():
            self._tickers[name] = Ticker(name, function)
            self._tickers[name].start()
        self.merge_inplace(self.app.conf.beat_schedule)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Called by beat when an entry is due."""
        ticker = self._tickers.get(entry.task)
        if ticker is None:
            super().apply_entry(entry, producer)
        else:
            ticker.wake()

    def close(self) -> None:
        """Let the ticks under way come to their end."""
        for ticker in self._tickers.values():
            ticker.end()
        for ticker in self._tickers.values():
            ticker.join(STOPPING)
        self._database.close()
        super().close()
