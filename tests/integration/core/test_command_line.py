"""The command line: what it prints, and that every mistake is one line and exit code 2."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailer import Mailer, Settings
from mailer.cli import main
from mailer.embedded.catcher import Catcher


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(
    database_url: str,
    broker_url: str,
    catcher: Catcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs one command in a folder with settings, recipients and a text."""
    monkeypatch.chdir(tmp_path)
    for name in ("MAILER_CONFIG", "MAILER_REDIS_URL", "MAILER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAILER_DATABASE_URL", database_url)
    monkeypatch.setenv("MAILER_BROKER_URL", broker_url)
    Path("mailer.toml").write_text(
        f'[providers.main]\nhost = "127.0.0.1"\nport = {catcher.port}\ntls = "none"\n'
    )
    Path("people.csv").write_text("email,name\na@example.com,Ann\nbad,Bob\nA@example.com,Cy\n")
    Path("text.txt").write_text("Dear {{ name }}")

    def command(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["mailer", *arguments])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return command


CREATE = ("campaign", "create", "--name", "n", "--sender", "a@example.com", "--subject", "s")
FROM_FILES = ("--text", "text.txt", "--recipients", "people.csv")


def created(run: Run, *more: str) -> str:
    ran = run(*CREATE, *FROM_FILES, *more)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def refused(ran: Ran) -> str:
    """One line, exit code 2, and nothing on standard output."""
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("mailer: ")
    return ran.err


def test_create_prints_the_id_and_reports_the_rows_left_out(run: Run) -> None:
    ran = run(*CREATE, *FROM_FILES)
    assert "1 accepted, 1 duplicate, 1 invalid" in ran.err
    assert "line 3: bad:" in ran.err
    assert "line 4: A@example.com: same address as line 2" in ran.err
    shown = json.loads(run("campaign", "show", ran.out.strip(), "--json").out)
    assert (shown["state"], shown["total"], shown["pending"]) == ("draft", 1, 1)
    assert shown["import"]["invalid"][0]["line"] == 3


def test_a_campaign_goes_through_its_states(run: Run) -> None:
    id_ = created(run, "--start")
    for command, state in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]:
        assert run("campaign", command, id_).code == 0
        assert json.loads(run("campaign", "show", id_, "--json").out)["state"] == state
    assert "1 deliveries are due again" in run("campaign", "retry", id_, "--state", "cancelled").out
    assert f"{id_}  n" in run("campaign", "list").out
    assert json.loads(run("campaign", "list", "--json").out)[0]["state"] == "running"
    assert "pending  1" in run("campaign", "show", id_).out


def test_deliveries_are_printed_as_csv_and_json(run: Run) -> None:
    id_ = created(run)
    (row,) = csv.DictReader(io.StringIO(run("campaign", "deliveries", id_).out))
    (same,) = json.loads(run("campaign", "deliveries", id_, "--format", "json").out)
    assert row["email"] == same["email"] == "a@example.com"
    assert (
        json.loads(run("campaign", "deliveries", id_, "--state", "sent", "--format", "json").out)
        == []
    )


def test_preview_prints_the_message(run: Run) -> None:
    ran = run("campaign", "preview", created(run), "--to", "a@example.com")
    assert "Dear Ann" in ran.out


def test_the_same_key_makes_no_second_campaign(run: Run) -> None:
    assert created(run, "--key", "k") == created(run, "--key", "k")
    Path("text.txt").write_text("Something else")
    assert "already used" in refused(run(*CREATE, *FROM_FILES, "--key", "k"))


def test_check_warns_and_lets_it_start(run: Run) -> None:
    ran = run("campaign", "check", created(run))
    assert ran.code == 0
    assert "warning: list_unsubscribe" in ran.out


def test_send_prints_the_deliverys_id(run: Run, settings: Settings) -> None:
    ran = run("send", "--sender", "a@example.com", "--subject", "s", "--text", "text.txt",
              "--to", "ann@example.net", "--var", "name=Ann")  # fmt: skip
    assert ran.code == 0, ran.err
    with Mailer(settings) as mailer:
        assert mailer.delivery(ran.out.strip()).email == "ann@example.net"


