"""What is as it should be is no finding of the doctor, however odd it looks."""

import re

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Severity
from worlds.database import Connection

OLD_ROWS = """
  insert into public.disks (disk_id, disk_name, user_id)
    values (gen_random_uuid(), 'moves', 'ada'), (gen_random_uuid(), 'stays', 'ada');
  update public.status_history set at = at - interval '60 days';
  alter table public.disks disable trigger user;
  update public.disks set status_since = status_since - interval '60 days';
  alter table public.disks enable trigger user;
  update public.schema_migrations set applied_at = applied_at - interval '90 days';
  update public.retention set keep = '30 days' where table_name = 'public.status_history';
  select public.prune_rows(r, 100) from public.retention r where table_name = 'public.status_history';
  update public.disks set status = 'available' where disk_name = 'moves';
"""


def test_histories_that_were_pruned_are_not_missed(conn: Connection) -> None:
    for statement in OLD_ROWS.split(";"):
        conn.execute(statement.encode())

    assert told(conn, "history") == []


def test_nudges_are_not_tickets_that_are_there_twice(conn: Connection) -> None:
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at) values ('r1', 'ada', 'pending', 't4', 1, 4, now());"
        "select public.nudge_reservations(array['r1']) from generate_series(1, 2)"
    )

    assert told(conn, "messages") == []


def test_what_an_operator_holds_back_is_told_as_that_alone(conn: Connection) -> None:
    conn.execute("insert into public.pauses (what) values ('disk_operations')")
    conn.execute("insert into public.disks (disk_id, disk_name, user_id) values (gen_random_uuid(), 'd', 'ada')")
    for statement in (
        "alter table public.disks disable trigger user",
        "update public.disks set status_since = status_since - interval '3 hours'",
        "alter table public.disks enable trigger user",
        "select pgmq.send('disk_operations', '{}')",
        "update pgmq.q_disk_operations set enqueued_at = enqueued_at - interval '1 hour', vt = vt - interval '1 hour'",
    ):
        conn.execute(statement.encode())

    assert told(conn, "states") == []
    assert told(conn, "queues") == []
    (held_back,) = told(conn, "held back")
    assert re.search(r"disk paused by \S+ since [0-9-]+ [0-9:]+ UTC$", held_back)


def told(conn: Connection, check: str) -> list[str]:
    return [each.text for each in examine(conn) if each.check == check and each.severity is not Severity.OK]
