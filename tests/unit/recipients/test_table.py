import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import RecipientsError
from mailer.recipients import Problem, Recipient, read
from mailer.recipients.table import find_delimiter
from mailer.recipients.table import split as split_rows

from .files import split, written


def test_a_row_comes_with_its_line_its_key_and_every_column(tmp_path: Path) -> None:
    path = written(tmp_path / "staff.csv", 'Email, Name ,CITY\nAnn@Example.com,"Lee, Ann",Oslo\n')
    reader = read(path)
    assert reader.label == "staff.csv"
    assert reader.columns == ("email", "name", "city")
    assert list(reader) == [
        Recipient(
            2,
            "Ann@Example.com",
            "ann@example.com",
            {"email": "Ann@Example.com", "name": "Lee, Ann", "city": "Oslo"},
        )
    ]
    assert len(list(reader)) == 1  # a file can be read again


def test_the_path_may_be_a_string(tmp_path: Path) -> None:
    assert len(split(str(written(tmp_path / "a.csv", "email\na@example.com\n")))[0]) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("E-Mail", "mail", "Email Address", "email_address", "E-Mail-Adresse", "Courriel"),
        *("CORREO", "邮箱", "电子邮件", "邮箱地址", "メール", "メールアドレス", "Почта", "이메일"),
    ],
)
def test_the_email_column_is_found_under_its_usual_names(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.csv", f"name,{name}\nAnn,ann@example.com \n")
    [ann], _ = split(path)
    assert ann.email == ann.variables["email"] == "ann@example.com"
    assert ann.variables["name"] == "Ann"


def test_the_column_called_email_is_preferred(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "mail,email\nold@example.com,new@example.com\n")
    [row], _ = split(path)
    assert row.email == "new@example.com"
    assert row.variables["mail"] == "old@example.com"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    rows = [["name", "email", "a, b; c"], ["Lee, Ann; x|y", "ann@example.com", "1"]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    [row], problems = split(written(tmp_path / "a.tsv", out.getvalue()))
    assert row.variables == dict(zip(rows[0], rows[1], strict=True))
    assert problems == []


def test_unquoted_commas_in_values_do_not_hide_the_semicolon() -> None:
    lines = ["email;name\n", "ann@example.com;Lee, Ann\n", "bob@example.com;Ray, Bob\n"]
    assert find_delimiter(lines) == ";"
    assert find_delimiter(["email\n", "ann@example.com\n"]) == ","
    assert find_delimiter([]) == ","


def test_a_row_of_the_wrong_width_is_reported_and_the_next_one_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        "name,email\nAnn\nBob,bob@example.com,x\nEve,eve@example.com\n",
    )
    good, problems = split(path)
    assert [row.line for row in good] == [4]
    assert problems == [
        Problem(2, "", "too few fields: 1, where the header has 2"),
        Problem(3, "bob@example.com", "too many fields: 3, where the header has 2"),
    ]


def test_lines_are_counted_through_quoted_line_ends(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        'email,note\r\n\r\na@example.com,"one\r\ntwo"\r\n \r\n,\r\nb@example.com,x\r\nbad,x\r\n',
    )
    good, problems = split(path)
    assert [(row.line, row.variables["note"]) for row in good] == [(3, "one\r\ntwo"), (7, "x")]
    assert [row.line for row in problems] == [8]


def test_old_mac_line_ends_are_read(tmp_path: Path) -> None:
    good, _ = split(written(tmp_path / "a.csv", "email\ra@example.com\rb@example.com\r"))
    assert [row.line for row in good] == [2, 3]


def test_a_quote_left_open_costs_its_own_row_only(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        'email,name\na@example.com,"Ann\nb@example.com,Bob\nc@example.com,"Cy"\nd@example.com,D\n',
    )
    good, problems = split(path)
    assert [row.line for row in good] == [3, 4, 5]
    assert [(row.line, "quote" in row.reason) for row in problems] == [(2, True)]


def test_a_quote_open_to_the_end_of_a_long_file_costs_its_own_row_only(tmp_path: Path) -> None:
    rows = "".join(f"p{number}@example.com,Pat\n" for number in range(10_000))
    path = written(tmp_path / "a.csv", f'email,name\na@example.com,"Ann\n{rows}')
    good, problems = split(path)
    assert len(good) == 10_000
    assert good[-1].line == 10_002
    assert problems == [Problem(2, "", "a quote is opened and never closed")]


def test_a_nul_in_a_value_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b"email,name\na@example.com,A\0n\nb\0@example.com,B\n")
    good, problems = split(path)
    assert good == []
    assert [row.line for row in problems] == [2, 3]
    assert problems[1].email == "b�@example.com"
    assert all("NUL" in row.reason for row in problems)


def test_a_control_character_in_an_address_is_reported_without_it(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", 'email\n"a@example.com\nBcc: b@example.com"\n\x1b[1mx@y.zz\n'
    )
    good, problems = split(path)
    assert good == []
    assert all((row.email + row.reason).isprintable() for row in problems)


def test_a_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    reader = read(written(tmp_path / "a.csv", "email,name,,\na@example.com,Ann,x,\n"))
    assert reader.columns == ("email", "name")
    [row] = reader
    assert isinstance(row, Recipient)
    assert row.variables == {"email": "a@example.com", "name": "Ann"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "a.csv is empty"),
        ("\n \n", "a.csv is empty"),
        ("email,name\n", "a.csv has no recipients"),
        ("email,name\n\n,\n", "a.csv has no recipients"),
        ("name,city\nAnn,Oslo\n", "no email column among: “name”, “city”"),
        ("ann@example.com,Ann\n", "is the header line missing?"),
        ("email,Name, name \na@example.com,1,2\n", "the column “name” is there twice"),
        ('email,"name\na@example.com,1\n', "line 1, the header: a quote is opened"),
        ("email" * 500_000, "a line longer than 2 MiB"),
    ],
)
def test_a_file_without_recipients_is_refused_in_one_line(
    tmp_path: Path, content: str, reason: str
) -> None:
    with pytest.raises(RecipientsError) as caught:
        read(written(tmp_path / "a.csv", content))
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


values = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_any_quoted_text_comes_back_as_it_was(rows: list[tuple[str, str]], delimiter: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    lines = io.StringIO(out.getvalue(), newline="")
    assert [tuple(cells) for _, cells in split_rows(lines, delimiter)] == rows


@given(st.lists(st.text('ab,"\n;', max_size=10), max_size=12))
def test_each_line_ends_up_in_one_row_in_order(lines: list[str]) -> None:
    text = io.StringIO("".join(f"{line}\n" for line in lines), newline="")
    starts = [line for line, _ in split_rows(text, ",")]
    assert starts == sorted(set(starts))
    assert not starts or starts[0] == 1


@given(st.lists(st.lists(st.sampled_from(["a@example.com", "x", "Zoë", '"']), max_size=4)))
def test_every_data_row_is_a_recipient_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["email", "name"], ["first@example.com", "F"], *rows])
    good, problems = split(path)
    assert len(good) + len(problems) == 1 + sum(any(row) for row in rows)
