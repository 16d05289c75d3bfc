from pathlib import Path

import pytest

from mailer.errors import MessageError, TemplateError
from mailer.message import Attachment, digest_of
from mailer.render import PersonalFile, compile_message
from tests.unit.render.make import make, parse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    below = tmp_path / "payslips"
    (below / "sub").mkdir(parents=True)
    (below / "张伟.pdf").write_bytes(b"%PDF zhang")
    (below / "sub" / "b.txt").write_bytes(b"b")
    (tmp_path / "secret.pdf").write_bytes(b"secret")
    (below / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (below / "inner.pdf").symlink_to(below / "张伟.pdf")
    return below


def find(path: str, folder: Path | None, name: str | None = None, **values: object) -> PersonalFile:
    message = make(attachments=[Attachment.per_recipient(path, name=name)])
    (found,) = compile_message(message).attachments(values, folder)
    return found


def test_a_recipients_file_is_found_below_the_folder(folder: Path) -> None:
    found = find("{{ person }}.pdf", folder, name="{{ person }} 十一月.pdf", person="张伟")
    assert (found.name, found.type) == ("张伟 十一月.pdf", "application/pdf")
    assert (found.digest, found.read()) == (digest_of(b"%PDF zhang"), b"%PDF zhang")
    assert find("{{ f }}", folder, f="sub/b.txt").name == "b.txt"
    assert find("{{ f }}", folder, f=str(folder / "sub" / "b.txt")).type == "text/plain"
    assert find("inner.pdf", folder).digest == digest_of(b"%PDF zhang")


@pytest.mark.parametrize(
    "path",
    ["../secret.pdf", "sub/../../secret.pdf", "link.pdf", "/etc/passwd", "none.pdf", "sub", "",
     "a\0b", "..\\secret.pdf", "sub/../张伟.pdf", "x" * 5000],
)  # fmt: skip
def test_there_is_no_way_out_of_the_folder_and_no_file_that_is_not_there(
    folder: Path, path: str
) -> None:
    with pytest.raises(MessageError) as caught:
        find("{{ f }}", folder, f=path)
    assert caught.value.field == "attachments"
    with pytest.raises(MessageError, match="no folder"):
        find("{{ f }}", None, f=path)


def test_a_recipient_without_a_path_is_named(folder: Path) -> None:
    with pytest.raises(TemplateError, match="'f' has no value"):
        find("{{ f }}", folder)


def test_bytes_may_be_given_per_recipient() -> None:
    found = find("{{ f }}", None, name="a {{ n }}.pdf", f=b"%PDF", n=1)
    assert (found.name, found.type, found.read()) == ("a 1.pdf", "application/pdf", b"%PDF")
    own = Attachment.from_bytes(b"x", "own.csv")
    assert find("{{ f }}", None, f=own) == PersonalFile(
        digest_of(b"x"), "own.csv", "text/csv", b"x"
    )
    with pytest.raises(MessageError, match="need a name"):
        find("{{ f }}", None, f=b"%PDF")


def test_a_file_that_changed_after_it_was_found_is_not_taken(folder: Path) -> None:
    found = find("sub/b.txt", folder)
    (folder / "sub" / "b.txt").write_bytes(b"changed")
    with pytest.raises(MessageError, match="changed"):
        found.read()
    (folder / "sub" / "b.txt").unlink()
    with pytest.raises(MessageError, match="No such file"):
        found.read()


def test_a_preview_holds_the_recipients_own_file(folder: Path) -> None:
    message = make(attachments=[Attachment.per_recipient("{{ name }}.pdf")])
    mail = compile_message(message).preview(
        {"name": "张伟"}, email="zhang@example.com", folder=folder
    )
    (part,) = parse(mail).iter_attachments()
    assert (part.get_filename(), part.get_content()) == ("张伟.pdf", b"%PDF zhang")


def test_files_without_contents_to_read_are_an_error() -> None:
    message = make(attachments=[Attachment.per_recipient("{{ f }}")])
    compiled = compile_message(message)
    mail = compiled.preview({"f": Attachment.from_bytes(b"x", "a.txt")}, email="a@example.com")
    assert b"a.txt" in mail.content
