"""How workers learn of messages: the ring of a send, the listener, and what finds a message that rang unheard."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Outgoing
from pgfleet.workers.runtime.broker import ClaimConsumer
from pgfleet.workers.runtime.wake import Listener
from worlds.fleet import Connection, until
from worlds.small.kind import QUEUE, do, small_kind
from worlds.small.world import Small

LISTENERS = "select pid from pg_stat_activity where query ilike 'listen%%' and datname = current_database()"


@contextmanager
def listening(small: Small) -> Iterator[Connection]:
    with psycopg.connect(small.dsn, autocommit=True) as conn:
        conn.execute("listen small_jobs")
        yield conn


def heard(conn: Connection) -> list[str]:
    """The channels of all notices that have come; what a commit has sent is there when the commit returns."""
    return [notice.channel for notice in conn.notifies(timeout=0.2)]


@contextmanager
def listener_on(small: Small) -> Iterator[threading.Event]:
    """A listener that is listening, and has rung once for what was there before."""
    arrived = threading.Event()
    listener = Listener(small.dsn, {QUEUE: arrived})
    listener.start()
    try:
        assert arrived.wait(10)
        arrived.clear()
        yield arrived
    finally:
        listener.stop()
        listener.join(10)
        assert not listener.is_alive()


def test_a_send_rings(small: Small) -> None:
    with listening(small) as ear:
        small.send(do(1))

        assert heard(ear) == [QUEUE]


def test_many_sends_in_one_commit_ring_once(small: Small) -> None:
    with listening(small) as ear:
        with psycopg.connect(small.dsn) as producer:
            for n in range(20):
                producer.execute("select pgmq.send('small_jobs', '{}'::jsonb)")
                kernel.send(producer, QUEUE, [Outgoing(n), Outgoing(n)])

        assert heard(ear) == [QUEUE]


def test_a_send_that_is_rolled_back_rings_nobody(small: Small) -> None:
    with listening(small) as ear:
        with psycopg.connect(small.dsn) as producer:
            kernel.send(producer, QUEUE, [Outgoing(1)])
            producer.rollback()

        assert heard(ear) == []


def test_claims_renewals_and_returns_ring_nobody(small: Small) -> None:
    small.send(do(small.job(1), "raise"))
    with listening(small) as ear:
        small.worker.run_once()

        assert heard(ear) == []


def test_a_producer_never_waits_for_another_that_has_not_committed(small: Small) -> None:
    with psycopg.connect(small.dsn) as slow, psycopg.connect(small.dsn, autocommit=True) as quick:
        kernel.send(slow, QUEUE, [Outgoing(1)])
        quick.execute("set lock_timeout = '1s'")

        for _ in range(3):
            kernel.send(quick, QUEUE, [Outgoing(2)])

        assert len(small.queue()) == 3


def test_a_producer_that_rings_after_one_that_has_not_committed_is_heard_with_it(small: Small) -> None:
    with listening(small) as ear:
        with psycopg.connect(small.dsn) as slow:
            kernel.send(slow, QUEUE, [Outgoing(1)])
            small.send(do(1))
            assert heard(ear) == [], "it left the ringing to the other"

        assert heard(ear) == [QUEUE]


def test_two_queues_ring_apart(small: Small) -> None:
    small.conn.execute("select public.ring_on_send('small_events')")
    try:
        with listening(small) as ear:
            ear.execute("listen small_events")
            with psycopg.connect(small.dsn) as slow:
                kernel.send(slow, QUEUE, [Outgoing(1)])
                kernel.send(small.conn, "small_events", [Outgoing(1)])

                assert heard(ear) == ["small_events"]
    finally:
        small.conn.execute("drop trigger ring on pgmq.q_small_events")


def test_the_listener_rings_the_bell_of_a_send(small: Small) -> None:
    with listener_on(small) as arrived:
        small.send(do(1))

        assert arrived.wait(5)


def test_the_listener_comes_back_after_its_connection_was_ended_and_rings_for_what_it_missed(small: Small) -> None:
    with listener_on(small) as arrived:
        (pid,) = small.all(LISTENERS)
        small.one("select pg_terminate_backend(%s)", (pid,))
        small.send(do(1))
        assert arrived.wait(10), "it rings when it is back, whatever it missed"
        until(lambda: small.all(LISTENERS) not in ([], [pid]), within_s=5)
        arrived.clear()

        small.send(do(1))

        assert arrived.wait(5)


def seconds_until_claimed(small: Small, poll_s: float, then: Callable[[], object]) -> float:
    """From `then` to the claim of what it sent, by an idle consumer that has reached its longest pause."""
    settings = small.worker.running.settings.model_copy(update={"poll_s": poll_s})
    running = replace(small.worker.running, settings=settings, kind=small_kind())
    consumer = ClaimConsumer(running, claims=1, timeout_s=0.01)
    for _ in range(5):
        assert next(consumer) is None
    found = threading.Event()

    def consume() -> None:
        until(lambda: next(consumer), within_s=10, what="a claim")
        found.set()

    threading.Thread(target=consume).start()
    started = time.monotonic()
    then()
    assert found.wait(10)
    return time.monotonic() - started


def test_an_idle_worker_that_hears_the_bell_claims_at_once(small: Small) -> None:
    def send() -> None:
        small.send(do(1))
        small.worker.running.arrived.set()

    assert seconds_until_claimed(small, 1, send) < 0.5


def test_a_lost_wake_up_costs_no_more_than_the_safety_poll(small: Small) -> None:
    assert seconds_until_claimed(small, 0.3, lambda: small.send(do(1))) < 0.3 + 0.5
