"""How workers learn of messages: the ring of a send, the listener, and what finds a message that rang unheard."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Outgoing
from pgfleet.workers.runtime.broker import ClaimConsumer
from pgfleet.workers.runtime.wake import Listener
from worlds.fleet import PATIENCE_S, Connection, stop_clock, until
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
    listener = Listener(small.dsn, {QUEUE: arrived}, lambda: 0)
    listener.start()
    try:
        assert arrived.wait(PATIENCE_S)
        arrived.clear()
        yield arrived
    finally:
        listener.stop()
        listener.join(PATIENCE_S)
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


def test_a_worker_that_finds_nothing_to_do_rings_nobody(small: Small) -> None:
    consumer = ClaimConsumer(small.worker.running, claims=2, timeout_s=0.01)
    next(consumer)
    with listening(small) as ear:
        consumer.periodic_at = 0
        next(consumer)

        assert heard(ear) == []


def test_a_producer_never_waits_for_another_that_has_not_committed(small: Small) -> None:
    with psycopg.connect(small.dsn) as slow, psycopg.connect(small.dsn, autocommit=True) as quick:
        kernel.send(slow, QUEUE, [Outgoing(1)])
        quick.execute("set lock_timeout = '60s'")

        for _ in range(3):
            kernel.send(quick, QUEUE, [Outgoing(2)])

        assert len(small.queue()) == 3


def test_a_producer_that_rings_after_one_that_has_not_committed_is_heard_at_once(small: Small) -> None:
    with listening(small) as ear, psycopg.connect(small.dsn) as slow:
        kernel.send(slow, QUEUE, [Outgoing(1)])

        small.send(do(1))

        assert heard(ear) == [QUEUE]


LOCKS = """
select pg_advisory_lock(hashtext('pgfleet.ring'), 'pgmq.q_small_jobs'::regclass::oid::integer),
  pg_advisory_lock(hashtext('pgfleet.ring')), pg_advisory_lock(hashtext('pgfleet.create_queue'), hashtext('small_jobs'))
"""


def test_no_lock_that_any_login_can_take_keeps_a_send_from_ringing_or_a_queue_from_being_made(small: Small) -> None:
    with listening(small) as ear, psycopg.connect(small.dsn) as other:
        other.execute(LOCKS)
        small.conn.execute("set lock_timeout = '5s'")

        small.send(do(1))
        small.conn.execute("select public.create_queue('small_jobs')")

        assert heard(ear) == [QUEUE]


def test_while_a_message_that_has_just_become_due_is_not_taken_sends_do_not_ring(small: Small) -> None:
    stop_clock(small.conn)
    small.send(do(1))
    with listening(small) as ear:
        small.send(do(1))
        assert heard(ear) == []

        claims.claim(small.conn, QUEUE, 10, small.worker.running.settings.lease)
        small.send(do(1))

        assert heard(ear) == [QUEUE]


@pytest.mark.parametrize("delay_s", [-0.2, 60])
def test_what_was_due_before_that_or_is_not_due_yet_keeps_no_send_from_ringing(small: Small, delay_s: float) -> None:
    stop_clock(small.conn)
    small.send(do(1), delay_s=delay_s)
    with listening(small) as ear:
        small.send(do(1))

        assert heard(ear) == [QUEUE]


def test_a_send_within_a_part_of_a_transaction_rings(small: Small) -> None:
    with listening(small) as ear:
        small.conn.execute(
            "do $$ begin perform pgmq.send('small_jobs', '{}'); exception when others then raise; end $$"
        )

        assert heard(ear) == [QUEUE]


OF_BEFORE = """
create function public.ring() returns trigger language plpgsql as 'begin return null; end';
create or replace trigger ring after insert on pgmq.q_small_jobs for each statement
  execute function public.ring('small_jobs');
