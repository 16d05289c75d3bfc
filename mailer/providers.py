"""Providers (accounts that mail is handed to) and destinations (where it goes), by name."""

from collections.abc import Sequence

from mailer.errors import NotFoundError
from mailer.settings import ProviderSettings, Settings
from mailer.smtp import Server


def server(provider: ProviderSettings) -> Server:
    """What the SMTP engine needs to know of a provider."""
    return Server(
        host=provider.host,
        port=provider.port,
        tls=provider.tls,
        username=provider.username,
        password=provider.password.get_secret_value() if provider.password else None,
        ca_file=str(provider.ca_file) if provider.ca_file else None,
    )


def choose(settings: Settings, wanted: str | Sequence[str] | None) -> list[str]:
    """The providers of a campaign in order of preference; the first configured when not named.

    Raises:
        NotFoundError: there is none of that name, or none at all.
    """
    known = list(settings.providers)
    if not known:
        raise NotFoundError("providers: none is configured; add [providers.NAME] to mailer.toml")
    names = [wanted] if isinstance(wanted, str) else list(wanted or known[:1])
    for name in names:
        if name not in settings.providers:
            raise NotFoundError(f"provider: there is no {name!r}; configured: {', '.join(known)}")
    return names


class Destinations:
    """Which destination a recipient's domain belongs to."""

    def __init__(self, settings: Settings) -> None:
        self._of = {
            domain: name
            for name, destination in settings.destinations.items()
            for domain in destination.domains
        }

    def of(self, domain: str) -> str | None:
        """The destination's name, or None where no limits are configured for the domain."""
        return self._of.get(domain)
