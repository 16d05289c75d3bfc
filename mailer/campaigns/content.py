"""Messages and attachments as the ledger keeps them: each distinct one once, by its digest."""

from collections.abc import Iterable

import sqlalchemy as sa

from mailer.message import Message
from mailer.schema import contents, messages


def load_message(connection: sa.Connection, digest: bytes) -> Message:
    """The message with all its shared attachments."""
    document = connection.execute(
        sa.select(messages.c.document).where(messages.c.digest == digest)
    ).scalar_one()

    def content(name: str) -> bytes:
        return load_contents(connection, [name])[name]

    return Message.load(document, content)


def load_contents(connection: sa.Connection, digests: Iterable[str]) -> dict[str, bytes]:
    """Attachments by digest."""
    query = sa.select(contents).where(contents.c.digest.in_(set(digests)))
    return {row.digest: bytes(row.bytes) for row in connection.execute(query)}
