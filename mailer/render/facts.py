"""What differs from one recipient's message to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mailer.errors import MessageError
from mailer.message.addresses import Mailbox
from mailer.tokens import Tokens

TOKEN = "{{ token }}"  # noqa: S105 - a mark in a template


@dataclass(slots=True)
class Facts:
    """One recipient of one message."""

    values: Mapping[str, object]
    email: str
    delivery_id: str
    message_id: str
    date: datetime
    to: tuple[Mailbox, ...]
    tokens: Tokens | None
    links: tuple[str, ...]

    def signed(self, field: str, template: str, purpose: str) -> str:
        """Fill in the token of a template that asks for one."""
        return signed(field, template, purpose, self.tokens, self.delivery_id)


def signed(field: str, template: str, purpose: str, tokens: Tokens | None, delivery_id: str) -> str:
    if TOKEN not in template:
        return template
    if tokens is None:
        raise MessageError(field, "{{ token }} needs a token key in the settings")
    return template.replace(TOKEN, tokens.make(purpose, delivery_id))
