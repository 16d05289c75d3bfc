import datetime
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import RecipientsError
from mailer.recipients import Problem, Recipient, read

from .files import split, written

EXAMPLE = Path(__file__).parents[3] / "examples" / "recipients.csv"


def test_the_sample_file_has_998_people_to_write_to() -> None:
    good, problems = split(EXAMPLE)
    assert len(good) + len(problems) == 1000
    assert len({row.address for row in good}) == 998
    assert len(good) == 999
    [invalid] = problems
    assert "@-sign" in invalid.reason
    assert sum("," in str(row.variables["city"]) for row in good) == 1
    assert sum("xn--" in row.email for row in good) == 1


def test_json_lines_are_read_with_their_types(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        '\ufeff{"Email": "a@example.com", "n": 1, "tags": ["x"]}\n\n{"E-mail":"b@example.com"}\n',
    )
    reader = read(path)
    assert (reader.label, reader.columns) == ("a.jsonl", ())
    assert list(reader) == [
        Recipient(
            1,
            "a@example.com",
            "a@example.com",
            {"email": "a@example.com", "n": 1, "tags": ["x"]},
        ),
        Recipient(
            3,
            "b@example.com",
            "b@example.com",
            {"e-mail": "b@example.com", "email": "b@example.com"},
        ),
    ]


def test_a_broken_json_line_is_reported_and_the_next_one_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.ndjson",
        '{"email": "a@example.com"\n[1]\n{"n": 1}\n{"email": null}\n'
        '{"email": "b@example.com", "x": "\\u0000"}\n'
        '{"email": "c@example.com", "x": "\\\\u0000"}\n',
    )
    good, problems = split(path)
    assert [row.line for row in good] == [6]
    assert [row.line for row in problems] == [1, 2, 3, 4, 5]
    assert [row.reason.split(":")[0] for row in problems] == [
        "not valid JSON",
        "not a JSON object",
        "no email column among",
        "the email address is not text",
        "a NUL character in this row",
    ]


def test_an_unknown_suffix_leaves_the_format_to_the_first_bytes(tmp_path: Path) -> None:
    assert len(split(written(tmp_path / "a.dat", '{"email": "a@example.com"}\n'))[0]) == 1
    assert len(split(written(tmp_path / "b", "email;n\na@example.com;1\n"))[0]) == 1


def test_any_iterable_of_mappings_is_read_one_at_a_time() -> None:
    taken = []

    def people() -> Iterator[dict[str, object]]:
        for number in range(1000):
            taken.append(number)
            yield {"email": f"p{number}@example.com"}

    reader = read(people())
    assert (reader.label, reader.columns) == ("recipients", ())
    rows = iter(reader)
    assert [getattr(next(rows), "line", None) for _ in range(3)] == [1, 2, 3]
    assert len(taken) == 3


def test_values_become_what_json_can_hold() -> None:
    day = datetime.date(2026, 11, 23)
    noon = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
    row = MappingProxyType(
        {
            "EMAIL ": "a@example.com",
            "due": day,
            "at": noon,
            "sum": Decimal("12.50"),
            "id": uuid.UUID(int=1),
            "none": None,
            "nested": {"day": day},
            "nan": float("nan"),
        }
    )
    [ann], problems = split([row])
    assert problems == []
    assert ann.variables == {
        "email": "a@example.com",
        "due": "2026-11-23",
        "at": "2026-11-23T12:00:00+00:00",
        "sum": "12.50",
        "id": "00000000-0000-0000-0000-000000000001",
        "none": None,
        "nested": {"day": "2026-11-23"},
        "nan": None,
    }


def test_a_row_that_cannot_be_used_is_reported_by_its_place() -> None:
    rows = [
        "a@example.com",
        {"name": "Ann"},
        {},
        {"email": 5},
        {"email": "b@example.com", "photo": b"x"},
        {"email": "b@example.com", "big": 1 << 70},
        {"email": "b@example.com", "half": "\ud800"},
        {"email": "b@example.com", 5: 5},
        {"email": "b@example.com", "Name": 1, "name ": 2},
        {"email": "b@example.com", "deep": ["\0"]},
        {"email": "b@example.com"},
    ]
    good, problems = split(rows)
    assert [row.line for row in good] == [11]
    assert problems == [
        Problem(1, "", "not a mapping with an email, but str"),
        Problem(2, "", "no email column among: “name”"),
        Problem(3, "", "no email column among: nothing"),
        Problem(4, "5", "the email address is not text"),
        Problem(5, "b@example.com", "photo: a value of type bytes that JSON cannot hold"),
        Problem(6, "b@example.com", "big: a value of type int that JSON cannot hold"),
        Problem(7, "b@example.com", "half: a value of type str that JSON cannot hold"),
        Problem(8, "", "a column's name is not text: “5”"),
        Problem(9, "", "the column “name” is there twice"),
        Problem(10, "b@example.com", "a NUL character in this row"),
    ]


@pytest.mark.parametrize("source", [{"email": "a@example.com"}, b"a.csv", 5, None])
def test_what_is_neither_a_path_nor_an_iterable_of_mappings_is_refused(source: object) -> None:
    with pytest.raises(RecipientsError, match="must be a path or an iterable of mappings"):
        read(source)  # type: ignore[arg-type]


def test_an_empty_iterable_is_refused() -> None:
    with pytest.raises(RecipientsError, match="no recipients"):
        read([])


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipientsError, match="there is no file"):
        read(tmp_path / "none.csv")
    with pytest.raises(RecipientsError, match="not a regular file"):
        read(tmp_path)
    with pytest.raises(RecipientsError, match="a\0b"):
        read("a\0b")


def test_a_file_that_the_system_does_not_hand_out_is_refused_with_its_reason() -> None:
    with pytest.raises(RecipientsError, match="File name too long"):
        read("x" * 5000)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["email", "Email", "name", "x"]),
            st.none() | st.integers() | st.floats() | st.text() | st.just("a@example.com"),
        )
        | st.text(),
        min_size=1,
    )
)
def test_every_item_is_a_recipient_or_a_problem_fit_to_print(items: list[object]) -> None:
    good, problems = split(items)
    assert len(good) + len(problems) == len(items)
    assert all((row.email + row.reason).isprintable() for row in problems)
