"""A database that ends sessions, turns read-only or is silent: what a worker does meanwhile, and afterwards."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from pgfleet.schema.database.deadline import Silent
from pgfleet.schema.database.sessions import is_pooler as real
from pgfleet.schema.errors import FleetError
from pgfleet.workers.runtime import leases as renewals
from pgfleet.workers.runtime import serve, wake
from pgfleet.workers.runtime.leases import LeaseKeeper
from pgfleet.workers.runtime.wake import Listener
from worlds.fleet import PATIENCE_S, Worker, settings_for, until, worker_on
from worlds.network.proxy import Proxy, proxy_to
from worlds.small.kind import QUEUE, do, small_kind
from worlds.small.world import Small

END_OTHERS = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
)
JOBS = 40


@pytest.fixture
def proxy(small: Small) -> Iterator[Proxy]:
    with proxy_to(small.dsn) as running:
        yield running


@contextmanager
def ending_sessions(small: Small, every_s: float) -> Iterator[None]:
    """All sessions but one are ended again and again, as often as a busy machine leaves time to open and use one."""
    stopping = threading.Event()

    def run() -> None:
        with psycopg.connect(small.dsn, autocommit=True) as conn:
            opened_s = 0.0
            while not stopping.wait(max(every_s, 3 * opened_s)):
                conn.execute(END_OTHERS)
                began_at = time.monotonic()
                psycopg.connect(small.dsn).close()
                opened_s = time.monotonic() - began_at

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def work_on(worker: Worker) -> None:
    """As a consumer does, which goes on after an error of the database."""
    with suppress(psycopg.Error):
        worker.run_once(1)


def test_work_goes_on_while_all_sessions_are_ended_again_and_again(small: Small) -> None:
    for number in range(JOBS):
        small.send(do(number))
    small.conn.close()

    with worker_on(small_kind(), settings_for(small.dsn)) as worker, ending_sessions(small, 0.05):
        until(lambda: len(made(small)) == JOBS, within_s=30, work=lambda: work_on(worker))

    assert made(small) == ["ready"] * JOBS


def made(small: Small) -> list[str]:
    """The statuses of all jobs: one that was done twice has moved on."""
    for _ in range(100):
        with suppress(psycopg.OperationalError), psycopg.connect(small.dsn) as conn:
            return [row[0] for row in conn.execute("select status from public.small_jobs")]
    raise AssertionError("no session lasts as long as a query")


def test_sessions_that_stay_silent_are_given_up_and_work_goes_on_in_new_ones(
    small: Small, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "GRACE_S", 0.1)
    small.send(do(1))
    with worker_on(small_kind(), settings_for(proxy.dsn, statement_timeout_s=1.9)) as worker:
        worker.claim(limit=0)
        proxy.silence()

        with pytest.raises(Silent):
            worker.run_once()
        lacking = worker.running.pool.lacking()
        worker.run()

        assert lacking == ["the database: the server has said nothing for 2 s"]
        assert worker.running.pool.lacking() == []
    assert small.history() == ["ready"]


def test_a_session_that_falls_silent_before_its_commit_lets_go_of_its_messages(small: Small) -> None:
    small.send(do(1))
    with (
        worker_on(small_kind(), settings_for(small.dsn, statement_timeout_s=0.2)) as silent,
        silent.running.pool.connection() as conn,
    ):
        with conn.pipeline():
            conn.execute("begin")
            conn.execute("delete from pgmq.q_small_jobs")
        until(lambda: held(small) == 1, what="a message that is held")

        until(lambda: held(small) == 0, what="a message that is free")

        assert len(small.worker.claim()) == 1


def held(small: Small) -> int:
    """How many messages somebody has locked."""
    free = "with free as materialized (select msg_id from pgmq.q_small_jobs for update skip locked)"
    found = small.one(f"{free} select count(*) from pgmq.q_small_jobs where msg_id not in (select msg_id from free)")
    return int(found)


def test_a_silent_keeper_of_leases_is_back_while_they_last(
    small: Small, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "ANSWER_S", 0.1)
    msg_id = small.send(do(1))
    small.worker.claim()
    keeper = LeaseKeeper(proxy.dsn, {QUEUE: small.worker.running.leases}, 0.6)
    keeper.renew()
    proxy.silence()
    small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now() + interval '20 s'")

    keeper.start()
    until(lambda: small.due_s(msg_id) > 30, within_s=10, what="a renewal")
    keeper.stop()
    keeper.join()


@contextmanager
def listening(
    dsn: str, arrived: threading.Event, losses: Callable[[], int] = lambda: 0, ask_s: float = 60
) -> Iterator[Listener]:
    listener = Listener(dsn, {QUEUE: arrived}, losses, ask_s)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
        listener.join(PATIENCE_S)
        assert not listener.is_alive()


def assert_hears(small: Small, arrived: threading.Event) -> None:
    """A send rings, once the listener is back, which rings as well."""
    assert arrived.wait(PATIENCE_S)
    arrived.clear()
    small.send(do(1))
    assert arrived.wait(PATIENCE_S)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.ReadOnlySqlTransaction("cannot execute LISTEN during recovery"),
        psycopg.errors.InsufficientPrivilege("not now"),
        psycopg.InterfaceError("odd"),
        FleetError("a pooler, for a while"),
        RuntimeError("nobody has foreseen it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_listener_comes_back_whatever_it_was_answered(
    small: Small, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(wake, "RECONNECT_S", 0.01)
    answers = [error]

    def is_pooler(conn: psycopg.Connection[tuple[object, ...]]) -> bool:
        if answers:
            raise answers.pop()
        return real(conn)

    monkeypatch.setattr(wake, "is_pooler", is_pooler)
    arrived = threading.Event()
    with listening(small.dsn, arrived):
        assert_hears(small, arrived)


def test_the_listener_goes_where_sessions_go_that_others_have_lost(small: Small, proxy: Proxy) -> None:
    arrived, losses = threading.Event(), [0]
    with listening(proxy.dsn, arrived, lambda: losses[0]):
        assert arrived.wait(PATIENCE_S)
        arrived.clear()
        proxy.silence()

        losses[0] += 1

        assert_hears(small, arrived)


def test_a_listener_whose_server_is_silent_connects_again(
    small: Small, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "ANSWER_S", 0.2)
    arrived = threading.Event()
    with listening(proxy.dsn, arrived, ask_s=0.1):
        assert arrived.wait(PATIENCE_S)
        arrived.clear()

        proxy.silence()

        assert_hears(small, arrived)


def test_a_listener_whose_server_has_become_read_only_connects_again(small: Small) -> None:
    arrived = threading.Event()
    with listening(small.dsn, arrived, ask_s=0.1):
        assert arrived.wait(PATIENCE_S)
        arrived.clear()
        try:
            small.conn.execute("alter system set default_transaction_read_only = on")
            small.conn.execute("select pg_reload_conf()")

            until(lambda: not small.all(LISTENERS), within_s=10, what="a listener that has left")
        finally:
            small.conn.execute("alter system reset default_transaction_read_only")
            small.conn.execute("select pg_reload_conf()")

        assert_hears(small, arrived)


LISTENERS = """
select pid from pg_stat_activity
where datname = current_database() and (query ilike 'listen%%' or query like 'show transaction_read_only')
"""
