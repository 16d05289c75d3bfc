"""Settings: ``mailer.toml`` and the environment, validated once, with errors that name the key.

Order: the environment wins over the file; where neither names the servers, the stack that
``mailer up`` is running in this folder (``.mailer/up.toml``) is used. Any value of the file may be
written ``env:NAME`` or ``file:PATH``, so that no secret needs to stand in it.
"""

import functools
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self
from urllib.parse import urlsplit

import idna
import sqlalchemy as sa
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from mailer.errors import MailerError, SettingsError

RUNNING_STACK = Path(".mailer/up.toml")
_ENVIRONMENT = {
    "MAILER_DATABASE_URL": "database_url",
    "MAILER_BROKER_URL": "broker_url",
    "MAILER_REDIS_URL": "redis_url",
    "MAILER_STATE_DIR": "state_dir",
    "MAILER_STOCK_TRANSPORT": "stock_transport",
}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400}
_LIMIT = re.compile(r"(?:(recipients|messages):)?\s*(\d+)\s*/\s*(\d*)\s*(s|min|h|day)")


class Limit(BaseModel):
    """At most ``count`` units in every ``seconds`` seconds, written ``14/s`` or ``5000/180s``."""

    model_config = ConfigDict(frozen=True)
    count: int = Field(gt=0)
    seconds: int = Field(gt=0)
    unit: Literal["messages", "recipients"] = "messages"

    @classmethod
    def parse(cls, text: object) -> "Limit":
        """``14/s``, ``1000/min``, ``5000/180s``; ``recipients:`` in front counts recipients."""
        match = _LIMIT.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None or not int(match[2]) or match[3] == "0":
            raise ValueError(f"{text!r} is not a limit: write 14/s, 1000/min, 500/h or 50000/day")
        return cls(
            count=int(match[2]),
            seconds=int(match[3] or 1) * _SECONDS[match[4]],
            unit="recipients" if match[1] == "recipients" else "messages",
        )

    def __str__(self) -> str:
        name = next((n for n, s in _SECONDS.items() if s == self.seconds), f"{self.seconds}s")
        return f"{'recipients:' if self.unit == 'recipients' else ''}{self.count}/{name}"


