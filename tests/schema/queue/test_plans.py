"""The plans that a claim runs on, where a bad one would cost the most."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.sql import SQL, Identifier

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Message, Outgoing
from worlds.fleet import Connection
from worlds.small.kind import QUEUE, SET_UP

LEASE = timedelta(seconds=90)
WALKED = """
select pg_stat_get_xact_numscans('pgmq.q_small_jobs'::regclass),
  pg_stat_get_xact_numscans('pgmq.q_small_jobs_claim_idx'::regclass)
"""


def claim(conn: Connection, limit: int = 10) -> list[Message]:
    return claims.claim(conn, QUEUE, limit, LEASE)[0]


@contextmanager
def many_delayed(conn: Connection) -> Iterator[None]:
    conn.execute(SET_UP)
    conn.execute("alter table pgmq.q_small_jobs set (autovacuum_enabled = off)")
    conn.execute(
        "insert into pgmq.q_small_jobs (vt, message)"
        " select public.fleet_now() + interval '1 hour', '{}' from generate_series(1, 300000)"
    )
    conn.execute("vacuum analyze pgmq.q_small_jobs")
    yield


@dataclass(frozen=True)
class Cost:
    """What one claim has read: pages; how often the whole table; how often it has looked into the claim's index."""

    pages: int
    whole_tables: int
    claim_indexes: int


def _cost(conn: Connection, limit: int) -> Cost:
    statement = SQL(claims.CLAIM).format(claim=Identifier(f"claim_{QUEUE}"))
    values = {"most": limit, "lease": LEASE, "durable": True, "mark": "m", "since_s": None}
    with conn.transaction():
        before = conn.execute(WALKED).fetchone()
        explained = conn.execute(SQL("explain (analyze, buffers, format json) ") + statement, values, prepare=False)
        row = explained.fetchone()
        after = conn.execute(WALKED).fetchone()
    assert row is not None
    assert before is not None
    assert after is not None
    plan = (row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]
    return Cost(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], after[0] - before[0], after[1] - before[1])


def test_a_claim_among_300_000_delayed_messages_touches_a_few_pages(conn: Connection) -> None:
    with many_delayed(conn):
        # The first of a session looks up the functions that it calls.
        assert claim(conn) == []
        empty = _cost(conn, 50)
        kernel.send(conn, QUEUE, [Outgoing({}) for _ in range(50)]).fetchall()
        full = _cost(conn, 50)

    # For what is due, and where nothing is, for what will be.
    assert (empty.whole_tables, empty.claim_indexes) == (0, 2)
    assert (full.whole_tables, full.claim_indexes) == (0, 1)
    assert empty.pages < 20
    assert full.pages < 50 * 25


def test_a_send_looks_into_the_index_though_the_queue_was_empty_when_its_plan_was_made(conn: Connection) -> None:
    conn.execute(SET_UP)
    conn.execute("alter table pgmq.q_small_jobs set (autovacuum_enabled = off)")
    kernel.send(conn, QUEUE, [Outgoing({})]).fetchall()
    conn.execute(
        "insert into pgmq.q_small_jobs (vt, message)"
        " select public.fleet_now() + interval '1 hour', '{}' from generate_series(1, 10000)"
    )

    with conn.transaction():
        before = conn.execute(WALKED).fetchone()
        kernel.send(conn, QUEUE, [Outgoing({})]).fetchall()
        after = conn.execute(WALKED).fetchone()

    assert before is not None
    assert after is not None
    assert (after[0] - before[0], after[1] - before[1]) == (0, 1)


def test_a_claim_while_an_old_snapshot_is_held_touches_a_few_pages_a_message(dsn: str, conn: Connection) -> None:
    conn.execute(SET_UP)
    conn.execute("alter table pgmq.q_small_jobs set (autovacuum_enabled = off)")
    with psycopg.connect(dsn) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from pgmq.q_small_jobs")
        for _ in range(40):
            kernel.send(conn, QUEUE, [Outgoing({}) for _ in range(500)])
            kernel.delete(conn, QUEUE, [message.token for message in claim(conn, 500)])
        kernel.send(conn, QUEUE, [Outgoing({}) for _ in range(50)]).fetchall()

        full = _cost(conn, 50)
        empty = _cost(conn, 50)

    assert (full.whole_tables, full.claim_indexes) == (0, 1)
    # 20,000 dead entries can't be removed while they may be seen; they are walked over, once a claim.
    assert empty.pages < 20_000 / 4
    assert full.pages < 20_000 / 4
