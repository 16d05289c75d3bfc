import tomllib
from pathlib import Path

import pytest

from mailer.embedded import place
from mailer.embedded.accounts import open_to_all, temporary_folder
from mailer.embedded.place import Announcement, data_folder
from mailer.errors import ConflictError, UnavailableError


def test_a_running_stack_is_announced_to_its_owner_alone_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / ".mailer" / "up.toml"
    with Announcement(tmp_path) as announcement:
        assert announcement.publish({"database_url": 'postgresql://"\\ü', "pid": 7})
        assert file.stat().st_mode & 0o777 == 0o600
        assert tomllib.loads(file.read_text()) == {"database_url": 'postgresql://"\\ü', "pid": 7}
    assert not file.exists()


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Announcement(tmp_path), pytest.raises(ConflictError, match="already"):
        Announcement(tmp_path).__enter__()
    with Announcement(tmp_path):
        pass


def test_a_file_left_behind_stops_nobody(tmp_path: Path) -> None:
    with Announcement(tmp_path) as announcement:
        announcement.publish({"pid": 1})
        left = (tmp_path / ".mailer" / "up.toml").read_text()
    (tmp_path / ".mailer" / "up.toml").write_text(left)
    with Announcement(tmp_path) as announcement:
        assert announcement.publish({"pid": 2})


def test_where_nothing_can_be_written_nothing_is_announced(tmp_path: Path) -> None:
    (tmp_path / ".mailer").write_text("a file, not a folder")
    with Announcement(tmp_path) as announcement:
        assert not announcement.publish({"pid": 1})


def test_data_is_kept_in_the_folder_itself_where_it_can_be() -> None:
    with temporary_folder() as folder:
        assert data_folder(folder) == folder / ".mailer"


def test_data_goes_elsewhere_when_postgres_could_not_get_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(place, "account", lambda: "nobody")  # as if root ran this
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = data_folder(private)
    assert found.parent == tmp_path
    assert found == data_folder(private)
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_prepared_for_us_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".mailer").write_text("a file, not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = data_folder(tmp_path)
    usual.rmdir()
    usual.symlink_to(tmp_path)
    with pytest.raises(UnavailableError, match="somebody else"):
        data_folder(tmp_path)


def test_programs_can_be_opened_to_all_whatever_the_umask(tmp_path: Path) -> None:
    program, text = tmp_path / "program", tmp_path / "text"
    program.touch(0o700)
    text.touch(0o600)
    open_to_all(tmp_path)
    assert [p.stat().st_mode & 0o777 for p in (tmp_path, program, text)] == [0o755, 0o755, 0o644]