Limits = Annotated[
    tuple[Annotated[Limit, BeforeValidator(Limit.parse)], ...], Field(default_factory=tuple)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Preset(_Section):
    """What ``mailer/presets.toml`` knows of a provider beside the settings it stands for."""

    title: str
    confidence: Literal["high", "medium", "low"]
    source: str
    needs: str | None = None
    values: dict[str, Any]


@functools.cache
def presets() -> dict[str, Preset]:
    """The presets by name."""
    text = (Path(__file__).parent / "presets.toml").read_text(encoding="utf-8")
    about = ("title", "confidence", "source", "needs")
    return {
        name: Preset(
            **{key: table.pop(key) for key in about if key in table},
            values=table,
        )
        for name, table in tomllib.loads(text).items()
    }


class ProviderSettings(_Section):
    """``[providers.NAME]``: an SMTP account that mail is handed to, and what it allows."""

    preset: str | None = None
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    limits: Limits
    connections: int = Field(default=10, ge=1, le=1000)
    messages_per_connection: int = Field(default=100, ge=1)
    max_size: int | None = Field(default=None, ge=1, description="octets of a whole message")
    ca_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        """A preset's values stand where the user's do not."""
        name = values.get("preset") if isinstance(values, dict) else None
        if name is None:
            return values
        if name not in presets():
            raise ValueError(f"there is no preset {name!r}; see `mailer provider presets`")
        preset = presets()[name]
        if preset.needs and "host" not in values:
            raise ValueError(f"preset {name} needs {preset.needs}")
        return preset.values | values

    @model_validator(mode="after")
    def _credentials_need_tls(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is not None and self.tls == "none":
            raise ValueError(
                "a password never goes over plain text: set tls to starttls or implicit"
            )
        return self


def _a_label(domain: str) -> str:
    """As recipients' domains stand in the ledger."""
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(f"{domain!r} is not a domain") from None


class DestinationSettings(_Section):
    """``[destinations.NAME]``: a mailbox provider, known by its domains, and what it takes."""

    domains: tuple[Annotated[str, AfterValidator(_a_label)], ...] = Field(min_length=1)
    limits: Limits
    connections: int | None = Field(default=None, ge=1)


class DkimSettings(_Section):
    """``[[dkim]]``: a key that signs mail from a domain. Several of one domain sign in order."""

    domain: str = Field(min_length=1)
    selector: str = Field(min_length=1)
    key: SecretStr = Field(description="PEM; mostly written file:PATH")


class RetrySettings(_Section):
    """``[retry]``: what becomes of a delivery that the other side asked to try later."""

    first: float = Field(default=60, gt=0, description="seconds to wait after the first attempt")
    longest: float = Field(default=4 * 3600, gt=0, description="no wait is longer, seconds")
    attempts: int = Field(default=15, ge=1, description="then the delivery fails")
    give_up_after: float = Field(
        default=4 * 86400, gt=0, description="seconds from the first attempt; RFC 5321 4.5.4.1"
    )


_MALFORMED = "is not a well-formed URL; special characters in a password are written as %XX"


def _database_url(url: str) -> str:
    if not re.match(r"postgres(ql)?(\+psycopg)?://", url):
        raise ValueError("must start with postgresql://")
    url = "postgresql://" + url.split("://", 1)[1]
    try:
        make_conninfo(**{str(k): str(v) for k, v in sa.make_url(url).query.items()})
    except (ValueError, TypeError, sa.exc.ArgumentError, ProgrammingError):
        raise ValueError(_MALFORMED) from None
    return url


def _broker_url(url: str) -> str:
    return _checked(url, "redis", "rediss", "sentinel", "amqp", "amqps")


def _redis_url(url: str) -> str:
    return _checked(url, "redis", "rediss", "unix")


def _checked(urls: str, *schemes: str) -> str:
    """One URL, or several with semicolons between them: the brokers of one cluster."""
    for url in urls.split(";"):
        if url.split("://", 1)[0] not in schemes or "://" not in url:
            raise ValueError(f"must start with {', '.join(f'{s}://' for s in schemes)}")
        try:
            _ = urlsplit(url).port
        except ValueError:
            raise ValueError(_MALFORMED) from None
    return urls


class Settings(_Section):
    """Everything that an installation decides. URLs may hold passwords: they are never printed."""

    database_url: Annotated[str, AfterValidator(_database_url)] | None = Field(None, repr=False)
    broker_url: Annotated[str, AfterValidator(_broker_url)] | None = Field(None, repr=False)
    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(None, repr=False)
    stock_transport: bool = Field(
        False, description="workers receive by Kombu's own Redis transport, ours switched off"
    )
    state_dir: Path = Path(".mailer/state")
    attachments_dir: Path | None = None
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    destinations: dict[str, DestinationSettings] = Field(default_factory=dict)
    dkim: tuple[DkimSettings, ...] = ()
    token_key: SecretStr | None = Field(
        default=None, min_length=16, description="signs unsubscribe links and bounce addresses"
    )
    retry: RetrySettings = Field(default_factory=RetrySettings)

    @model_validator(mode="after")
    def _domains_belong_to_one_destination(self) -> Self:
        owners: dict[str, str] = {}
        for name, destination in self.destinations.items():
            for domain in destination.domains:
                other = owners.setdefault(domain, name)
                if other != name:
                    raise ValueError(f"destinations {other} and {name} both claim {domain}")
        return self

    @property
    def database(self) -> str:
        """The ledger's URL, ``postgresql://…``."""
        return self.database_url or _missing("database_url", "MAILER_DATABASE_URL")

    @property
    def broker(self) -> str:
        """The Celery broker's URL."""
        return self.broker_url or _missing("broker_url", "MAILER_BROKER_URL")

    @property
    def redis(self) -> str:
        """The limiter's Redis: its own URL, else the broker when that is a Redis."""
        if self.redis_url:
            return self.redis_url
        if not self.broker.startswith(("redis://", "rediss://")):
            _missing("redis_url", "MAILER_REDIS_URL")
        return self.broker

    def check_servers(self) -> None:
        """Raises SettingsError unless database, broker and the limiter's Redis are named."""
        _ = self.database, self.broker, self.redis

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read file and environment.

        Raises:
            SettingsError: an unknown key, a value that does not fit, a secret that is not there.
        """
        environment = os.environ if environment is None else environment
        values = _read_file(environment)
        for variable, key in _ENVIRONMENT.items():
            if environment.get(variable):
                values[key] = environment[variable]
        return cls.parse(values, environment)

    @classmethod
    def parse(cls, values: Mapping[str, Any], environment: Mapping[str, str]) -> "Settings":
        """Validate plain values, as a TOML file holds them."""
        try:
            return cls.model_validate(_resolve(values, "", environment))
        except ValidationError as error:
            raise _first_problem(error) from None


def load_or_exit() -> Settings:
    """Settings for a program's start: a problem is one line on standard error and exit code 2."""
    try:
        settings = Settings.load()
        settings.check_servers()
        return settings
    except MailerError as error:
        sys.stderr.write(f"mailer: {error}\n")
        raise SystemExit(2) from None


def _read_file(environment: Mapping[str, str]) -> dict[str, Any]:
    named = environment.get("MAILER_CONFIG")
    path = Path(named or "mailer.toml")
    values: dict[str, Any] = {}
    if RUNNING_STACK.is_file() and "MAILER_DATABASE_URL" not in environment:
        stack = _read_toml(RUNNING_STACK, "")
        values = {k: stack[k] for k in _ENVIRONMENT.values() if k in stack}
        if not named and not path.is_file():
            path = Path(stack.get("config", path))
    if named or path.is_file():
        values |= _read_toml(path, "MAILER_CONFIG" if named else "mailer.toml")
    return values


def _read_toml(path: Path, key: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(key or str(path), f"cannot read {path}: {reason}") from None


def _resolve(value: Any, key: str, environment: Mapping[str, str]) -> Any:
    """Replace every ``env:NAME`` and ``file:PATH`` by what it stands for."""
    if isinstance(value, Mapping):
        return {k: _resolve(v, f"{key}.{k}" if key else k, environment) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, f"{key}.{place}", environment) for place, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        if not environment.get(value[4:]):
            raise SettingsError(key, f"the environment has no {value[4:]}")
        return environment[value[4:]]
    if value.startswith("file:"):
        try:
            return Path(value[5:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(key, f"cannot read the file {value[5:]}") from None
    return value


def _first_problem(error: ValidationError) -> SettingsError:
    first = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return SettingsError(key, "unknown key")
    return SettingsError(key, first["msg"].removeprefix("Value error, "))


def _missing(key: str, variable: str) -> NoReturn:
    raise SettingsError(
        key, f"not set: set {variable}, put {key} into mailer.toml, or run `mailer up` here"
    )
