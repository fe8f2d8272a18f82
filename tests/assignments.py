"""What assignment tests share: users, clusters on the sandbox, requests, and what has to be sound at every moment."""

from collections.abc import Sequence
from typing import Any

from fleet import Connection, Worker, send
from psycopg.rows import dict_row

from console.sandbox.box import Box

QUEUE = "cluster_assignments"
KEY = "a-key-of-the-test-ZZZ"


def add_users(conn: Connection, *ids: str, owner: str | None = None, **more: Any) -> None:
    """Users with an e-mail made of their id's last part."""
    for user_id in ids:
        local = user_id.rpartition("|")[2]
        values = {"email": f"{local}@example.com", "name": local.title(), "account_owner_id": owner, **more}
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        query = f"insert into hopsworks.users (id, {names}) values (%(id)s, {marks})"
        conn.execute(query.encode(), {"id": user_id, **values})


def add_cluster(conn: Connection, box: Box | None, name: str, seats: int = 100, **more: Any) -> str:
    """A cluster, on the sandbox where there is one; its id."""
    url = box.hopsworks(name, api_key=KEY) if box else f"http://127.0.0.1:9/{name}"
    values = {"name": name, "api_url": url, "api_key": KEY, "max_users": seats, **more}
    names = ", ".join(values)
    marks = ", ".join(f"%({key})s" for key in values)
    query = f"insert into hopsworks.hopsworks_clusters ({names}) values ({marks}) returning id::text"
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return str(row[0])


def ask(conn: Connection, action: str, user_id: str, **fields: Any) -> int:
    return send(conn, QUEUE, {"action": action, "user_id": user_id, **fields})


def assignment(conn: Connection, user_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select * from hopsworks.user_hopsworks_assignments where user_id = %s", (user_id,)
        ).fetchone()
    assert row is not None, f"no assignment of {user_id}"
    return row


def status_of(conn: Connection, user_id: str) -> str | None:
    query = "select status from hopsworks.user_hopsworks_assignments where user_id = %s"
    row = conn.execute(query, (user_id,)).fetchone()
    return None if row is None else row[0]


def reach(conn: Connection, worker: Worker, user_id: str, status: str) -> dict[str, Any]:
    worker.run_until(lambda: status_of(conn, user_id) == status)
    return assignment(conn, user_id)


def cluster(conn: Connection, cluster_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from hopsworks.hopsworks_clusters where id = %s", (cluster_id,)).fetchone()
    assert row is not None
    return row


def breaker(conn: Connection, cluster_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from hopsworks.cluster_breakers where cluster_id = %s", (cluster_id,)).fetchone()
    assert row is not None
    return row


def accounts(box: Box, name: str) -> dict[str, dict[str, Any]]:
    """What the server has, by e-mail."""
    return {user["email"]: user for user in box.hopsworks_state(name)["users"]}


def letters(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("select reason from public.dead_letters order by dead_letter_id")]


WRONG_SEATS = """
select c.name, c.current_users, c.max_users, c.status, count(a.id)
from hopsworks.hopsworks_clusters c
left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id
group by c.id
having c.current_users <> count(a.id) or c.current_users <> count(a.id) filter (where a.holds_seat)
  or c.current_users > c.max_users
  or c.status = 'active' and c.current_users >= c.max_users or c.status = 'full' and c.current_users < c.max_users
"""
WRONG_ROWS = """
select user_id, status, hopsworks_cluster_id, hopsworks_username
from hopsworks.user_hopsworks_assignments
where (status in ('creating_user', 'active')) <> holds_seat
  or holds_seat <> (hopsworks_cluster_id is not null)
  or status = 'active' and hopsworks_user_id is null
"""
BROKEN_HISTORIES = """
with steps as (
  select row_id, from_status, to_status,
    lag(to_status, 1, '(new)') over (partition by row_id order by history_id) as before,
    last_value(to_status) over (
      partition by row_id order by history_id rows between unbounded preceding and unbounded following) as last
  from public.status_history where machine = 'assignment'
)
select a.user_id from hopsworks.user_hopsworks_assignments a
left join steps s on s.row_id = a.id::text
where s.row_id is null or s.from_status <> s.before or s.last <> a.status
"""


def assert_sound(conn: Connection) -> None:
    """Seats are rows that hold one, never more than there are; histories are gap-free."""
    wrong: Sequence[Any] = conn.execute(WRONG_SEATS).fetchall()
    assert wrong == []
    assert conn.execute(WRONG_ROWS).fetchall() == []
    assert conn.execute(BROKEN_HISTORIES).fetchall() == []
