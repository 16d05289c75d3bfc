"""Real workers, beats and Flower, on a ledger and a broker of their own."""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mailer.embedded.catcher import Catcher, accept
from mailer.embedded.servers import Redis
from tests.conftest import fresh_database
from tests.e2e.system import System

MakeSystem = Callable[..., AbstractContextManager[System]]
_SHOWN = 60  # lines of each process in the report of a failure


@pytest.fixture(scope="session")
def make_system(
    postgres_url: str, server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeSystem:
    """Makes installations; each has its own database, broker, catcher and settings."""

    @contextmanager
    def make(*, broker: str | None = None, config: str = "") -> Iterator[System]:
        folder = tmp_path_factory.mktemp("system")
        with (
            fresh_database(postgres_url) as database,
            Redis(folder) as redis,
            Catcher() as catcher,
            System(
                folder, database, broker or redis.url, catcher, redis=redis.url, config=config
            ) as system,
        ):
            yield system

    return make


@pytest.fixture(scope="session")
def running(make_system: MakeSystem) -> Iterator[System]:
    """Two workers and a beat, for all tests that leave them as they found them."""
    with make_system() as system:
        programs = [system.worker("w1", "-c", "2"), system.worker("w2", "-c", "2"), system.beat()]
        yield system
        for program in programs:
            program.end()


@pytest.fixture
def system(running: System) -> System:
    """The running system, its catcher taking everything."""
    running.catcher.script = accept
    return running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process of pytest-xdist runs them all (``--dist loadgroup``), so that they share one
    running system.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes printed when a test failed."""
    report = yield
    systems = [v for v in getattr(item, "funcargs", {}).values() if isinstance(v, System)]
    if report.failed:
        for process in {id(p): p for system in systems for p in system.processes}.values():
            report.sections.append((process.name, "\n".join(process.lines[-_SHOWN:])))
    return report
