import zipfile
from pathlib import Path

import pytest

from mailer.errors import RecipientsError
from mailer.recipients import read, sheet

from .files import split, workbook, written


def test_a_sheet_gives_text_whole_numbers_and_iso_dates(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "staff.xlsx",
        [
            ["Name", " E-Mail ", "Amount", "Rate", "Born", "Active"],
            ["李伟", "wei@example.com", 42.0, 1.5, 36526, True],
        ],
        dates=frozenset({"E2"}),
    )
    assert read(path).columns == ("name", "e-mail", "amount", "rate", "born", "active")
    [row], problems = split(path)
    assert problems == []
    born = row.variables.pop("born")
    assert str(born).startswith("2000-01-01")
    assert row.variables == {
        "name": "李伟",
        "e-mail": "wei@example.com",
        "email": "wei@example.com",
        "amount": 42,
        "rate": 1.5,
        "active": True,
    }


def test_lines_are_the_rows_that_excel_shows(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "a.xlsx",
        [[], [], ["email", "n"], [None], ["a@example.com", 1], ["bad", 2], [None, 3], [7, 8]],
    )
    good, problems = split(path)
    assert [row.line for row in good] == [5]
    assert [(row.line, row.email) for row in problems] == [(6, "bad"), (7, ""), (8, "7")]


def test_a_workbook_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    path = workbook(tmp_path / "people.data", [["email"], ["a@example.com"]])
    assert len(split(path)[0]) == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "the first sheet is empty"),
        ([["email", "n"]], "no recipients"),
        ([["name", 5.0], ["x", 1]], "no email column among: “name”, “5”"),
        ([["email", "n", "N"], ["x", 1, 2]], "“n” is there twice"),
    ],
)
def test_a_sheet_without_recipients_is_refused(
    tmp_path: Path, rows: list[list[str | float | bool | None]], reason: str
) -> None:
    with pytest.raises(RecipientsError, match=reason):
        read(workbook(tmp_path / "a.xlsx", rows))


def test_a_file_that_is_no_workbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipientsError, match=r"not an \.xlsx workbook"):
        read(written(tmp_path / "a.xlsx", b"PK\x03\x04 torn"))
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(RecipientsError, match="cannot be read as a workbook"):
        read(tmp_path / "b.xlsx")


def test_a_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "_UNPACKED", 100)
    with pytest.raises(RecipientsError, match="save it as CSV"):
        read(workbook(tmp_path / "a.xlsx", [["email"], ["a@example.com"]]))
