"""The pool over sockets: growth, reuse, limits, fairness, cancelling and closing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from mailer.smtp import Kind, Phase, Pool, Server
from mailer.smtp import pool as pool_module

from .helpers import QUICK, Journal, kinds, local, message, messages, numbers
from .peer import CHUNKED, LOCKSTEP, PIPELINED, Fault, Script, serve


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the pool announces nothing to wait for
            await asyncio.sleep(0.005)


async def test_a_pool_grows_on_demand_up_to_its_limit_and_is_used_again() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), connections=3)
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        assert pool.stats.connections == 1
        await pool.send([message(number) for number in range(1, 100)])
        assert pool.stats.connections == 3
        await pool.send([message(100)])
        assert script.connections == 3
        await pool.close(5)
    assert sorted(numbers(script.accepted)) == list(range(101))
    assert script.commands.count("QUIT") == 3
    assert pool.stats.connections == 0


@pytest.mark.parametrize(
    ("limit", "extensions"), [(10, PIPELINED), (100, (*PIPELINED, "LIMITS MAILMAX=10"))]
)
async def test_a_connection_takes_no_more_messages_than_allowed(
    limit: int, extensions: tuple[str, ...]
) -> None:
    script = Script(extensions)
    async with serve(script) as port:
        pool = Pool(local(port), connections=1, messages_per_connection=limit)
        verdicts = await pool.send(messages(35))
        await pool.close(5)
    assert set(kinds(verdicts)) == {Kind.DELIVERED}
    assert script.connections == 4


async def test_an_old_connection_is_replaced() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), age=0)
        await pool.send([message(0)])
        await pool.send([message(1)])
        await pool.close(5)
    assert script.connections == 2


async def test_an_idle_connection_says_quit() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), idle=0.01)
        await pool.send([message(0)])
        await until(lambda: pool.stats.connections == 0)
        assert script.commands[-1] == "QUIT"
        assert kinds(await pool.send([message(1)])) == [Kind.DELIVERED]
        await pool.close(5)


async def test_a_connection_long_idle_is_checked_before_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "CHECK_AFTER", -1)
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port))
        await pool.send([message(0)])
        await pool.send([message(1)])
        await pool.close(5)
    assert script.commands[4:6] == ["RSET", "MAIL FROM:<from@example.com> SIZE=37"]


async def test_a_connection_that_died_while_idle_costs_no_message() -> None:
    rule = lambda phase, number, _: Fault(close=True) if (phase, number) == ("MAIL", 1) else None  # noqa: E731
    script = Script(rule=rule)
    async with serve(script) as port:
        pool = Pool(local(port))
        await pool.send([message(0)])
        assert kinds(await pool.send([message(1)])) == [Kind.DELIVERED]
        await pool.close(5)
    assert script.connections == 2


async def test_groups_share_a_pool_fairly() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), connections=1)
        big = asyncio.create_task(pool.send(messages(90), group="big"))
        await asyncio.sleep(0)
        small = [message(number) for number in range(100, 110)]
        await pool.send(small, group="small")
        assert not big.done()
        await big
        await pool.close(5)
    assert max(numbers(script.accepted).index(number) for number in range(100, 110)) < 25


async def test_nobody_listening_answers_everything_at_once() -> None:
    async with serve(Script()) as port:
        pass
    pool = Pool(local(port))
    verdicts = await pool.send(messages(50))
    assert {(each.kind, each.phase, each.code) for each in verdicts} == {
        (Kind.LATER, Phase.CONNECT, None)
    }
    assert str(port) in verdicts[0].text
    again = await pool.send(messages(50))
    assert again == verdicts
    await pool.close(1)


@pytest.mark.parametrize(
    ("greeting", "phase", "code"),
    [
        (b"421 4.3.2 Too many connections\r\n", Phase.GREETING, 421),
        (b"554 5.7.1 Go away\r\n", Phase.GREETING, 554),
        (b"What?\r\n", Phase.GREETING, None),
    ],
)
async def test_a_server_that_turns_us_away_answers_everything(
    greeting: bytes, phase: Phase, code: int | None
) -> None:
    script = Script(greeting=greeting)
    async with serve(script) as port:
        pool = Pool(local(port), connections=2)
        verdicts = await pool.send(messages(20))
        assert {(v.kind, v.phase, v.code) for v in verdicts} == {(Kind.LATER, phase, code)}
        await pool.send(messages(20))
        assert script.connections == 2, "the server is hammered"
        assert greeting.decode().strip() in (pool.transcript or "")
        await pool.close(1)


async def test_a_silent_server_is_given_up() -> None:
    script = Script(greeting=b"220")
    script.greeting = b"220 hello"  # without an end
    async with serve(script) as port:
        pool = Pool(local(port, timeouts=replace(QUICK, greeting=0.05)))
        verdict = (await pool.send([message(0)]))[0]
        assert (verdict.kind, verdict.phase) == (Kind.LATER, Phase.GREETING)
        assert verdict.text == "no answer within 0.05 s"
        await pool.close(1)


async def test_an_unknown_host_is_try_later() -> None:
    pool = Pool(Server("no-such-host.invalid", 25, tls="none"))
    verdict = (await pool.send([message(0)]))[0]
    assert (verdict.kind, verdict.phase) == (Kind.LATER, Phase.CONNECT)
    await pool.close(1)


async def test_a_host_that_listens_on_one_of_its_addresses_is_reached() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(replace(local(port), host="localhost"))  # ::1 too, where nobody listens
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        await pool.close(1)


async def test_the_source_address_is_kept() -> None:
    async with serve(Script()) as port:
        pool = Pool(local(port, source_address="127.0.0.9", helo_name=None))
        assert kinds(await pool.send([message(0)])) == [Kind.DELIVERED]
        await pool.close(1)


@pytest.mark.parametrize("extensions", [LOCKSTEP, PIPELINED, CHUNKED])
async def test_large_messages_pass_in_both_directions(extensions: tuple[str, ...]) -> None:
    script = Script(tuple(e for e in extensions if not e.startswith("SIZE")))
    sent = [message(number, size=2_000_000) for number in range(4)]
    async with serve(script) as port:
        pool = Pool(local(port, flight=4), connections=1)
        assert set(kinds(await pool.send(sent))) == {Kind.DELIVERED}
        await pool.close(5)
    assert script.accepted == [each.content for each in sent]


async def test_a_server_that_stops_reading_is_a_time_out_and_no_doubt() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readline()
        writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
        await asyncio.sleep(30)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    journal = Journal()
    pool = Pool(local(port, timeouts=replace(QUICK, block=0.2)), observer=journal)
    verdict = (await pool.send([message(0, size=30_000_000)]))[0]
    assert verdict.kind is Kind.LATER
    assert "next block" in verdict.text
    assert journal.dots == []
    await pool.close(1)
    server.close()


async def test_a_cancelled_send_leaves_nothing_half_done() -> None:
    hold = Fault(stall=True)
    script = Script(rule=lambda phase, number, _: hold if (phase, number) == ("DOT", 3) else None)
    journal = Journal()
    async with serve(script) as port:
        pool = Pool(local(port), connections=1, observer=journal)
        task = asyncio.create_task(pool.send(messages(10)))
        await until(lambda: len(journal.dots) == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(journal.ends) == [0, 1, 2]
        await pool.close(0.05)
    assert journal.ends[3].kind is Kind.IN_DOUBT
    assert journal.dots == [0, 1, 2, 3]
    assert script.mails == 3 or script.mails == 4


async def test_cancelling_one_send_does_not_disturb_another() -> None:
    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), connections=2)
        first = asyncio.create_task(pool.send(messages(200), group="a"))
        other = [message(number) for number in range(1000, 1050)]
        second = asyncio.create_task(pool.send(other, group="b"))
        await until(lambda: pool.stats.delivered > 10)
        first.cancel()
        assert set(kinds(await second)) == {Kind.DELIVERED}
        await pool.close(5)
    assert set(range(1000, 1050)) <= set(numbers(script.accepted))
    assert len(script.accepted) < 250


async def test_closing_lets_what_is_on_the_wire_end_and_sends_the_rest_back() -> None:
    script = Script()
    journal = Journal()
    async with serve(script) as port:
        pool = Pool(local(port), connections=1, observer=journal)
        task = asyncio.create_task(pool.send(messages(500)))
        await until(lambda: pool.stats.delivered > 3)
        await pool.close(5)
        verdicts = await task
        late = await pool.send([message(1000)])
    assert set(kinds(verdicts)) == {Kind.DELIVERED, Kind.LATER}
    assert kinds(late) == [Kind.LATER]
    assert [n for n, v in enumerate(verdicts) if v.kind is Kind.DELIVERED] == numbers(
        script.accepted
    )
    assert "QUIT" in script.commands


class Shared:
    """A lease over two pools."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.most = limit, 0, 0

    async def acquire(self) -> bool:
        if self.held >= self.limit:
            return False
        self.held += 1
        self.most = max(self.most, self.held)
        return True

    async def release(self) -> None:
        self.held -= 1


