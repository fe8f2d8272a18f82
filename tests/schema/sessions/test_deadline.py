"""A server, or what is before it, that takes all and answers nothing: no wait for it lasts longer than was said."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgfleet.schema.database.deadline import Session, Silent
from worlds.network.proxy import Proxy, proxy_to


@pytest.fixture
def proxy(server_dsn: str) -> Iterator[Proxy]:
    with proxy_to(server_dsn) as running:
        yield running


def session_through(proxy: Proxy) -> Session:
    session = Session.connect(proxy.dsn, autocommit=True)
    session.longest_s = 60
    return session


def silence(proxy: Proxy, session: Session) -> None:
    """From now on nothing is answered; until now a busy machine had its time."""
    proxy.flowing.clear()
    session.longest_s = 0.2


def fetch(session: Session) -> None:
    session.execute("select 1").fetchall()


def pipeline(session: Session) -> None:
    with session.pipeline():
        session.execute("select 1")
        session.execute("select 2")


def transaction(session: Session) -> None:
    with session.transaction():
        session.execute("select 1")


def copy_in(session: Session) -> None:
    with session.cursor().copy("copy pg_temp.t from stdin") as copy:
        copy.write("1\n")


def copy_out(session: Session) -> None:
    with session.cursor().copy("copy (select 1) to stdout") as copy:
        list(copy)


def many(session: Session) -> None:
    session.cursor().executemany("select %s", [(1,), (2,)])


def stream(session: Session) -> None:
    list(session.cursor().stream("select 1"))


def more_than_the_kernel_takes(session: Session) -> None:
    """The bytes do not even leave the process."""
    session.execute("select length(%s)", ("x" * 50_000_000,))


WAITS = [fetch, pipeline, transaction, copy_in, copy_out, many, stream, more_than_the_kernel_takes]


@pytest.mark.parametrize("wait", WAITS)
def test_no_wait_lasts_longer_than_was_said_and_the_session_is_closed(
    proxy: Proxy, wait: Callable[[Session], None]
) -> None:
    session = session_through(proxy)
    silence(proxy, session)

    with pytest.raises(psycopg.OperationalError) as raised:
        wait(session)

    assert isinstance(raised.value, Silent)
    assert session.closed


def test_a_commit_that_is_not_answered_is_given_up(proxy: Proxy) -> None:
    session = session_through(proxy)
    session.execute("begin")
    silence(proxy, session)

    with pytest.raises(Silent):
        session.commit()

    assert session.closed


def test_rows_that_stop_coming_are_given_up(proxy: Proxy) -> None:
    session = session_through(proxy)
    rows = session.cursor().stream("select repeat('x', 1000) from generate_series(1, 100000)")
    next(rows)
    silence(proxy, session)

    with pytest.raises(Silent):
        list(rows)

    assert session.closed


def test_a_block_ends_without_waiting_for_a_session_that_was_given_up(proxy: Proxy) -> None:
    session = session_through(proxy)
    silence(proxy, session)

    with pytest.raises(Silent), session:
        fetch(session)

    assert session.closed


def test_whoever_waits_for_notifications_may_find_none(proxy: Proxy) -> None:
    with session_through(proxy) as session:
        session.longest_s = 0.2
        assert list(session.notifies(timeout=0.3)) == []
        assert not session.closed


def test_a_statement_that_may_take_any_time_is_waited_for(server_dsn: str) -> None:
    with Session.connect(server_dsn) as session:
        session.longest_s = None

        assert session.execute("select pg_sleep(0.3)").fetchone() is not None
