"""Every fault at every point of a flight of ten: verdicts and what the server took agree."""

import asyncio
from dataclasses import replace

import pytest
import uvloop

from mailer.smtp import Kind, Pool, Verdict

from .helpers import QUICK, Journal, local, messages, numbers
from .peer import CHUNKED, LOCKSTEP, PIPELINED, Fault, Script, serve

MODES = {"lockstep": (LOCKSTEP, 1), "pipelined": (PIPELINED, 1), "flights": (CHUNKED, 10)}
FAULTS = {
    "refused": Fault(b"550 5.7.1 Refused\r\n"),
    "temporary": Fault(b"451 4.3.0 Not now\r\n"),
    "421": Fault(b"421 4.3.2 Closing\r\n", close=True),
    "421 and stays": Fault(b"421 4.3.2 Closing\r\n", stall=True),
    "cut": Fault(close=True),
    "cut in mid-reply": Fault(b"25", close=True),
    "cut in a reply of several lines": Fault(b"250-2.0.0 Ok\r\n", close=True),
    "garbage": Fault(b"\x00\xff what?\r\n"),
    "a reply without end": Fault(b"250 " + b"x" * 20_000),
    "a reply of endless lines": Fault(b"250-x\r\n" * 300),
    "stall": Fault(stall=True),
    "two replies": Fault(b"550 5.0.0 No\r\n", close=True),
    "an absurd code": Fault(b"354 What\r\n", close=True),
    "taken, then cut": Fault(close=True, take=True),
    "taken, then garbage": Fault(b"2x0\r\n", take=True),
    "taken, then stall": Fault(stall=True, take=True),
    "taken, then cut in mid-reply": Fault(b"250 2.0.0 Ta", close=True, take=True),
}
PHASES = ("MAIL", "RCPT", "DATA", "DOT")
# Long enough for a busy machine: forty dialogues run at a time.
SHORT = replace(QUICK, mail=1.5, rcpt=1.5, data=1.5, dot=1.5, reset=1.5)


async def play(mode: str, fault: Fault, phase: str, number: int) -> None:
    extensions, flight = MODES[mode]
    script = Script(extensions, lambda p, n, _: fault if (p, n) == (phase, number) else None)
    journal = Journal()
    async with serve(script) as port:
        server = local(port, flight=flight, timeouts=SHORT)
        pool = Pool(server, connections=1, observer=journal)
        verdicts = await pool.send(messages(10))
        await pool.close(1)
    assert number <= script.mails, "the fault was not reached"
    agree(verdicts, numbers(script.accepted), journal, flight)


def agree(verdicts: list[Verdict], taken: list[int], journal: Journal, flight: int) -> None:
    assert len(verdicts) == 10
    assert len(taken) == len(set(taken)), "a message was accepted twice"
    for number, verdict in enumerate(verdicts):
        match verdict.kind:
            case Kind.DELIVERED:
                assert number in taken, verdict
            case Kind.REFUSED | Kind.LATER:
                assert number not in taken, verdict
            case Kind.IN_DOUBT:
                assert number in journal.dots, verdict
    assert set(journal.ends) == set(journal.dots)
    assert all(journal.ends.get(n, verdict) == verdict for n, verdict in enumerate(verdicts))
    assert sum(verdict.kind is Kind.IN_DOUBT for verdict in verdicts) <= flight


async def _each_point(mode: str, fault: str) -> None:
    phases = ("DOT",) if FAULTS[fault].take else PHASES
    await asyncio.gather(
        *(play(mode, FAULTS[fault], phase, number) for phase in phases for number in range(10))
    )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", MODES)
def test_verdicts_agree_with_what_the_server_took(mode: str, fault: str) -> None:
    uvloop.run(_each_point(mode, fault))
