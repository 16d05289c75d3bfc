"""The last step of a message: rendered for one recipient, with the installation's own tokens and
DKIM signatures.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mailer.dkim import Key, Signer
from mailer.errors import SettingsError
from mailer.message import Message
from mailer.render import Compiled, Mail
from mailer.render.facts import TOKEN
from mailer.settings import Settings
from mailer.tokens import Tokens


class Press:
    """Makes final messages. Thread-safe; signing lets go of the GIL for 0.3 ms a message."""

    def __init__(self, settings: Settings) -> None:
        key = settings.token_key
        self._tokens = Tokens(key.get_secret_value()) if key else None
        keys = [Key(k.domain, k.selector, k.key.get_secret_value()) for k in settings.dkim]
        self._signers = {
            domain: Signer([key for key in keys if key.domain == domain])
            for domain in {key.domain for key in keys}
        }

    @property
    def signs_for(self) -> frozenset[str]:
        """The domains that have a DKIM key here."""
        return frozenset(self._signers)

    def check(self, message: Message) -> None:
        """Raises SettingsError when the message names tokens and there is no key for them."""
        places = (message.envelope_sender or "", *message.list_unsubscribe)
        if self._tokens is None and any(TOKEN in place for place in places):
            raise SettingsError(
                "token_key", "not set, and the message has a {{ token }} in its links or envelope"
            )

    def mail(
        self,
        compiled: Compiled,
        variables: dict[str, Any],
        *,
        email: str,
        delivery: UUID,
        message_id: str,
        files: Sequence[tuple[str, str, str]] = (),
        contents: Callable[[str], bytes],
    ) -> Mail:
        """One recipient's message.

        Args:
            files: his own attachments as (digest, name, type), their bytes by ``contents``.

        Raises:
            InputError: his values make no message.
        """
        signer = self._signer(compiled.message.from_mailbox.domain)
        return compiled.render(
            variables,
            email=email,
            delivery_id=str(delivery),
            message_id=message_id,
            date=datetime.now(UTC),
            personal=files,
            contents=contents,
            tokens=self._tokens,
            sign=signer.sign if signer else None,
        )

    def _signer(self, domain: str) -> Signer | None:
        """The sender's domain's own key, or that of a domain above it (relaxed alignment)."""
        while domain:
            if domain in self._signers:
                return self._signers[domain]
            domain = domain.partition(".")[2]
        return None
