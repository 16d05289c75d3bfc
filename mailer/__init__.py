"""Distributed, queue-backed bulk and scheduled mail, exact about who got what.

    from mailer import Attachment, Mailer, Message

The names below are what programs use; everything else may change.
"""

from mailer.campaigns import Campaign, ImportReport, Progress
from mailer.client import Mailer
from mailer.deliveries import Delivery
from mailer.errors import (
    ConflictError,
    InputError,
    MailerError,
    MessageError,
    NotFoundError,
    RecipientsError,
    SettingsError,
    TemplateError,
    UnavailableError,
    WaitTimeoutError,
)
from mailer.message import Attachment, Message
from mailer.settings import Settings

__all__ = [
    "Attachment",
    "Campaign",
    "ConflictError",
    "Delivery",
    "ImportReport",
    "InputError",
    "Mailer",
    "MailerError",
    "Message",
    "MessageError",
    "NotFoundError",
    "Progress",
    "RecipientsError",
    "Settings",
    "SettingsError",
    "TemplateError",
    "UnavailableError",
    "WaitTimeoutError",
]
