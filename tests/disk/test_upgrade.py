"""Disks that were there before their machine."""

import psycopg
from pgmq.install import get_embedded_install_sql

from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import migrate

RECORD = "insert into public.schema_migrations (version, checksum) values (%s, %s)"
RESERVATION = """
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
  values (%s, 'ada', 'pending', 1, now())
"""


def test_disks_of_before_their_machine_keep_what_they_said(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(get_embedded_install_sql().encode())
        for file in sql_files():
            if "schema/" < file.version < "schema/012":
                conn.execute(file.text.encode())
                conn.execute(RECORD, (file.version, file.checksum))
        conn.execute(RESERVATION, ("r1",))
        conn.execute(
            "insert into public.disks (disk_name, user_id, in_use, is_deleted, reservation_id, snapshot_count) values"
            " ('plain', 'ada', false, false, null, 3), ('used', 'ada', true, false, 'r1', 0),"
            " ('deleted', 'ada', false, true, null, 1), ('unsaid', 'ada', null, null, null, 0),"
            " ('stale', 'ada', false, false, 'r1', 0), ('both', 'ada', true, true, 'r1', 0)"
        )

        migrate(empty_dsn)

        disks = (
            "select disk_name, status, in_use, is_deleted, reservation_id, snapshot_count, marked_deleted_at is null,"
            " substr(data_lost, 1, 18)"
        )
        assert conn.execute(f"{disks} from public.disks order by 1".encode()).fetchall() == [
            ("both", "deleted", False, True, None, 0, False, None),
            ("deleted", "deleted", False, True, None, 0, False, "it had 1 snapshots"),
            ("plain", "available", False, False, None, 0, True, "it had 3 snapshots"),
            ("stale", "available", False, False, None, 0, True, None),
            ("unsaid", "available", False, False, None, 0, True, None),
            ("used", "attached", True, False, "r1", 0, True, None),
        ]
        history = "select count(*) from public.status_history where machine = 'disk' and actor = 'migration 017'"
        assert conn.execute(history).fetchone() == (6,)
