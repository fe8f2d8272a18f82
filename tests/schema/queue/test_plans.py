"""The plans that a claim runs on, where a bad one would cost the most."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Message, Outgoing
from worlds.fleet import Connection
from worlds.small.kind import QUEUE, SET_UP

LEASE = timedelta(seconds=90)


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


def _explain(conn: Connection, limit: int) -> dict[str, Any]:
    statement = SQL(claims.CLAIM).format(q=Identifier("pgmq", f"q_{QUEUE}"), name=Literal(QUEUE))
    explained = SQL("explain (analyze, buffers, format json) ") + statement
    marks = dict.fromkeys(("mark", "again", "alone"), Jsonb({"claim": "m"}))
    row = conn.execute(explained, {"limit": limit, "lease": LEASE, "durable": True, **marks}).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    found: dict[str, Any] = plan[0]["Plan"]
    return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _buffers(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _assert_by_index(plan: dict[str, Any]) -> None:
    scans = [node for node in _nodes(plan) if node.get("Relation Name") == f"q_{QUEUE}" and "Scan" in node["Node Type"]]
    assert [node for node in scans if node["Node Type"] == "Seq Scan"] == []
    # What was picked is found by its number.
    bitmaps = {node["Index Name"] for node in _nodes(plan) if node["Node Type"] == "Bitmap Index Scan"}
    assert bitmaps <= {f"q_{QUEUE}_pkey"}
    indexes = {node.get("Index Name") for node in scans}
    assert f"q_{QUEUE}_claim_idx" in indexes


def test_a_claim_among_300_000_delayed_messages_touches_a_few_pages(conn: Connection) -> None:
    with many_delayed(conn):
        # The first of a session looks up the functions that it calls.
        assert claim(conn) == []
        empty = _explain(conn, 50)
        kernel.send(conn, QUEUE, [Outgoing({}) for _ in range(50)]).fetchall()
        full = _explain(conn, 50)

    _assert_by_index(empty)
    _assert_by_index(full)
    assert _buffers(empty) < 20
    assert _buffers(full) < 50 * 25


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

        full = _explain(conn, 50)
        empty = _explain(conn, 50)

    _assert_by_index(full)
    # 20,000 dead entries can't be removed while they may be seen; they are walked over, once a claim.
    assert _buffers(empty) < 20_000 / 4
    assert _buffers(full) < 20_000 / 4
