"""The message and its attachments, checked when they are made."""

from mailer.message.attachment import Attachment, digest_of
from mailer.message.model import Message, Priority

__all__ = ["Attachment", "Message", "Priority", "digest_of"]
