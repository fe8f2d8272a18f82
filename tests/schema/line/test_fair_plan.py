"""What it costs to order a line with fair share: each user's hours are summed up once, and not for each who waits."""

from collections.abc import Iterator
from typing import Any

from worlds.fleet import Connection

WAITING, ENDED, USERS = 400, 800, 200
# With no trigger, and with no statistics of what has come.
MANY = f"""
set session_replication_role = replica;
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at,
  status_since, waiting_since, line_number)
select md5('w' || n)::uuid, 'u' || n % {USERS}, 'queued', 'h100', 1, 8, now(), now(), now(), n
from generate_series(1, {WAITING}) n;
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at,
  status_since, waiting_since, line_number, admitted_at, launched_at, reservation_ended)
select md5('e' || n)::uuid, 'u' || n % {USERS}, 'expired', 'h100', 1, 8, now(), now() - interval '2 hours', now(), n,
  now() - interval '3 hours', now() - interval '3 hours', now() - interval '1 hour'
from generate_series(1, {ENDED}) n;
set session_replication_role = origin
"""
ORDERED = "explain (analyze, format json) select f.* from public.fair_units f where f.gpu_type = 'h100'"
# As the worker's look does not sort what is in an index (177), and as whoever counts places does.
WAYS = ("set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off", "reset all")


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from nodes_of(part)


def gone_through(node: dict[str, Any]) -> float:
    """Rows that a node has made or dropped."""
    each = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    return float(sum(node.get(name, 0) for name in each) * node["Actual Loops"])


def test_no_part_of_the_order_goes_through_more_rows_than_there_are(conn: Connection) -> None:
    for statement in MANY.split(";\n"):
        conn.execute(statement.encode())

    for way in WAYS:
        conn.execute(way.encode())
        row = conn.execute(ORDERED).fetchone()
        assert row is not None
        assert max(map(gone_through, nodes_of(row[0][0]["Plan"]))) <= WAITING + ENDED
