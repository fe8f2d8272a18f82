"""Who is slow, or silent: nobody else is told later because of it."""

import threading
import time
from contextlib import ExitStack

import pytest

from pgfleet.producers import event as producer
from pgfleet.workers.event import slow
from pgfleet.workers.event.slow import Slow
from pgfleet.workers.runtime.outcomes import TryAgainError
from worlds.database import Connection
from worlds.events import Events
from worlds.feed.moves import make
from worlds.fleet import until, worker_process
from worlds.receiver import Receiver

MODULE = "pgfleet.workers.event"
# Well under the ten seconds for which one that is silent is waited for.
AT_ONCE_S = 3.0


def test_while_one_is_silent_others_are_told_at_once(
    dsn: str, conn: Connection, receiver: Receiver, other: Receiver
) -> None:
    """Again and again, also where a process has only one place for claims."""
    with worker_process(dsn, None, MODULE, threads=1, events_may_reach="127.0.0.1", effect_threads=3):
        for each in (receiver, other):
            producer.subscribe("ada", each.url, conn, machines=["reservation"])
        active = "select count(*) from public.event_subscriptions"
        until(lambda: conn.execute(active).fetchone() == (2,))
        other.free.clear()
        make(conn)
        until(lambda: other.got and receiver.got)
        took_s = [told_in_s(conn, receiver) for _ in range(5)]
        silent_still = len(other.got) == 1

    assert silent_still
    assert max(took_s) < AT_ONCE_S


def test_what_waits_behind_another_of_its_row_does_not_wait_for_who_is_silent(
    events: Events, receiver: Receiver, other: Receiver
) -> None:
    """One claim has them all; another takes what is left of it."""
    silent, made = events.subscribe(other.url), events.subscribe(receiver.url, user="bob")
    other.free.clear()
    producer.send_test(silent.subscription_id, "ada", events.conn)
    for _ in range(2):
        producer.send_test(made.subscription_id, "bob", events.conn)
    working = threading.Thread(target=events.worker.run_once)
    working.start()
    until(lambda: other.got and receiver.got)

    until(lambda: len(receiver.got) == 2, work=events.worker.run_once)

    still = working.is_alive()
    other.free.set()
    working.join()
    assert still


def told_in_s(conn: Connection, receiver: Receiver) -> float:
    """From the commit of a move until the receiver has it."""
    row_id, begun_at = make(conn), time.monotonic()
    until(lambda: row_id in receiver.subjects)
    return time.monotonic() - begun_at


def test_the_slow_hold_half_of_the_threads_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who fail are among them from the start, and who answers soon again is not."""
    monkeypatch.setattr(slow, "SLOW_S", 0)
    threads = Slow(2)
    for subscriber in ("one", "two", "three"):
        with threads.waiting(subscriber, is_failing=False):
            pass

    with ExitStack() as stack:
        for subscriber in ("one", "two"):
            stack.enter_context(threads.waiting(subscriber, is_failing=False))
        with pytest.raises(TryAgainError) as refused, threads.waiting("three", is_failing=False):
            pass
        with pytest.raises(TryAgainError), threads.waiting("fails", is_failing=True):
            pass
        monkeypatch.setattr(slow, "SLOW_S", 100)
        with threads.waiting("quick", is_failing=False), threads.waiting("quicker", is_failing=False):
            pass
    with threads.waiting("three", is_failing=False):
        pass

    assert refused.value.after_s == 1
