import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import RecipientsError
from mailer.recipients import read
from mailer.recipients.encoding import detect

from .files import split, written

CHINESE = (
    "邮箱,姓名,城市\nwei@example.com,张伟,北京\n"
    "fang@example.com,王芳,上海\n朱@example.com,朱镕基,长沙\n"
)
WESTERN = "email,name\na@example.com,Jörg Müßig\nb@example.com,Größe Grüße\nc@example.com,café\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-16-le"),
        (CHINESE, "utf-16-be"),
        (CHINESE, "gb18030"),
        (WESTERN, "utf-8"),
        (WESTERN, "utf-16-le"),
        (WESTERN, "latin-1"),
        ("email,name\na@example.com,Zoë’s “shop” – 5 €\n", "cp1252"),
        ("email,name\na@example.com,Grüße\n", "latin-1"),
        ("email,name\na@example.com,Bjørn Ærø ÄÖ\n", "latin-1"),
        ("email,name\na@example.com,Íñigo Peña\n", "latin-1"),
        ("email,name\na@example.com,王\n", "gb18030"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, text: str, encoding: str) -> None:
    good, problems = split(written(tmp_path / "a.csv", text, encoding))
    rows = [line.split(",") for line in text.splitlines()[1:]]
    assert [row.variables["email"] for row in good] == [row[0] for row in rows]
    assert [list(row.variables.values())[1] for row in good] == [row[1] for row in rows]
    assert problems == []


def test_utf_16_big_endian_with_its_mark_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"))
    assert len(split(path)[0]) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "latin-1"])
def test_a_first_letter_outside_ascii_may_come_late(tmp_path: Path, encoding: str) -> None:
    plain = "".join(f"person{number}@example.com,Pat\n" for number in range(60_000))
    name = {"gb18030": "王芳"}.get(encoding, "Jörg")
    path = written(tmp_path / "a.csv", f"email,name\n{plain}z@example.com,{name}\n", encoding)
    *_, last = read(path)
    assert getattr(last, "variables")["name"] == name  # noqa: B009 - or it is a Problem


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1])
def test_a_letter_across_two_chunks_is_no_break(tmp_path: Path, size: int) -> None:
    lines = ("x" * 63 + "\n") * ((1 << 20) // 64)
    content = lines.encode()[: size - 1] + "é\n".encode()
    assert detect(written(tmp_path / "a.csv", content)) == "utf-8"


def test_a_broken_byte_in_utf8_costs_its_own_row_only(tmp_path: Path) -> None:
    content = CHINESE.encode() + b"x@example.com,Ann\xff,Oslo\n" + "y@example.com,艾,x\n".encode()
    good, problems = split(written(tmp_path / "a.csv", content))
    assert len(good) == 4
    assert [(row.line, row.email) for row in problems] == [(5, "x@example.com")]


def test_latin_1_rows_after_utf8_rows_are_reported_and_spoil_none_before(tmp_path: Path) -> None:
    rows = "".join(f"person{number}@example.com,Jörg\n" for number in range(3000))
    content = f"email,name\n{rows}".encode() + rows.encode("latin-1")
    good, problems = split(written(tmp_path / "a.csv", content))
    assert {row.variables["name"] for row in good} == {"Jörg"}
    assert len(good) == len(problems) == 3000


def test_a_letter_cut_off_at_the_end_costs_the_last_row_only(tmp_path: Path) -> None:
    good, problems = split(
        written(tmp_path / "a.csv", (CHINESE + "y@example.com,x,京").encode()[:-1])
    )
    assert len(good) == 3
    assert [row.line for row in problems] == [5]


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 4,
        b"%PDF-1.7\n" + bytes(range(32)) * 40,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000,
        "email,имя\na@example.com,Иван Соловьёв\nb@example.com,Ольга\n".encode("cp1251"),
        "メール,名前\na@example.com,テスト 太郎\nb@example.com,さくら\n".encode("shift-jis"),
        ("email,이름\n" + "a@example.com,김민준 박서연 최지호\n" * 3).encode("cp949"),
        "email,姓名\na@example.com,陳怡君\nb@example.com,林志豪\nc@example.com,黃淑芬\n".encode(
            "big5"
        ),
        b"email,name\na@example.com,\xff\xfe\x80\x81\n",
    ],
)
def test_what_is_not_text_or_in_another_encoding_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RecipientsError, match=r"not a text file|save it as UTF-8"):
        read(written(tmp_path / "a.csv", content))


anything = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"'), max_size=9
)
# Without a mark UTF-16 is told by the zeros of its ASCII.
alphabetic = st.text(st.characters(exclude_categories=["Cc"], max_codepoint=0x2FFF), max_size=9)
# The last two are told by their usual letters, so by text as people write it.
chinese = st.text(
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于 abc,，。", max_size=9
)
western = st.lists(st.sampled_from(["Jörg", "Zoë", "café ", "Ñandú", "Ann", ", "]), max_size=5)
TEXTS = {
    "utf-8": anything,
    "utf-8-sig": anything,
    "utf-16": anything,
    "utf-16-le": alphabetic.map(lambda text: text.replace('"', "'")),
    "utf-16-be": alphabetic.map(lambda text: text.replace('"', "'")),
    "gb18030": chinese.map(lambda text: f"王芳{text}"),
    "latin-1": western.map("".join),
}


@pytest.mark.parametrize("encoding", TEXTS)
@given(data=st.data())
def test_text_in_any_of_the_encodings_comes_back(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, data: st.DataObject
) -> None:
    texts = data.draw(st.lists(TEXTS[encoding], min_size=1, max_size=6))
    content = 'email,"text"\n' + "".join(f'a@example.com,"{text}"\n' for text in texts)
    path = written(tmp_path_factory.mktemp("texts") / "a.csv", content, encoding)
    good, problems = split(path)
    assert [row.variables["text"] for row in good] == texts
    assert problems == []
