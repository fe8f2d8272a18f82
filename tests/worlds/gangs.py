"""What tests of gangs share: all rows of one, asked for and waited for together."""

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from pgfleet.schema.reservation import gang_ids
from worlds.fleet import Connection, Worker
from worlds.reservations import create


def gang(conn: Connection, nodes: int = 2, **fields: Any) -> list[str]:
    """The ids of the rows that its worker will make."""
    return gang_ids(create(conn, total_nodes=nodes, **{"gpu_count": 4, **fields}), nodes)


def rows_of(conn: Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Node by node, those that there are."""
    with conn.cursor(row_factory=dict_row) as cursor:
        wanted = "select * from public.reservations where reservation_id = any(%s) order by node_index"
        return cursor.execute(wanted, (list(ids),)).fetchall()


def statuses(conn: Connection, ids: Sequence[str]) -> list[str]:
    return [row["status"] for row in rows_of(conn, ids)]


def all_are(conn: Connection, worker: Worker, ids: Sequence[str], status: str) -> list[dict[str, Any]]:
    worker.run_until(lambda: statuses(conn, ids) == [status] * len(ids))
    return rows_of(conn, ids)


def all_ended(conn: Connection, worker: Worker, ids: Sequence[str]) -> list[dict[str, Any]]:
    worker.run_until(lambda: all(row["reservation_ended"] for row in rows_of(conn, ids)))
    return rows_of(conn, ids)


def moments(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """In how many transactions rows moved to each status: one where they moved together."""
    counted = """
    select to_status, count(distinct xmin::text)::int from public.status_history
    where machine = 'reservation' and row_id = any(%s) group by 1
    """
    return dict(conn.execute(counted, (list(ids),)).fetchall())
