"""``Mailer``: what programs import."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from mailer import deliveries as ledger
from mailer.broker import Hint, Publisher, make_app
from mailer.campaigns import Campaigns
from mailer.campaigns.create import Request, create
from mailer.db import Database
from mailer.deliveries import Delivery
from mailer.errors import NotFoundError, UnavailableError
from mailer.message import Message
from mailer.message.addresses import Mailbox, mailbox, mailboxes
from mailer.press import Press
from mailer.providers import choose
from mailer.recipients import normalise
from mailer.schema import deliveries
from mailer.settings import Settings

# A hint for an urgent message that brought no worker within ten seconds is published again.
URGENT_PATIENCE = 10.0
ENVELOPE = 1000  # copies of one single message at the most


class Mailer:
    """Connections to the ledger and the broker. Made once, used by many threads, closed at last.

    ``settings``: as loaded from ``mailer.toml`` and the environment unless given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        self.database = Database(self.settings.database)
        self.campaigns = Campaigns(self.database, self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
        if "_app" in self.__dict__:
            self._app.close()

    @cached_property
    def _app(self) -> Any:
        return make_app("mailer", self.settings)

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self._app)

    def send(
        self,
        message: Message,
        to: str,
        variables: Mapping[str, Any] | None = None,
        *,
        provider: str | Sequence[str] | None = None,
        on_doubt: str = "resend",
        key: str | None = None,
    ) -> Delivery:
        """Send one urgent message, ahead of bulk. Returns its delivery, which is on its way.

        The message's cc and bcc get a delivery each, so that each one's outcome is known.

        Raises:
            InputError: something cannot be used; nothing was stored.
            UnavailableError: the ledger or the broker does not answer; nothing was stored.
        """
        recipient = mailbox("to", to)
        Press(self.settings).check(message)
        request = Request(
            name=message.subject,
            # Copies for others name the person it is for; alone, To is the envelope's recipient.
            message=replace(message, to=to) if message.cc or message.bcc else message,
            recipients=_envelope(message, recipient, variables or {}),
            providers=choose(self.settings, provider),
            on_doubt=on_doubt,
            key=key,
            single=True,
        )
        self._publisher.check()
        campaign = create(self.database, request, self.settings.attachments_dir)
        self._publish(campaign, request.providers[0])
        return self._delivery(
            deliveries.c.campaign_id == campaign,
            deliveries.c.address == normalise(recipient.address)[1],
        )

    def delivery(self, id_: str | uuid.UUID) -> Delivery:
        """A delivery by its id, as it stands now.

        Raises:
            NotFoundError: there is none.
        """
        try:
            wanted = uuid.UUID(str(id_))
        except ValueError:
            raise NotFoundError(f"there is no delivery {id_}") from None
        return self._delivery(deliveries.c.id == wanted)

    def _delivery(self, *conditions: sa.ColumnElement[bool]) -> Delivery:
        with self.database.begin() as connection:
            found = ledger.find(connection, *conditions)
        if found is None:
            raise NotFoundError("there is no such delivery")
        return found

    def _publish(self, campaign: uuid.UUID, provider: str) -> None:
        with self.database.begin() as connection:
            reserved = ledger.reserve(connection, campaign, ENVELOPE, URGENT_PATIENCE)
        hints = [Hint(row.id, provider, row.domain, row.alone) for row in reserved]
        # When the broker went away since it was checked, the rows are queued in the ledger all
        # the same, and the feeder publishes them once they are overdue: nothing is lost.
        with suppress(UnavailableError):
            self._publisher.publish(hints, urgent=True)


def _envelope(message: Message, to: Mailbox, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each address on the envelope; all get the same variables."""
    copies = [*mailboxes("cc", message.cc), *mailboxes("bcc", message.bcc)]
    return [{**variables, "email": box.address} for box in (to, *copies)]