"""


def test_a_queue_that_rang_after_each_insert_by_a_function_of_all_rings_before_by_its_own(small: Small) -> None:
    small.conn.execute(OF_BEFORE)
    try:
        small.conn.execute("select public.ring_on_send(queue_name) from public.fleet_queues")

        rings = "from pg_trigger where tgname = 'ring' and tgrelid = 'pgmq.q_small_jobs'::regclass"
        assert small.one(f"select tgtype & 2 {rings}") == 2
        assert small.one(f"select tgfoid::regproc::text {rings}") == "ring_for_small_jobs"
    finally:
        small.conn.execute("drop function public.ring() cascade")


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

        assert arrived.wait(PATIENCE_S)


def test_the_listener_comes_back_after_its_connection_was_ended_and_rings_for_what_it_missed(small: Small) -> None:
    with listener_on(small) as arrived:
        (pid,) = small.all(LISTENERS)
        small.one("select pg_terminate_backend(%s)", (pid,))
        small.send(do(1))
        assert arrived.wait(PATIENCE_S), "it rings when it is back, whatever it missed"
        until(lambda: small.all(LISTENERS) not in ([], [pid]))
        arrived.clear()

        small.send(do(1))

        assert arrived.wait(PATIENCE_S)


class Waits(threading.Event):
    """Notes how long it was waited for, and waits only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float | None] = []
        self.real = False

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout)
        return super().wait(timeout) if self.real else self.is_set()


def claimed_after(small: Small, poll_s: float, then: Callable[[Waits], object]) -> Waits:
    """An idle consumer, which has reached its longest pause, claims what `then` sends; how it waited for that."""
    settings = small.worker.running.settings.model_copy(update={"poll_s": poll_s})
    arrived, found = Waits(), threading.Event()
    running = replace(small.worker.running, settings=settings, kind=small_kind(), arrived=arrived)
    consumer = ClaimConsumer(running, claims=1, timeout_s=0.01)
    for _ in range(10):
        assert next(consumer) is None
    arrived.asked.clear()
    arrived.real = True

    def consume() -> None:
        until(lambda: next(consumer), what="a claim")
        found.set()

    threading.Thread(target=consume, daemon=True).start()
    until(lambda: arrived.asked, what="a consumer that waits")
    then(arrived)
    assert found.wait(PATIENCE_S)
    return arrived


def test_an_idle_worker_that_hears_the_bell_claims_at_once(small: Small) -> None:
    def send(arrived: Waits) -> None:
        small.send(do(1))
        arrived.set()

    # Until periodic work is looked for, that is: the safety poll is far longer.
    assert (claimed_after(small, 3600, send).asked[0] or 0) > 1


def test_a_lost_wake_up_costs_no_more_than_the_safety_poll(small: Small) -> None:
    waits = claimed_after(small, 0.3, lambda _: small.send(do(1)))

    assert set(waits.asked) == {0.3}


def test_a_flood_of_notifications_costs_a_few_claims_a_second_and_keeps_no_message_waiting(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def counted(*args: Any, **given: Any) -> Any:
        times.append(time.monotonic())
        return claim(*args, **given)

    claim = claims.claim
    monkeypatch.setattr("pgfleet.schema.queue.claims.claim", counted)
    consumer = ClaimConsumer(small.worker.running, claims=1, timeout_s=0.01)
    arrived = small.worker.running.arrived
    listener = Listener(small.dsn, {QUEUE: arrived}, lambda: 0)
    listener.start()
    flooding, flood = threading.Event(), threading.Thread(target=lambda: _notify(small.dsn, flooding), daemon=True)
    flood.start()
    try:
        until(lambda: len(times) > 10, work=lambda: next(consumer))
        seconds = times[-1] - times[0]
        msg_id = small.send(do(1))
        proxy = until(lambda: next(consumer), what="a claim")
    finally:
        flooding.set()
        flood.join(PATIENCE_S)
        listener.stop()
        listener.join(PATIENCE_S)

    assert [task.token.msg_id for task in proxy.args[0]] == [msg_id]
    assert seconds > 1, "ten claims that found nothing take as long, whatever arrives"


def _notify(dsn: str, enough: threading.Event) -> None:
    """On the channel of the queue with long texts, and on others."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not enough.is_set():
            conn.execute("select pg_notify('small_jobs', repeat('x', 7999)), pg_notify('other; drop', 'x')")
