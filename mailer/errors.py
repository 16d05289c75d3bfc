"""Every error that a caller of mailer may see. Each is one clear line, free of secrets."""


class MailerError(Exception):
    """Base of all errors raised on purpose. ``str(error)`` is one line, fit to show to a person."""


class SettingsError(MailerError):
    """A setting is unknown, malformed or missing. Names the key, never a secret value."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class InputError(MailerError):
    """The caller handed in something that cannot be used; nothing was done."""


class RecipientsError(InputError):
    """The recipients as a whole cannot be read: no file, no email column, unknown encoding."""


class MessageError(InputError):
    """A part of the message is unusable. ``field`` names it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class TemplateError(InputError):
    """A template does not parse, runs too long, or names a variable that a recipient lacks."""


class NotFoundError(MailerError):
    """No campaign, delivery or provider goes by that name."""


class ConflictError(MailerError):
    """The request contradicts what the ledger already holds: a wrong state, a key used twice."""


class UnavailableError(MailerError):
    """The database, the broker, the limiter or a provider cannot be reached now."""


class WaitTimeoutError(MailerError, TimeoutError):
    """``wait()`` reached its timeout before the campaign ended."""
