"""Nothing is left running: the guard itself, and what it promises to those who use it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.embedded import guard
from mailer.embedded.process import Child, free_port, listens, wait_until
from mailer.errors import UnavailableError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _own_signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(writing)
    yield reading
    os.close(reading)


@pytest.fixture
def open_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(writing)


def run(pipe: int, *command: str, grace: float = 60) -> int:
    return guard.run(pipe, command, stop=signal.SIGTERM, grace=grace)


def is_running(mark: str) -> bool:
    """Whether any process has ``mark`` on its command line."""
    return (
        mark in subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True).stdout
    )


def until_gone(mark: str) -> bool:
    deadline = time.monotonic() + 30
    while is_running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(mark)


def test_the_exit_code_is_the_commands(open_pipe: int) -> None:
    assert run(open_pipe, "sh", "-c", "exit 3") == 3


def test_a_closed_pipe_asks_the_command_to_end(closed_pipe: int) -> None:
    assert run(closed_pipe, "sleep", "60") == 128 + signal.SIGTERM


def test_a_command_that_will_not_end_is_killed(closed_pipe: int) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    code = run(closed_pipe, sys.executable, "-c", stubborn, grace=2)
    assert code in (128 + signal.SIGKILL, 128 + signal.SIGTERM)  # it may not have got that far


def test_what_a_command_leaves_behind_is_killed(open_pipe: int) -> None:
    mark = f"61.{os.getpid()}"
    assert run(open_pipe, "sh", "-c", f"sleep {mark} & exit 0") == 0
    assert until_gone(f"sleep {mark}")


def test_a_command_that_is_not_there_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert guard.main(["15", "5", "-", "/nowhere/program"]) == 127
    assert "cannot run /nowhere/program" in capfd.readouterr().err


def test_a_child_hands_over_its_lines_and_its_last_words() -> None:
    lines: list[str] = []
    command = ["sh", "-c", "echo one; echo two >&2; echo; exit 4"]
    with Child("talker", command, on_line=lines.append) as child:
        assert child.last_words == "two"
    assert child.returncode == 4
    assert lines == ["one", "two", ""]


def test_a_child_that_dies_before_it_is_ready_says_why() -> None:
    with (
        Child("talker", ["sh", "-c", "echo no luck"]) as child,
        pytest.raises(UnavailableError, match=r"^The talker did not start: no luck$"),
    ):
        wait_until(lambda: False, child, "The talker")


def test_a_child_that_is_never_ready_is_not_waited_for_for_ever() -> None:
    with (
        Child("sleeper", ["sleep", "60"]) as child,
        pytest.raises(UnavailableError, match="within 0 seconds"),
    ):
        wait_until(lambda: False, child, "The sleeper", timeout=0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_a_parent_that_is_killed(number: int, tmp_path: Path) -> None:
    mark = f"62.{os.getpid()}{number}"
    program = tmp_path / "parent.py"
    program.write_text(
        "import time\nfrom mailer.embedded.process import Child\n"
        f"child = Child('sleeper', ['sh', '-c', 'echo up; sleep {mark}'],\n"
        "    on_line=lambda line: print(line, flush=True))\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent:
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(number)
    assert until_gone(f"sleep {mark}")


def test_a_port_that_is_taken_is_not_picked() -> None:
    port = free_port()
    assert not listens(port)
    assert free_port(port) == port
    with Child("server", [sys.executable, "-m", "http.server", "--bind=127.0.0.1", f"{port}"]) as c:
        wait_until(lambda: listens(port), c, "The server")
        assert free_port(port) != port
