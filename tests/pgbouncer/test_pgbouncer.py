"""The program through a transaction pooler; run by `make pgbouncer-test` where pgbouncer is on the PATH."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from pgbouncer.pooler import SERVER_CONNECTIONS, pooler
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import UnusableDatabase, connect
from worlds.database import comparable, dump, temporary_folder
from worlds.fleet import REPOSITORY, Connection, assert_sound, until, worker_environment, worker_process
from worlds.reservations import ask, create, letters

NUMBER = 50
# What a session may hold on to, which the next client of its connection would find.
SESSION = """
  select pg_backend_pid(), current_setting('statement_timeout'),
    current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'),
    coalesce(current_setting('pgfleet.actor', true), ''),
    (select count(*) from pg_prepared_statements),
    (select count(*) from pg_cursors where is_holdable),
    (select count(*) from pg_class where relpersistence = 't' and relnamespace = pg_my_temp_schema()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
"""
CLEAN = ("0", "0", "0", "", 0, 0, 0, 0)
CHANNELS = "select pg_backend_pid(), (select count(*) from pg_listening_channels())"


@pytest.fixture(scope="session")
def pooler_url(server_dsn: str) -> Iterator[str]:
    with temporary_folder() as folder, pooler(server_dsn, folder) as url:
        yield url


@pytest.fixture
def pooled_dsn(pooler_url: str, dsn: str) -> str:
    """The test's migrated database, through the pooler."""
    return pooler_url + urlsplit(dsn).path


@pytest.fixture
def pooled_empty_dsn(pooler_url: str, empty_dsn: str) -> str:
    return pooler_url + urlsplit(empty_dsn).path


def test_migrating_through_the_pooler_makes_the_same_database(pooled_empty_dsn: str, empty_dsn: str, dsn: str) -> None:
    first = migrate(pooled_empty_dsn)
    second = migrate(pooled_empty_dsn)

    assert [file.version for file in first] == [file.version for file in sql_files()]
    assert second == []
    assert comparable(dump(empty_dsn)) == comparable(dump(dsn))
    assert_nothing_is_left_in_sessions(pooled_empty_dsn)


def test_four_programs_at_once_apply_every_file_once(pooled_empty_dsn: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(migrate_command, [{"DATABASE_URL": pooled_empty_dsn}] * 4))

    assert sorted(text.count("applied ") for text in said) == [0, 0, 0, len(sql_files())]


def test_the_command_migrates_over_the_direct_url(pooled_empty_dsn: str, empty_dsn: str, dsn: str) -> None:
    said = migrate_command({"DATABASE_URL": pooled_empty_dsn, "DATABASE_DIRECT_URL": empty_dsn})

    assert said.count("applied ") == len(sql_files())
    assert comparable(dump(empty_dsn)) == comparable(dump(dsn))


@pytest.mark.parametrize("told", [True, False], ids=["told of the pooler", "finds it out"])
def test_a_worker_takes_50_reservations_through_their_life(
    pooled_dsn: str, dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    if told:
        monkeypatch.setenv("DATABASE_DIRECT_URL", dsn)
    conn.execute("update public.gpu_types set total_cluster_gpus = 64 where gpu_type = 'h100'")
    settings: dict[str, Any] = {"pod_poll_s": 0.1, "teardown_poll_s": 0.1}
    with (
        sandbox.spawned(["h100:8x8"], ready_delay_s=0.05, termination_delay_s=0.05) as box,
        psycopg.connect(pooled_dsn, autocommit=True, prepare_threshold=None) as producer,
        worker_process(pooled_dsn, box, **settings),
    ):
        rows = [create(producer, gpu_count=1) for _ in range(NUMBER)]
        until(lambda: number(producer, "status = 'active'") == NUMBER, within_s=60, what="the start of all rows")
        for row_id in rows:
            ask(producer, "cancel", row_id)
        until(lambda: number(producer, "reservation_ended is not null") == NUMBER, within_s=60, what="their end")
        pods = box.state()["objects"]["pods"]

    assert number(conn, "status = 'cancelled'") == NUMBER
    assert letters(conn) == []
    assert pods == 0
    assert_sound(conn)
    assert_nothing_is_left_in_sessions(pooled_dsn)


def test_a_worker_that_finds_the_pooler_out_does_not_listen_there(
    pooled_dsn: str, conn: Connection, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)

    with worker_process(pooled_dsn, box):
        create(conn)
        until(lambda: number(conn, "status = 'active'") == 1, within_s=60, what="the start of the row")

    found = in_every_session(pooled_dsn, CHANNELS)
    assert found == dict.fromkeys(found, (0,))


def test_sessions_of_a_pooler_have_the_formats_that_we_rely_on(pooled_dsn: str, dsn: str) -> None:
    configure(dsn, "DateStyle = 'German, DMY'", "TimeZone = 'Pacific/Chatham'", "client_encoding = 'LATIN1'")
    formats = "select current_setting('DateStyle'), current_setting('TimeZone'), current_setting('client_encoding')"

    with ExitStack() as stack:
        # More clients than connections: each gets one that another has just had.
        ours = [stack.enter_context(connect(pooled_dsn, autocommit=True)) for _ in range(2 * SERVER_CONNECTIONS)]
        other = stack.enter_context(psycopg.connect(pooled_dsn, autocommit=True, prepare_threshold=None))
        found = {client.execute(formats).fetchone() for client in ours for _ in range(2)}
        left = other.execute("select current_setting('DateStyle')").fetchone()

    assert found == {("ISO, MDY", "UTC", "UTF8")}
    assert left == ("German, DMY",)


def test_a_pooler_whose_sessions_are_serializable_is_refused_by_name(pooled_dsn: str, dsn: str) -> None:
    configure(dsn, "default_transaction_isolation = 'serializable'")

    with pytest.raises(UnusableDatabase, match="default_transaction_isolation = 'serializable'"):
        connect(pooled_dsn)


def configure(dsn: str, *settings: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        for setting in settings:
            admin.execute(f"alter database {admin.info.dbname} set {setting}".encode())


def assert_nothing_is_left_in_sessions(pooled_dsn: str) -> None:
    found = in_every_session(pooled_dsn, SESSION)
    assert found == dict.fromkeys(found, CLEAN)


def in_every_session(pooled_dsn: str, query: str) -> dict[int, tuple[Any, ...]]:
    """What each of the pooler's connections to the server answers, by its backend: all of them are held at once."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(psycopg.connect(pooled_dsn, prepare_threshold=None)) for _ in range(SERVER_CONNECTIONS)
        ]
        answers = [client.execute(query.encode()).fetchone() for client in clients]
    found = {answer[0]: answer[1:] for answer in answers if answer is not None}
    assert len(found) == SERVER_CONNECTIONS
    return found


def number(conn: Connection, condition: str) -> int:
    row = conn.execute(f"select count(*) from public.reservations where {condition}".encode()).fetchone()
    return 0 if row is None else row[0]


def migrate_command(urls: dict[str, str]) -> str:
    environment = {**worker_environment("", None), **urls}
    command = [sys.executable, "-m", "pgfleet.console.main", "migrate"]
    ended = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
