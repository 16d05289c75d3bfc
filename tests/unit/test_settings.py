import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailer import Settings, SettingsError
from mailer.settings import Limit

SECRET = "hunter2-secret"
FULL = f"""
database_url = "postgresql://u:{SECRET}@127.0.0.1/db"
broker_url = "amqp://u:{SECRET}@127.0.0.1//"
redis_url = "rediss://:{SECRET}@127.0.0.1/0"
state_dir = "state"
attachments_dir = "files"
token_key = "env:TOKEN"

[providers.main]
host = "smtp.example"
port = 465
tls = "implicit"
username = "u"
password = "env:SMTP_PASSWORD"
limits = ["14/s", "50000/day", "recipients:5000/180s"]
connections = 3
messages_per_connection = 7

[destinations.google]
domains = ["gmail.com", "Bücher.example"]
limits = ["20/s"]
connections = 5

[retry]
first = 1
longest = 2
attempts = 3
give_up_after = 4
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, **environment: str) -> Settings:
    Path("mailer.toml").write_text(text, encoding="utf-8")
    return Settings.load(environment)


def problem(text: str, **environment: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(text, **environment)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    return caught.value


def test_every_key_of_the_file_arrives() -> None:
    settings = load(FULL, SMTP_PASSWORD=SECRET, TOKEN=SECRET * 2)
    provider, google = settings.providers["main"], settings.destinations["google"]
    assert settings.database.startswith("postgresql://u:")
    assert settings.broker.startswith("amqp://")
    assert settings.redis.startswith("rediss://")
    assert (str(settings.state_dir), str(settings.attachments_dir)) == ("state", "files")
    assert (provider.host, provider.port, provider.tls) == ("smtp.example", 465, "implicit")
    assert provider.password
    assert provider.password.get_secret_value() == SECRET
    assert (provider.connections, provider.messages_per_connection) == (3, 7)
    assert [str(limit) for limit in provider.limits] == [
        "14/s",
        "50000/day",
        "recipients:5000/180s",
    ]
    assert google.domains == ("gmail.com", "xn--bcher-kva.example")
    assert (google.limits, google.connections) == ((Limit(count=20, seconds=1),), 5)
    assert settings.retry.model_dump() == {
        "first": 1,
        "longest": 2,
        "attempts": 3,
        "give_up_after": 4,
    }


def test_no_secret_shows_in_the_repr_of_settings() -> None:
    settings = load(FULL, SMTP_PASSWORD=SECRET, TOKEN=SECRET * 2)
    assert SECRET not in repr(settings) + str(settings)


def test_the_environment_wins_over_the_file() -> None:
    settings = load(
        FULL,
        SMTP_PASSWORD=SECRET,
        TOKEN=SECRET * 2,
        MAILER_DATABASE_URL="postgres://other/db",
        MAILER_BROKER_URL="redis://other",
        MAILER_REDIS_URL="redis://third",
        MAILER_STATE_DIR="/elsewhere",
    )
    assert settings.database == "postgresql://other/db"
    assert (settings.broker, settings.redis) == ("redis://other", "redis://third")
    assert settings.state_dir == Path("/elsewhere")


def test_a_value_may_stand_in_the_environment_or_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://h/from-file\n")
    settings = load(f'database_url = "file:{secret}"\nbroker_url = "env:B"', B="redis://h")
    assert settings.database.endswith("/from-file")
    assert settings.broker == "redis://h"
    limits = load('[providers.p]\nhost = "h"\nlimits = ["env:L"]', L="3/s").providers["p"].limits
    assert limits == (Limit(count=3, seconds=1),)


def test_the_file_may_be_named(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('state_dir = "here"')
    assert Settings.load({"MAILER_CONFIG": str(other)}).state_dir == Path("here")


def test_a_running_stack_is_used_where_nothing_names_the_servers() -> None:
    Path(".mailer").mkdir()
    Path(".mailer/up.toml").write_text(
        'database_url = "postgresql://h/up"\nbroker_url = "redis://up"'
    )
    assert Settings.load({}).database == "postgresql://h/up"
    assert Settings.load({"MAILER_DATABASE_URL": "postgresql://h/own"}).broker_url is None
    assert load('database_url = "postgresql://h/file"').database == "postgresql://h/file"


def test_the_limiter_uses_the_broker_when_that_is_a_redis() -> None:
    assert load("", MAILER_BROKER_URL="redis://h/3").redis == "redis://h/3"
    for url in ("amqp://h//", "sentinel://h:1"):
        with pytest.raises(SettingsError, match=r"^redis_url: not set"):
            _ = load("", MAILER_BROKER_URL=url).redis


def test_what_is_not_set_is_named_with_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"^database_url: not set: set MAILER_DATABASE_URL"):
        _ = load("").database
    with pytest.raises(SettingsError, match=r"^broker_url: not set: set MAILER_BROKER_URL"):
        _ = load("").broker


P = '[providers.main]\nhost = "h"\n'
BAD = {
    "databse_url = 'x'": "databse_url",
    "[provider.main]\nhost = 'h'": "provider",
    P + "hots = 'x'": "providers.main.hots",
    P + "port = 0": "providers.main.port",
    P + "port = 70000": "providers.main.port",
    P + "port = 'x'": "providers.main.port",
    P + "tls = 'maybe'": "providers.main.tls",
    P + "limits = ['14/fortnight']": "providers.main.limits.0",
    P + "limits = ['0/s']": "providers.main.limits.0",
    P + "limits = ['1/0s']": "providers.main.limits.0",
    P + "limits = [14]": "providers.main.limits.0",
    P + "connections = 0": "providers.main.connections",
    P + "messages_per_connection = 0": "providers.main.messages_per_connection",
    P + "username = 'u'": "providers.main",
    P + f"password = '{SECRET}'": "providers.main",
    P + f"username = 'u'\npassword = '{SECRET}'\ntls = 'none'": "providers.main",
    P + "preset = 'nobody'": "providers.main",
    P + "password = 'env:NOT_THERE'": "providers.main.password",
    P + "username = 'u'\npassword = 'env:EMPTY'": "providers.main.password",
    P + "password = 'file:/not/there'": "providers.main.password",
    "[providers.main]\nport = 25": "providers.main.host",
    "providers = 3": "providers",
    "[destinations.x]\ndomains = []": "destinations.x.domains",
    "[destinations.x]\ndomains = ['a b']": "destinations.x.domains.0",
    "[destinations.x]\ndomains = ['g.example']\n[destinations.y]\ndomains = ['G.example']": (
        "settings"
    ),
    "[retry]\nattempts = 0": "retry.attempts",
    "[retry]\nfirst = -1": "retry.first",
    "token_key = 'short'": "token_key",
    f"database_url = 'mysql://u:{SECRET}@h/db'": "database_url",
    f"database_url = 'postgresql://u:{SECRET}@h:port/db'": "database_url",
    f"database_url = 'postgresql://u:{SECRET}@h/db?foo=bar'": "database_url",
    f"broker_url = 'http://u:{SECRET}@h'": "broker_url",
    f"broker_url = 'redis://:a/{SECRET}@h'": "broker_url",
    "redis_url = 'sentinel://h:1'": "redis_url",
    "this is no toml": "mailer.toml",
}


@pytest.mark.parametrize("text", BAD)
def test_a_problem_is_one_line_that_names_the_key(text: str) -> None:
    error = problem(text, EMPTY="")
    assert error.key == BAD[text]
    assert str(error).startswith(f"{error.key}: ")


def test_a_named_file_that_is_not_there_is_a_problem_of_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"^MAILER_CONFIG: cannot read /not/there"):
        Settings.load({"MAILER_CONFIG": "/not/there"})
    with pytest.raises(SettingsError, match=r"^MAILER_CONFIG: cannot read /: "):
        Settings.load({"MAILER_CONFIG": "/"})


@pytest.mark.parametrize("url", ["postgresql:///db?host=/run/pg", "postgresql+psycopg://h/db"])
def test_the_usual_ways_to_name_a_database_are_taken(url: str) -> None:
    assert load("", MAILER_DATABASE_URL=url).database.startswith("postgresql://")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("14/s", (14, 1, "messages")),
        (" messages: 3 / min ", (3, 60, "messages")),
        ("recipients:500/h", (500, 3600, "recipients")),
        ("5000/180s", (5000, 180, "messages")),
        ("2/2day", (2, 172800, "messages")),
    ],
)
def test_a_limit_is_read(text: str, values: tuple[Any, ...]) -> None:
    limit = Limit.parse(text)
    assert (limit.count, limit.seconds, limit.unit) == values
    assert Limit.parse(str(limit)) == limit


@pytest.mark.parametrize("package", ["workers", "scheduler"])
def test_a_program_without_its_servers_ends_with_2_and_one_line(package: str) -> None:
    code = f"import sys, os; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            code + f"os.environ.pop('MAILER_BROKER_URL', 0); from {package} import app",
        ],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "MAILER_DATABASE_URL": f"postgresql://u:{SECRET}@h/d"},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("mailer: broker_url: not set")
    assert ended.stderr.count("\n") == 1
