"""What reservation tests share: requests, and waiting for what becomes of them."""

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from pgfleet.schema.gang.nodes import gang_ids
from worlds.fleet import Connection, Worker, new_id, row_of, send

QUEUE = "gpu_reservations"


def create(conn: Connection, **fields: Any) -> str:
    """With the SSH keys of a name at GitHub that is given: that of its user, unless it is another."""
    body = {
        "action": "create_reservation",
        "reservation_id": new_id(),
        "user_id": "ada",
        "github_user": fields.get("user_id", "ada"),
        "gpu_type": "h100",
        "gpu_count": 2,
        "duration_hours": 4,
        **fields,
    }
    send(conn, QUEUE, body)
    return str(body["reservation_id"])


def ask(conn: Connection, action: str, row_id: str, user: str = "ada", **fields: Any) -> None:
    send(conn, QUEUE, {"action": action, "reservation_id": row_id, "user_id": user, **fields})


def active(conn: Connection, worker: Worker, **fields: Any) -> str:
    row_id = create(conn, **fields)
    reach(conn, worker, row_id, "active")
    return row_id


def live(conn: Connection, worker: Worker, status: str) -> str:
    """A reservation that is active, or queued as all GPUs are held."""
    row_id = active(conn, worker, gpu_count=8)
    if status == "queued":
        active(conn, worker, gpu_count=8)
        row_id = create(conn, gpu_count=8)
        worker.run()
    return row_id


def status_of(conn: Connection, row_id: str) -> str | None:
    row = conn.execute("select status from public.reservations where reservation_id = %s", (row_id,)).fetchone()
    return None if row is None else row[0]


def reach(conn: Connection, worker: Worker, row_id: str, status: str) -> dict[str, Any]:
    worker.run_until(lambda: status_of(conn, row_id) == status)
    return row_of(conn, row_id)


def ended(conn: Connection, worker: Worker, row_id: str) -> dict[str, Any]:
    worker.run_until(lambda: row_of(conn, row_id)["reservation_ended"] is not None)
    return row_of(conn, row_id)


def letters(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("select reason from public.dead_letters order by dead_letter_id")]


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