async def test_two_pools_never_pass_a_shared_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LEASE_IDLE", 0.01)
    lease = Shared(3)
    async with serve(Script()) as port:
        pools = [
            Pool(local(port), connections=3, messages_per_connection=7, lease=lease) for _ in "ab"
        ]
        sends = await asyncio.gather(*(pool.send(messages(100)) for pool in pools))
        await asyncio.gather(*(pool.close(5) for pool in pools))
    assert all(set(kinds(verdicts)) == {Kind.DELIVERED} for verdicts in sends)
    assert lease.most == 3
    assert lease.held == 0


async def test_without_a_share_of_the_limit_work_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LEASE_RETRY", 0.01)
    monkeypatch.setattr(pool_module, "LEASE_PATIENCE", 0.05)
    pool = Pool(local(1), lease=Shared(0))
    verdict = (await pool.send([message(0)]))[0]
    assert verdict.kind is Kind.LATER
    assert "shared limit" in verdict.text
    await pool.close(1)


async def test_a_lease_that_fails_sends_nothing() -> None:
    class Broken(Shared):
        async def acquire(self) -> bool:
            raise ConnectionError("no Redis")

    script = Script()
    async with serve(script) as port:
        pool = Pool(local(port), lease=Broken(1))
        verdict = (await pool.send([message(0)]))[0]
        await pool.close(1)
    assert verdict.kind is Kind.LATER
    assert script.connections == 0


async def test_the_transcript_shows_the_failure_and_no_content() -> None:
    rule = lambda phase, *_: Fault(b"550 5.1.1 Nobody\r\n") if phase == "RCPT" else None  # noqa: E731
    async with serve(Script(rule=rule)) as port:
        pool = Pool(local(port))
        await pool.send([message(0)])
        transcript = pool.transcript or ""
        await pool.close(1)
    assert "C: RCPT TO:<to0@example.net>" in transcript
    assert "S: 550 5.1.1 Nobody" in transcript
    assert "hello" not in transcript


async def test_the_debug_log_shows_the_dialogue(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "mailer.smtp")
    async with serve(Script()) as port:
        pool = Pool(local(port))
        await pool.send([message(0)])
        await pool.close(1)
    assert "C: EHLO test.example" in caplog.text
    assert "octets of a message>" in caplog.text
    assert "hello" not in caplog.text


async def test_nothing_to_send_is_no_connection() -> None:
    pool = Pool(local(1))
    assert await pool.send([]) == []
    assert pool.transcript is None
    await pool.close(1)
