"""From where on claims look, once one has taken long."""

import math
import time
from datetime import timedelta

import psycopg

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.front import FURTHEST_S, LONGEST_S, MARGIN_S, Front
from pgfleet.schema.queue.kernel import Outgoing
from worlds.fleet import Connection, until
from worlds.small.kind import QUEUE, SET_UP
from worlds.small.world import Small

LEASE = timedelta(seconds=90)
LATE = "insert into pgmq.q_small_jobs (vt, message) values (public.fleet_now() - interval '10 s', '\"late\"')"


def test_a_claim_that_was_quick_is_followed_by_one_that_looks_at_all() -> None:
    front = Front()
    front.looked(100.0, 100.001, None)

    assert front.since_s(100.002) is None


def test_claims_after_a_long_one_begin_where_it_has_found_the_first_message() -> None:
    front = Front()
    front.looked(100.0, 100.010, 99.5)

    assert front.since_s(100.1) == 100.1 - 99.5 + MARGIN_S


def test_where_a_long_claim_has_found_nothing_those_after_it_begin_where_it_was_asked() -> None:
    front = Front()
    front.looked(100.0, 100.010, None)

    assert front.since_s(100.1) == 100.1 - 100.0 + MARGIN_S


def test_all_is_looked_at_again_after_twenty_times_as_long_and_a_second_at_most() -> None:
    short, long = Front(), Front()
    short.looked(100.0, 100.010, None)
    long.looked(100.0, 110.0, None)

    assert short.since_s(100.2) is not None
    assert short.since_s(100.22) is None
    assert long.since_s(110.0 + LONGEST_S - 0.01) is not None
    assert long.since_s(110.0 + LONGEST_S) is None


def test_what_is_due_since_ever_is_no_place_that_the_database_can_not_reckon_with(small: Small) -> None:
    front, now = Front(), time.monotonic()
    front.looked(now - 5, now, -math.inf)

    claims.claim(small.conn, QUEUE, 10, LEASE, front=front)

    assert front.since_s(now) == FURTHEST_S


def test_a_claim_of_a_paused_queue_has_not_looked(small: Small) -> None:
    front = Front()
    with small.conn.transaction(force_rollback=True):
        small.conn.execute("insert into public.pauses (what, by_whom) values (%s, 'ops')", (QUEUE,))
        claims.claim(small.conn, QUEUE, 10, LEASE, front=front)

    assert front == Front()


def test_what_is_committed_late_is_found_within_a_second(small: Small) -> None:
    front = Front()
    claims.claim(small.conn, QUEUE, 10, LEASE, front=front)
    now = time.monotonic()
    front.looked(now - 5, now, None)
    small.conn.execute(LATE)

    first, _ = claims.claim(small.conn, QUEUE, 10, LEASE, front=front)
    found: list[object] = []

    def is_found() -> bool:
        found.extend(message.body for message in claims.claim(small.conn, QUEUE, 10, LEASE, front=front)[0])
        return bool(found)

    until(is_found, within_s=LONGEST_S + 5)
    assert (first, found) == ([], ["late"])


def test_a_claim_that_begins_in_the_middle_walks_over_no_dead_entries(dsn: str, conn: Connection) -> None:
    """20,000 that nobody may remove yet."""
    conn.execute(SET_UP)
    conn.execute("alter table pgmq.q_small_jobs set (autovacuum_enabled = off)")
    with psycopg.connect(dsn) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from pgmq.q_small_jobs")
        for _ in range(40):
            kernel.send(conn, QUEUE, [Outgoing({}) for _ in range(500)])
            messages, _ = claims.claim(conn, QUEUE, 500, LEASE)
            kernel.delete(conn, QUEUE, [message.token for message in messages])
        now = time.monotonic()
        # What has come in the last moment is looked at all the same.
        pages = _pages(conn, Front(now + MARGIN_S, now + 60))
        all_pages = _pages(conn, Front())

    assert pages < all_pages / 10


def _pages(conn: Connection, front: Front) -> int:
    """How many a claim that finds nothing has read, of its table and its indexes."""
    read = """
    select sum(pg_stat_get_xact_blocks_fetched(c.oid))::bigint from pg_class c
    where c.relname like 'q\\_small\\_jobs%%'
    """
    with conn.transaction():
        before = conn.execute(read).fetchone()
        claims.claim(conn, QUEUE, 50, LEASE, front=front)
        after = conn.execute(read).fetchone()
    assert before is not None
    assert after is not None
    return int(after[0] - before[0])
