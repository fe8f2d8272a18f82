"""A PostgreSQL server for the session, and for each test a migrated database of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import psycopg
import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.dsn import Unreachable, url_of
from pgfleet.schema.database.migrate import migrate
from pgfleet.workers.reservation.machine import KIND
from worlds.again.databases import sharing
from worlds.commands import Pgfleet
from worlds.database import Connection, container, fresh_database, quick_server, temporary_folder
from worlds.fleet import Worker, settings_for, worker_on
from worlds.receiver import Receiver, receiving
from worlds.small.kind import SET_UP
from worlds.small.world import Small, small_world


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        default="embedded",
        metavar="embedded|container|DSN",
        help="where tests run: an embedded server (default), a container, or a server whose connection string is given",
    )
    parser.addoption("--postgres-image", default="postgres:18", help="image for --postgres=container")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Programs that tests start hear Ctrl-C, also where a shell has started the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """HTTP clients read one certificate and not certifi's hundreds, which takes 30 ms each time: no test goes out."""
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def server_dsn(pytestconfig: pytest.Config) -> Iterator[str]:
    """A server on which databases can be made; an embedded one is quick and not durable."""
    where = str(pytestconfig.getoption("--postgres"))
    if where == "embedded":
        with quick_server() as dsn:
            yield dsn
    elif where == "container":
        with container(str(pytestconfig.getoption("--postgres-image"))) as dsn:
            yield dsn
    else:
        yield given_server(where)


def given_server(dsn: str) -> str:
    """As a URL, in which tests put the names of their databases."""
    try:
        return url_of(dsn)
    except Unreachable as error:
        pytest.exit(f"--postgres: give embedded, container, or what libpq takes. {error}", returncode=4)


@pytest.fixture(scope="session")
def template(server_dsn: str) -> Iterator[str]:
    """The name of a migrated database, which every test's database is a copy of."""
    with fresh_database(server_dsn) as dsn:
        migrate(dsn)
        name = urlsplit(dsn).path.removeprefix("/")
        with sharing(server_dsn, name):
            yield name


@pytest.fixture
def dsn(server_dsn: str, template: str) -> Iterator[str]:
    """A migrated database that nobody else uses."""
    with fresh_database(server_dsn, template) as own:
        yield own


@pytest.fixture
def empty_dsn(server_dsn: str) -> Iterator[str]:
    """A database with nothing in it."""
    with fresh_database(server_dsn) as own:
        yield own


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """An autocommit connection to the test's database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def box() -> Iterator[Box]:
    """A Kubernetes cluster with 16 h100 on two nodes, and a machine without GPUs."""
    nodes = ["h100:2x8", "cpu-x86:1x0"]
    with sandbox.running(nodes, ready_delay_s=0.02, termination_delay_s=0.02, scheduling_retry_s=0.05) as running:
        yield running


@pytest.fixture
def worker(dsn: str, box: Box) -> Iterator[Worker]:
    """A reservation worker in the test's own thread."""
    with worker_on(KIND, settings_for(dsn, box)) as running:
        yield running


@pytest.fixture(scope="session")
def small_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """One database for all tests of the runtime, with the tables of their small kind."""
    with fresh_database(server_dsn, template) as own:
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute(SET_UP)
        yield own


@pytest.fixture
def small(small_dsn: str) -> Iterator[Small]:
    """The small kind and its worker, in its emptied database."""
    with small_world(small_dsn) as world:
        yield world


@pytest.fixture(scope="module")
def fleet_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """One database for all tests of a file, which its `conn` empties for each."""
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def pgfleet(
    fleet_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    """The console's command on that database."""
    return Pgfleet(fleet_dsn, monkeypatch, capsys)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somewhere that events may be sent to."""
    with receiving() as running:
        yield running


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory for servers: its path is short, and the account that runs them can go through it."""
    with temporary_folder() as folder:
        yield folder
