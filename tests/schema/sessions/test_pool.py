"""Sessions that threads share: none is used after it was lost, and whoever finds none opens one."""

from collections.abc import Iterator
from threading import Event, Thread

import psycopg
import pytest

from pgfleet.schema.database.pool import Pool
from worlds.database import Connection
from worlds.fleet import PATIENCE_S


@pytest.fixture
def pool(server_dsn: str) -> Iterator[Pool]:
    with Pool(lambda: psycopg.connect(server_dsn, autocommit=True), 3) as opened:
        yield opened


def pid(conn: Connection) -> int:
    return conn.info.backend_pid


def end(server_dsn: str, *pids: int) -> None:
    """Ends sessions, and waits until they are gone."""
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        for each in pids:
            admin.execute("select pg_terminate_backend(%s, 10000)", (each,))


def used(pool: Pool) -> int:
    with pool.connection() as conn:
        conn.execute("select 1")
        return pid(conn)


def test_a_session_is_used_again(pool: Pool) -> None:
    assert used(pool) == used(pool)


def test_a_session_that_was_ended_while_nobody_used_it_is_replaced_unseen(pool: Pool, server_dsn: str) -> None:
    first = used(pool)

    end(server_dsn, first)

    assert used(pool) != first
    assert pool.losses == 0


def lose(pool: Pool, server_dsn: str) -> None:
    """One session is ended while it is used."""
    with pool.connection() as conn:
        end(server_dsn, pid(conn))
        conn.execute("select 1")


def refused(pool: Pool, statement: str) -> None:
    """A statement fails in a session that takes no writes."""
    with pool.connection() as conn:
        conn.execute("set default_transaction_read_only = on")
        try:
            conn.execute(statement.encode())
        finally:
            conn.execute("set default_transaction_read_only = off")


def test_a_session_that_is_lost_takes_along_those_that_were_opened_before(pool: Pool, server_dsn: str) -> None:
    with pool.connection() as one, pool.connection() as other:
        before = {pid(one), pid(other)}

    with pytest.raises(psycopg.OperationalError):
        lose(pool, server_dsn)

    assert used(pool) not in before
    assert pool.losses == 1


def test_a_session_that_has_become_read_only_is_closed(pool: Pool) -> None:
    first = used(pool)

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        refused(pool, "create table public.never ()")

    assert used(pool) != first


def test_a_session_that_comes_back_within_a_transaction_is_not_used_again(pool: Pool) -> None:
    with pool.connection() as conn:
        first = pid(conn)
        conn.execute("begin")

    assert used(pool) != first


def test_an_error_of_a_statement_costs_no_session(pool: Pool) -> None:
    first = used(pool)

    with pytest.raises(psycopg.errors.DivisionByZero):
        refused(pool, "select 1 / 0")

    assert used(pool) == first
    assert pool.trouble is None


def test_who_finds_all_sessions_in_use_waits_for_one_and_no_longer_than_it_said(pool: Pool) -> None:
    with pool.connection(), pool.connection(), pool.connection():
        with pytest.raises(psycopg.OperationalError, match="all sessions were in use"), pool.connection(timeout=0.01):
            pass
        freed = Event()

        def wait() -> None:
            used(pool)
            freed.set()

        waiting = Thread(target=wait)
        waiting.start()
    waiting.join(PATIENCE_S)

    assert freed.is_set()


def test_a_server_that_is_back_is_used_at_once(server_dsn: str) -> None:
    away = [True]

    def open_one() -> Connection:
        if away[0]:
            raise psycopg.OperationalError("away")
        return psycopg.connect(server_dsn, autocommit=True)

    with Pool(open_one, 1) as pool:
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="away"), pool.connection():
                pass
        assert pool.trouble == "away"

        away[0] = False

        assert used(pool) > 0
        assert pool.trouble is None


def test_after_the_end_sessions_are_closed_when_they_come_back(server_dsn: str) -> None:
    pool = Pool(lambda: psycopg.connect(server_dsn, autocommit=True), 3)
    with pool.connection() as conn:
        pool.close()

    assert conn.closed
    with pytest.raises(psycopg.OperationalError), pool.connection():
        pass
