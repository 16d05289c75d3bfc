"""What the session says, and what each reply decides."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.smtp import Kind, Phase, ProtocolError, Transaction
from mailer.smtp.session import BLOCK
from tests.smtp.helpers import kinds, message, messages, numbers
from tests.smtp.peer import CHUNKED, LOCKSTEP, PIPELINED, Fault

from .dialogue import Dialogue

MODES = {"lockstep": (LOCKSTEP, 1), "pipelined": (PIPELINED, 1), "flights": (CHUNKED, 4)}
every_mode = pytest.mark.parametrize(("extensions", "flight"), MODES.values(), ids=MODES)


def refuse(phase: str, number: int, answer: bytes = b"550 5.7.1 No\r\n"):  # type: ignore[no-untyped-def]
    return lambda p, n, _: Fault(answer) if (p, n) == (phase, number) else None


@every_mode
def test_all_are_delivered_in_order(extensions: tuple[str, ...], flight: int) -> None:
    talk = Dialogue(messages(10), extensions=extensions, flight=flight)
    assert set(kinds(list(talk.run().values()))) == {Kind.DELIVERED}
    assert numbers(talk.script.accepted) == list(range(10))
    assert talk.session.idle


def test_pipelining_takes_one_round_trip_a_message() -> None:
    talk = Dialogue(messages(10))
    talk.run()
    assert len(talk.flights) == 11
    assert talk.flights[1].startswith(b"Subject:")
    assert talk.flights[1].endswith(b"\r\n.\r\n" + talk.flights[0].replace(b"to0@", b"to1@"))


def test_flights_take_many_messages_a_round_trip() -> None:
    talk = Dialogue(messages(12), extensions=CHUNKED, flight=4)
    talk.run()
    assert len(talk.flights) == 3
    assert talk.flights[0].count(b"BDAT") == 4


def test_flights_need_the_setting_and_the_offer() -> None:
    for extensions, flight in ((CHUNKED, 1), (PIPELINED, 4), ((*LOCKSTEP, "CHUNKING"), 4)):
        talk = Dialogue(messages(3), extensions=extensions, flight=flight)
        talk.run()
        assert not any(b"BDAT" in each for each in talk.flights)
        assert len(talk.script.accepted) == 3


def test_lockstep_never_says_two_things_at_once() -> None:
    talk = Dialogue(messages(3), extensions=LOCKSTEP)
    talk.run()
    assert len(talk.flights) == 3 * 4


@every_mode
@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"550 5.7.1 No\r\n", Kind.REFUSED), (b"450-4.2.1 Not\r\n450 4.2.1 now\r\n", Kind.LATER)],
)
def test_a_refusal_touches_no_other_message(
    extensions: tuple[str, ...], flight: int, phase: str, answer: bytes, kind: Kind
) -> None:
    if (flight, phase) == (4, "DATA"):
        pytest.skip("flights know no DATA")
    talk = Dialogue(
        messages(5), extensions=extensions, flight=flight, rule=refuse(phase, 2, answer)
    )
    verdicts = talk.run()
    assert [verdicts[n].kind for n in range(5)] == [
        Kind.DELIVERED, Kind.DELIVERED, kind, Kind.DELIVERED, Kind.DELIVERED
    ]  # fmt: skip
    assert verdicts[2].phase == phase.lower()
    assert verdicts[2].code == int(answer[:3])
    assert verdicts[2].enhanced == answer[4:9].decode()
    assert verdicts[2].text == ("No" if kind is Kind.REFUSED else "Not now")
    assert numbers(talk.script.accepted) == [0, 1, 3, 4]
    assert set(talk.journal.ends) <= set(talk.journal.dots)


@every_mode
def test_one_refused_recipient_of_three_does_not_stop_the_others(
    extensions: tuple[str, ...], flight: int
) -> None:
    three = message(0)._replace(recipients=("a@x.test", "b@x.test", "c@x.test"))
    talk = Dialogue(
        [three, message(1)],
        extensions=extensions,
        flight=flight,
        rule=lambda p, _, text: Fault(b"550 5.1.1 Who?\r\n") if "b@x" in text else None,
    )
    verdicts = talk.run()
    assert kinds([verdicts[0], verdicts[1]]) == [Kind.DELIVERED, Kind.DELIVERED]
    assert [reply.code for reply in verdicts[0].replies] == [250, 550, 250]
    assert verdicts[0].replies[1].enhanced == "5.1.1"
    assert talk.script.envelopes[0] == ("from@example.com", ["a@x.test", "c@x.test"])


def test_all_recipients_refused_and_yet_a_go_ahead_is_answered_with_a_lone_dot() -> None:
    def rule(phase: str, number: int, _: str) -> Fault | None:
        answers = {"RCPT": b"550 5.1.1 Who?\r\n", "DATA": b"354 Go\r\n"}
        return Fault(answers[phase]) if number == 0 and phase in answers else None

    talk = Dialogue(messages(2), rule=rule)
    verdicts = talk.run()
    assert talk.flights[1].startswith(b".\r\nMAIL")
    assert (verdicts[0].kind, verdicts[0].phase, verdicts[0].enhanced) == (
        Kind.REFUSED, Phase.RCPT, "5.1.1"
    )  # fmt: skip
    assert talk.journal.dots == [1]
    assert numbers(talk.script.accepted) == [1]


def test_refusals_for_now_and_for_good_together_are_for_now() -> None:
    def rule(phase: str, _: int, text: str) -> Fault | None:
        if phase != "RCPT":
            return None
        return Fault(b"550 5.1.1 No\r\n" if "a@" in text else b"552 5.2.2 Too many\r\n")

    talk = Dialogue([message(0)._replace(recipients=("a@x.test", "b@x.test"))], rule=rule)
    verdict = talk.run()[0]
    assert (verdict.kind, verdict.code) == (Kind.LATER, 552)


@every_mode
def test_after_421_nothing_more_is_sent(extensions: tuple[str, ...], flight: int) -> None:
    rule = lambda p, n, _: Fault(b"421 4.3.2 Bye\r\n", close=True) if n == 1 else None  # noqa: E731
    talk = Dialogue(messages(6), extensions=extensions, flight=flight, rule=rule)
    talk.run()
    assert talk.session.farewell is not None
    talk.session.lost("closed", by_peer=True)
    assert talk.verdicts[0].kind is Kind.DELIVERED
    assert (talk.verdicts[1].kind, talk.verdicts[1].code) == (Kind.LATER, 421)
    assert {verdict.kind for key, verdict in talk.verdicts.items() if key} == {Kind.LATER}


def test_what_was_not_ended_when_the_link_breaks_goes_over_another_once() -> None:
    talk = Dialogue(messages(3))
    talk.session.receive(talk.server.feed(talk.send()))
    talk.send()  # the end of 0, and the envelope of 1
    talk.session.lost("reset", by_peer=True)
    assert talk.verdicts[0].kind is Kind.IN_DOUBT
    assert talk.given_back == [1]
    assert talk.session.idle


def test_on_a_fresh_connection_it_is_to_be_tried_later() -> None:
    talk = Dialogue(messages(1))
    talk.send()
    talk.session.lost("reset", by_peer=True)
    assert (talk.verdicts[0].kind, talk.verdicts[0].phase) == (Kind.LATER, Phase.MAIL)


def test_content_half_sent_is_never_in_doubt() -> None:
    talk = Dialogue([message(0, size=3 * BLOCK)])
    talk.session.receive(talk.server.feed(talk.session.transmit()))
    assert len(talk.session.transmit()) == BLOCK
    talk.session.lost("reset", by_peer=True)
    assert (talk.verdicts[0].kind, talk.verdicts[0].phase) == (Kind.LATER, Phase.DOT)
    assert talk.journal.dots == []


@pytest.mark.parametrize(("extensions", "flight"), [(PIPELINED, 1), (CHUNKED, 4)])
def test_large_content_goes_in_pieces_and_arrives_whole(
    extensions: tuple[str, ...], flight: int
) -> None:
    big = [message(number, size=3 * BLOCK + 17) for number in range(3)]
    talk = Dialogue(big, extensions=(*extensions[1:],), flight=flight)
    assert set(kinds(list(talk.run().values()))) == {Kind.DELIVERED}
    assert talk.script.accepted == [each.content for each in big]


def test_a_refusal_before_the_end_of_content_is_final_and_cuts_the_link() -> None:
    talk = Dialogue([message(0, size=3 * BLOCK), message(1)])
    talk.session.receive(talk.server.feed(talk.session.transmit()))
    talk.session.transmit()
    talk.session.receive(b"552 5.3.4 Too big\r\n")
    assert (talk.verdicts[0].kind, talk.verdicts[0].code) == (Kind.REFUSED, 552)
    assert talk.session.finished
    assert talk.session.transmit() == b""


def test_success_before_the_end_of_content_is_not_believed() -> None:
    talk = Dialogue([message(0, size=3 * BLOCK)])
    talk.session.receive(talk.server.feed(talk.session.transmit()))
    talk.session.transmit()
    with pytest.raises(ProtocolError, match="answered 250"):
        talk.session.receive(b"250 Ok\r\n")
    talk.session.lost("nonsense", by_peer=False)
    assert talk.verdicts[0].kind is Kind.LATER


def test_mail_refused_but_recipient_and_data_accepted_ends_without_a_dot() -> None:
    talk = Dialogue(messages(1))
    talk.send()
    talk.session.receive(b"550 5.1.8 No\r\n250 Ok\r\n354 Go\r\n")
    assert (talk.verdicts[0].kind, talk.verdicts[0].phase) == (Kind.REFUSED, Phase.MAIL)
    assert talk.session.finished
    assert talk.session.transmit() == b""


def test_withdrawn_work_never_gets_its_content_sent() -> None:
    talk = Dialogue(messages(2))
    work = talk.waiting[0]
    reply = talk.server.feed(talk.send())
    work.withdrawn = True
    talk.session.receive(reply)
    assert talk.session.finished
    assert talk.journal.dots == []


@pytest.mark.parametrize(
    "nonsense", [b"hello\r\n", b"199 Hm\r\n", b"600 Hm\r\n", b"250-a\r\n251 b\r\n", b"250+a\r\n"]
)
def test_garbage_ends_the_session(nonsense: bytes) -> None:
    talk = Dialogue(messages(1))
    talk.send()
    with pytest.raises(ProtocolError):
        talk.session.receive(nonsense)


def test_an_answer_to_nothing_ends_the_session() -> None:
    talk = Dialogue([])
    with pytest.raises(ProtocolError, match="answer to nothing"):
        talk.session.receive(b"250 Hello\r\n")


def test_a_421_while_idle_is_a_farewell() -> None:
    talk = Dialogue([])
    talk.session.receive(b"421 4.4.2 Idle\r\n")
    assert talk.session.finished


@pytest.mark.parametrize("answer", [b"250 Ok\r\n", b"200 Ok\r\n"])
def test_data_wants_a_go_ahead_or_a_refusal(answer: bytes) -> None:
    talk = Dialogue(messages(1))
    talk.send()
    with pytest.raises(ProtocolError):
        talk.session.receive(b"250 Ok\r\n250 Ok\r\n" + answer)


def test_a_check_comes_before_the_next_envelope() -> None:
    talk = Dialogue(messages(1))
    talk.session.check()
    assert talk.send() == b"RSET\r\n"
    talk.session.receive(b"250 Ok\r\n")
    assert talk.send().startswith(b"MAIL")


def test_a_failed_reset_cuts_the_link() -> None:
    talk = Dialogue(messages(1))
    talk.session.check()
    talk.send()
    talk.session.receive(b"500 What?\r\n")
    assert talk.session.finished


def test_a_domain_too_many_for_the_session_goes_to_another() -> None:
    far = message(1)._replace(recipients=("x@elsewhere.test",))
    talk = Dialogue(
        [message(0), far, message(2)], extensions=(*PIPELINED, "LIMITS RCPTDOMAINMAX=1")
    )
    talk.run()
    assert list(talk.verdicts) == [0]
    assert talk.given_back == [1]
    assert talk.session.retired


def test_recipients_beyond_the_limit_are_not_asked() -> None:
    three = Transaction(0, "s@x.test", ("a@x.test", "b@x.test", "c@x.test"), b"X-Number: 0\r\n")
    talk = Dialogue([three], extensions=(*PIPELINED, "LIMITS RCPTMAX=2"))
    verdict = talk.run()[0]
    assert verdict.kind is Kind.DELIVERED
    assert [reply.code for reply in verdict.replies] == [250, 250, 452]


# Properties


@st.composite
def cuts(draw: st.DrawFn) -> list[int]:
    return draw(st.lists(st.integers(1, 40), min_size=1, max_size=30))


def _cutter(sizes: list[int]):  # type: ignore[no-untyped-def]
    def cut(data: bytes) -> list[bytes]:
        ends, at = [0], 0
        while at < len(data):
            at += sizes[len(ends) % len(sizes)]
            ends.append(min(at, len(data)))
        return [data[a:b] for a, b in pairwise(ends)]

    return cut


answers = st.sampled_from(
    [
        None,
        b"550 5.1.1 No\r\n",
        b"450-4.2.0 a\r\n450-4.2.0 b\r\n450 4.2.0 c\r\n",
        b"250-a\r\n250 b\r\n",
    ]
)


@given(
    cuts(),
    st.sampled_from(list(MODES)),
    st.dictionaries(
        st.tuples(st.sampled_from(["MAIL", "RCPT", "DOT"]), st.integers(0, 4)), answers
    ),
)
def test_the_same_verdicts_however_replies_are_cut(
    sizes: list[int], mode: str, faults: dict[tuple[str, int], bytes | None]
) -> None:
    extensions, flight = MODES[mode]

    def rule(phase: str, number: int, _: str) -> Fault | None:
        answer = faults.get((phase, number))
        return (
            Fault(answer, take=answer[:1] == b"2") if answer and _effective(phase, answer) else None
        )

    whole = Dialogue(messages(5), extensions=extensions, flight=flight, rule=rule)
    cut = Dialogue(messages(5), extensions=extensions, flight=flight, rule=rule, cut=_cutter(sizes))
    assert cut.run() == whole.run()
    assert set(cut.verdicts) == set(range(5))
    taken = numbers(cut.script.accepted)
    assert taken == [n for n, verdict in cut.verdicts.items() if verdict.kind is Kind.DELIVERED]


def _effective(phase: str, answer: bytes) -> bool:
    """A 250 to MAIL or RCPT must come from the server itself, which then remembers it."""
    return phase == "DOT" or not answer.startswith(b"2")


@given(st.binary(max_size=300), st.sampled_from(list(MODES)))
def test_no_bytes_make_it_call_delivered_what_was_not_sent(noise: bytes, mode: str) -> None:
    extensions, flight = MODES[mode]
    talk = Dialogue(messages(3), extensions=extensions, flight=flight)
    talk.send()
    sent = set(talk.journal.dots)
    with suppress(ProtocolError):
        talk.session.receive(noise)
    talk.session.lost("end", by_peer=True)
    for key, verdict in talk.verdicts.items():
        assert verdict.kind in (Kind.LATER, Kind.REFUSED) or key in sent
