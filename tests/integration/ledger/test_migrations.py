import psycopg
import pytest

from mailer import UnavailableError
from mailer.db import Database, migrate


def test_a_ledger_of_a_later_version_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnavailableError, match="another version"):
        migrate(database_url)


def test_a_user_without_rights_is_told_in_one_line(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(UnavailableError, match=r"^database: permission denied"):
        ask(database_url.replace("mailer@", "reader@"), "SELECT * FROM campaigns")


def test_a_read_only_server_is_told_in_one_line(database_url: str) -> None:
    url = database_url + "&options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(UnavailableError, match=r"^database: .*read-only"):
        ask(url, "DELETE FROM campaigns")


def test_a_defect_in_a_statement_is_not_hidden(database_url: str) -> None:
    with pytest.raises(Exception, match="syntax error"):
        ask(database_url, "SELEC 1")


def test_a_pool_in_use_is_told_in_one_line(database_url: str) -> None:
    database = Database(database_url, connections=1)
    database.engine.pool._timeout = 0.01  # type: ignore[attr-defined]
    refused = pytest.raises(UnavailableError, match="QueuePool")
    with database.begin(), database.begin(), refused, database.begin():
        pass
    database.close()


def ask(url: str, statement: str) -> None:
    database = Database(url, connections=1)
    try:
        with database.begin() as connection:
            connection.exec_driver_sql(statement)
    finally:
        database.close()
