"""Outages as rows, and messages that wait for their end."""

from psycopg.types.json import Jsonb

from worlds.fleet import Connection


def out(
    conn: Connection,
    dependency: str,
    calls: str,
    code: str,
    reason: str,
    *,
    since_s: float,
    retry_in_s: float = 30,
    queue: str = "gpu_reservations",
) -> None:
    conn.execute(
        "insert into public.outages (dependency, calls, queue, code, reason, began_at, retry_at)"
        " values (%s, %s, %s, %s, %s, public.fleet_now() - make_interval(secs => %s),"
        " public.fleet_now() + make_interval(secs => %s))",
        (dependency, calls, queue, code, reason, since_s, retry_in_s),
    )


def held(conn: Connection, dependency: str, number: int, queue: str = "gpu_reservations") -> None:
    conn.execute(
        "select pgmq.send(%s, '{}'::jsonb, %s::jsonb, 60) from generate_series(1, %s)",
        (queue, Jsonb({"pgfleet": {"waits_for": dependency}}), number),
    )
