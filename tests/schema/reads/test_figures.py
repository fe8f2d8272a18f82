"""Figures of the fleet: counted once, no further than it matters, and kept over time."""

from datetime import timedelta

import pytest

from pgfleet.schema.reads.pictures import figures
from worlds.database import Connection
from worlds.trouble.outages import held

Found = dict[tuple[str, str], float]


def found(conn: Connection, figure: str) -> Found:
    return {(row["about"], row["state"]): row["value"] for row in figures.now(conn) if row["figure"] == figure}


def test_what_waits_is_counted_by_queue_and_no_further_than_it_matters(conn: Connection) -> None:
    conn.execute("select pgmq.send('gpu_reservations', '{}'::jsonb, 0) from generate_series(1, 7)")
    conn.execute("select pgmq.send('gpu_reservations', '{}'::jsonb, 3600) from generate_series(1, 3)")
    conn.execute("select count(*) from pgmq.read('gpu_reservations', 30, 2)")

    whole = conn.execute("select ready, delayed, in_hand from public.queue_counts('gpu_reservations')").fetchone()
    bounded = conn.execute("select ready, delayed, in_hand from public.queue_counts('gpu_reservations', 2)").fetchone()

    assert whole == (5, 3, 2)
    assert bounded == (2, 0, 2)
    assert found(conn, "queue_messages")["gpu_reservations", "ready"] == 5
    assert found(conn, "oldest_ready_age_seconds")["gpu_reservations", ""] > 0


def test_a_million_messages_are_counted_by_the_index(conn: Connection) -> None:
    """In a thousandth of what it takes to count them all; here of a hundred thousand."""
    conn.execute("select pgmq.send('gpu_reservations', '{}'::jsonb, 3600) from generate_series(1, 100000)")
    conn.execute("analyze pgmq.q_gpu_reservations")
    before = conn.execute("select pg_stat_get_tuples_returned('pgmq.q_gpu_reservations'::regclass)").fetchone()

    conn.execute("set stats_fetch_consistency = none")
    conn.execute("select * from public.queue_counts('gpu_reservations', 100)")
    conn.execute("select pg_stat_force_next_flush()")

    after = conn.execute("select pg_stat_get_tuples_returned('pgmq.q_gpu_reservations'::regclass)").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] < 1000


def test_rows_gpus_and_who_waits_are_counted(conn: Connection) -> None:
    conn.execute("""
        insert into public.reservations
          (reservation_id, user_id, gpu_type, gpu_count, status, duration_hours, created_at)
        select gen_random_uuid(), 'ada', 'h100', 4, 'pending', 2, public.fleet_now() from generate_series(1, 2)""")
    conn.execute(
        "update public.reservations set status = 'queued', waiting_since = public.fleet_now() - interval '1 min'"
    )

    assert found(conn, "rows")["reservation", "queued"] == 2
    assert found(conn, "gpus")["h100", "waiting"] == 8
    assert found(conn, "gpus")["h100", "total"] == 16
    assert found(conn, "gpus")["h100", "free"] == 16
    assert found(conn, "oldest_wait_seconds")["h100", ""] == pytest.approx(60, abs=30)


def test_every_machine_is_counted(conn: Connection) -> None:
    """But for those whose rows have no state of their own: what becomes of them is in the history alone."""
    machines = {machine for (machine,) in conn.execute("select distinct machine from public.moves")}

    counted = {about for about, _ in found(conn, "rows")}

    assert machines - counted == {"dead_letter", "hopsworks_cluster", "outage", "sweep"}
    assert counted < machines


def test_letters_and_pauses_are_counted(conn: Connection) -> None:
    conn.execute("insert into public.pauses (what, by_whom, reason) values ('disk_operations', 'ada', 'x')")
    conn.execute("""
        insert into public.dead_letters (queue, msg_id, message, reason, attempts, enqueued_at, verdict)
        values ('disk_operations', 1, '{}', 'bad', 1, now(), 'rejection')""")

    assert found(conn, "paused") == {("disk_operations", ""): 1}
    assert found(conn, "dead_letters")["disk_operations", "rejection"] == 1
    assert found(conn, "dead_letters")["disk_operations", "failure"] == 0


def test_one_process_counts_for_all_until_it_does_so_no_more(conn: Connection) -> None:
    assert figures.take(conn, "first", 60)
    assert not figures.take(conn, "second", 60)
    assert figures.take(conn, "first", 60)

    conn.execute("update public.figures_lease set until = public.fleet_now() - interval '1 s'")

    assert figures.take(conn, "second", 60)
    assert not figures.take(conn, "first", 60)


def test_what_is_counted_is_kept_once_in_five_minutes(conn: Connection) -> None:
    held(conn, "kubernetes", 1)
    for _ in range(3):
        figures.take(conn, "first", 60)

    kept = figures.over_time(conn, "gpus", "h100", timedelta(hours=1))

    assert {row["state"] for row in kept} == {"total", "held", "free", "waiting"}
    assert len({row["at"] for row in kept}) in (1, 2)
    assert figures.over_time(conn, "gpus", "t4", timedelta(0)) == []