def test_suppressions_are_added_listed_imported_and_removed(run: Run) -> None:
    assert run("suppress", "add", "A@example.com", "b@example.com").out == "2 added\n"
    assert run("suppress", "import", "people.csv").out == "0 added, 1 rows not usable\n"
    assert "a@example.com\tadded by hand\t" in run("suppress", "list").out
    assert run("suppress", "remove", "a@example.com").out == "removed\n"
    assert run("suppress", "remove", "a@example.com").out == "was not on the list\n"
    refused(run("suppress", "add", "no-address"))


def test_providers_are_listed_and_tested(run: Run, catcher: Catcher) -> None:
    assert f"127.0.0.1:{catcher.port}" in run("provider", "list").out
    assert "microsoft-365" in run("provider", "presets").out
    assert "PIPELINING" in run("provider", "test", "main").out
    refused(run("provider", "test", "nobody"))


def test_a_provider_that_does_not_answer_is_one_line(run: Run) -> None:
    Path("mailer.toml").write_text('[providers.main]\nhost = "127.0.0.1"\nport = 1\ntls = "none"\n')
    assert "provider main" in refused(run("provider", "test", "main"))


def test_doctor_tells_what_is_missing(run: Run) -> None:
    ran = run("doctor")
    assert ran.code == 1
    assert "ok  database" in ran.out
    assert "FAIL  workers" in ran.out


def test_migrate_says_that_it_is_done(run: Run) -> None:
    assert run("migrate").out == "the ledger is up to date\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "missing.csv"),
        ("empty.csv", b"", "empty"),
        ("header.csv", b"email,name\n", "recipient"),
        ("column.csv", b"name,city\nAnn,Paris\n", "email"),
        ("binary.csv", b"\x00\x01\x02\xff" * 200, "binary.csv"),
        ("invalid.csv", b"email,name\nnobody,Ann\n", "no usable recipient"),
        ("lacking.csv", b"email,name\na@example.com,\n", "variable 'name': 1"),
    ],
)
def test_recipients_that_cannot_be_used_store_nothing(
    run: Run, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    text = ("--text", "text.txt", "--recipients", name)
    assert says in refused(run(*CREATE, *text))
    assert json.loads(run("campaign", "list", "--json").out) == []


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ name", "text"),
        (
            "{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}",
            "",
        ),
    ],
)
def test_templates_that_cannot_be_used_store_nothing(run: Run, template: str, says: str) -> None:
    Path("text.txt").write_text(template)
    assert says in refused(run(*CREATE, *FROM_FILES))
    assert json.loads(run("campaign", "list", "--json").out) == []


@pytest.mark.parametrize(
    "more",
    [
        ("--provider", "nobody"),
        ("--send-at", "tomorrow"),
        ("--send-at", "2026-02-30T09:00Z"),
        ("--send-at", "2099-12-01T09:00"),
        ("--send-at", "2099-12-01T09:00Z", "--start"),
        ("--send-at", "2099-12-01T09:00Z", "--expires-at", "2099-11-01T09:00Z"),
        ("--attach", "missing.pdf"),
        ("--priority", "huge"),
        ("--html", "missing.html"),
    ],
)
def test_options_that_cannot_be_used_store_nothing(run: Run, more: tuple[str, ...]) -> None:
    refused(run(*CREATE, *FROM_FILES, *more))
    assert json.loads(run("campaign", "list", "--json").out) == []


def test_a_campaign_starts_only_once(run: Run) -> None:
    id_ = created(run, "--start")
    assert "cannot be started: it is running" in refused(run("campaign", "start", id_))
    assert "no campaign" in refused(run("campaign", "start", "nonsense"))
    refused(run("campaign", "preview", id_, "--to", "stranger@example.com"))
    refused(run("campaign", "deliveries", id_, "--state", "lost"))
    refused(run("campaign", "frobnicate"))
    refused(run("campaign", "create"))


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("MAILER_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x"),
        ("MAILER_BROKER_URL", "redis://:hunter2@127.0.0.1:1/0"),
    ],
)
def test_servers_that_do_not_answer_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    ran = run("send", "--sender", "a@example.com", "--subject", "s", "--text", "text.txt",
              "--to", "ann@example.net", "--var", "name=Ann")  # fmt: skip
    assert "hunter2" not in refused(ran)


def test_a_mistake_in_the_settings_is_one_line(run: Run) -> None:
    Path("mailer.toml").write_text("colour = 1\n")
    assert refused(run("campaign", "list")) == "mailer: colour: unknown key\n"
    assert refused(run("worker")) == "mailer: colour: unknown key\n"
