"""An operator holds back deletions; a restored database deletes nothing before somebody has looked."""

from typing import Any

import psycopg
import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.brake import pauses
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.reads import about
from pgfleet.workers.reservation.machine import KIND
from worlds.database import fresh_database
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of, settings_for, worker_on
from worlds.outside.kubernetes import NS, connected
from worlds.reservations import active, ask, create, ended, reach, status_of

DELETES_PAUSED = "select 1 from public.pauses where what = 'deletes'"


def pods(box: Box) -> list[str]:
    with connected(box) as api:
        found: Any = client.CoreV1Api(api).list_namespaced_pod(NS)
        return [pod.metadata.name for pod in found.items]


def note_database(conn: Connection) -> bool:
    """As workers do every few seconds; whether it is another one."""
    return conn.execute("select public.note_database()").fetchone() == (True,)


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def test_while_deletions_are_paused_what_has_ended_keeps_its_pod_and_says_why(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    pauses.pause(conn, "deletes", "ops", "we look first")
    ask(conn, "cancel", row_id)
    worker.run_until(lambda: shown(conn, row_id).startswith("DELETES_PAUSED: "))
    move_clock(conn, 3600)
    worker.run()
    kept, held = pods(box), row_of(conn, row_id)["gpus_held"]

    pauses.resume(conn, "deletes")
    worker.run_until(lambda: row_of(conn, row_id)["reservation_ended"] is not None)

    assert len(kept) == 1
    assert held == 2
    assert pods(box) == []
    assert_sound(conn)


def test_what_waits_for_a_pause_of_deletions_goes_on_at_once(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    pauses.pause(conn, "deletes", "ops", None)
    ask(conn, "cancel", row_id)
    worker.run_until(lambda: shown(conn, row_id).startswith("DELETES_PAUSED: "))
    before = about.now(conn)

    pauses.resume(conn, "deletes")
    row = ended(conn, worker, row_id)

    assert (row["reservation_ended"] - before).total_seconds() < 20


def test_new_reservations_start_while_deletions_are_paused(conn: Connection, worker: Worker) -> None:
    pauses.pause(conn, "deletes", "ops", None)

    row_id = create(conn)
    reach(conn, worker, row_id, "active")

    assert status_of(conn, row_id) == "active"


def test_a_copy_of_a_database_that_workers_saw_deletes_nothing_until_somebody_has_looked(
    conn: Connection, worker: Worker, box: Box, server_dsn: str
) -> None:
    row_id = active(conn, worker)
    note_database(conn)
    worker.running.pool.close()
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid()"
    )
    name = conn.info.dbname
    conn.close()

    with (
        fresh_database(server_dsn, name) as copy,
        psycopg.connect(copy, autocommit=True) as there,
        worker_on(KIND, settings_for(copy, box)) as other,
    ):
        ask(there, "cancel", row_id)
        other.run_until(lambda: shown(there, row_id).startswith("DELETES_PAUSED: "))
        begun = note_database(there)
        remedies = [found.remedy for found in examine(there) if found.check == "held back"]
        kept = pods(box)
        pauses.resume(there, "deletes")
        ended(there, other, row_id)

    assert begun
    assert len(kept) == 1
    assert len(remedies) == 1
    assert str(remedies[0]).endswith("pgfleet resume --deletes")
    assert pods(box) == []


@pytest.mark.parametrize(("away_s", "paused"), [(10, False), (600, True)])
def test_a_new_timeline_is_a_restore_only_if_nobody_has_seen_the_database_for_minutes(
    conn: Connection, away_s: int, *, paused: bool
) -> None:
    note_database(conn)
    conn.execute("update public.database_identity set timeline = '00000000'")
    move_clock(conn, away_s)

    begun = note_database(conn)

    assert begun is paused
    assert bool(conn.execute(DELETES_PAUSED).fetchall()) is paused
    assert bool(conn.execute("select 1 from public.deletes_pause").fetchall()) is paused


def test_workers_that_were_away_for_a_day_find_the_same_database(conn: Connection) -> None:
    note_database(conn)
    move_clock(conn, 86_400)

    assert not note_database(conn)
    assert conn.execute(DELETES_PAUSED).fetchall() == []
