import io
import os
import signal
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.client import Mailer
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.demo import run_demo
from mailer.embedded.process import Child
from mailer.embedded.stack import Stack, run_up
from mailer.errors import SettingsError, UnavailableError
from mailer.message import Message
from mailer.settings import Settings
from tests.integration.embedded.test_guard import until_gone


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory without any settings."""
    for name in [name for name in os.environ if name.startswith("MAILER_")]:
        monkeypatch.delenv(name)
    with temporary_folder() as folder:
        monkeypatch.chdir(folder)
        yield folder


def test_the_demo_delivers_every_valid_recipient_once(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal: it does not stay
    assert run_demo() == 0
    out = capsys.readouterr().out
    assert "received by the catcher │      998" in out
    assert "http://127.0.0.1:" in out
    assert not (here / ".mailer" / "up.toml").exists()
    assert until_gone("mailer.embedded.catcher")


def test_commands_in_the_same_folder_use_the_running_stack_until_a_signal_ends_it(
    here: Path,
) -> None:
    found: dict[str, str] = {}

    def send_and_stop() -> None:
        up = here / ".mailer" / "up.toml"
        while not up.is_file():
            time.sleep(0.1)
        found.update(tomllib.loads(up.read_text()))
        with Mailer(Settings.load({})) as mailer:
            message = Message("a@example.com", subject="Hi", text="Hello")
            found["state"] = mailer.send(message, "b@example.net").state
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send_and_stop)
    thread.start()
    assert run_up() == 0
    thread.join()
    assert found["inbox_url"].startswith("http://127.0.0.1:")
    assert found["state"] in {"queued", "sending", "sent"}
    assert not (here / ".mailer" / "up.toml").exists()
    assert until_gone(str(here))


def test_a_mistake_in_the_settings_is_told_before_anything_starts(here: Path) -> None:
    (here / "mailer.toml").write_text("nonsense = 1\n")
    with pytest.raises(SettingsError, match=r"^nonsense: unknown key$"):
        run_up()
    assert list(here.iterdir()) == [here / "mailer.toml"]


def test_a_part_that_cannot_start_is_told_in_one_line_and_stops_the_rest(here: Path) -> None:
    (here / "workers.py").write_text("raise SystemExit('no luck')\n")  # found before the real one
    with pytest.raises(UnavailableError, match=r"^the worker did not start: no luck$"):
        Stack(here / "data", durable=False).__enter__()
    assert until_gone(str(here))


def test_a_part_that_ends_by_itself_is_told() -> None:
    stack = Stack(Path())
    stack.check()
    with Child("worker", ["sh", "-c", "echo no luck; exit 3"]) as child:
        stack._children.append(child)
        with pytest.raises(UnavailableError, match=r"^worker ended by itself: no luck$"):
            stack.wait()
