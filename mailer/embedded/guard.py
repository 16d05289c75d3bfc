"""Runs one command and ends it when its own standard input closes, whatever closed it.

Every process of the embedded stack runs below one of these. The parent holds the other end of the
pipe: a parent that stops, crashes or is killed with ``kill -9`` closes it, so the kernel itself
tells that the command must go. This works alike on Linux and macOS, which prctl does not.

Run as ``python -I -S guard.py SIGNAL GRACE USER COMMAND…``, in a session of its own so that the
terminal's Ctrl-C reaches the parent alone. ``USER`` is ``-`` to stay who we are. Imports nothing
but the standard library: it starts in some 15 ms.
"""

import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress


def run(
    pipe: int, command: Sequence[str], *, stop: int, grace: float, user: str | None = None
) -> int:
    """Run ``command`` until it ends or the descriptor ``pipe`` closes.

    When the pipe closes the command gets the signal ``stop``, and after ``grace`` seconds
    everything in its process group is killed. Returns its exit code, 128 + N after a signal N.
    """
    child = _spawn(command, user)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.send_signal(stop))
    threading.Thread(target=_end_with, args=(pipe, child, stop, grace), daemon=True).start()
    code = child.wait()
    _kill(child)  # whatever it started and left behind
    return code if code >= 0 else 128 - code


def _spawn(command: Sequence[str], user: str | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
    )


def _end_with(pipe: int, child: "subprocess.Popen[bytes]", stop: int, grace: float) -> None:
    while os.read(pipe, 1024):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    child.send_signal(stop)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    _kill(child)


def _kill(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
        os.killpg(child.pid, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Guard the command of ``arguments``: 127 when it cannot be run."""
    stop, grace, user, *command = arguments
    try:
        return run(
            sys.stdin.fileno(),
            command,
            stop=int(stop),
            grace=float(grace),
            user=None if user == "-" else user,
        )
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
