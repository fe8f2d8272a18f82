"""The order of a line: who may pass, who may not, gangs as a whole, fair share, and nobody who waits for ever."""

from datetime import timedelta
from typing import Any

import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.reads.about import now
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, row_of, settings_for, worker_on
from worlds.reservations import active, create, letters, reach, status_of
from worlds.rows_of_disks import disk, reservation

H = 3600


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def in_line(conn: Connection) -> list[str]:
    standing = standings_in(ask_lines(conn, ["h100"], None), 120)["h100"]
    return [unit.key for unit in standing.line]


def test_who_is_over_before_the_head_starts_may_go_first_and_who_is_not_may_not(
    conn: Connection, worker: Worker
) -> None:
    active(conn, worker, gpu_count=8, duration_hours=24)
    active(conn, worker, gpu_count=4)
    head = create(conn, gpu_count=8)
    long, short = create(conn, gpu_count=4, duration_hours=8), create(conn, gpu_count=4, duration_hours=1)

    reach(conn, worker, short, "active")

    assert status_of(conn, head) == "queued"
    assert status_of(conn, long) == "queued"
    assert shown(conn, head) == "NO_CAPACITY: 8 GPUs wanted, 0 of 16 free"
    assert shown(conn, long) == "BEHIND_OTHERS: others of this type go first"
    assert_sound(conn)


def test_lines_that_are_asked_for_together_stand_as_each_does_alone(conn: Connection) -> None:
    types = ["h100", "a100", "t4"]
    for gpu_type in ("h100", "a100", "h100"):
        reservation(conn, "queued", None, gpu_type=gpu_type)
        reservation(conn, "active", None, gpu_type=gpu_type, gpus_held=2, expires_at=now(conn) + timedelta(hours=1))

    alone = {name: standings_in(ask_lines(conn, [name], 10), 120)[name] for name in types}
    together = standings_in(ask_lines(conn, ["h100", "a100"], 10, idle=["t4"]), 120)

    assert [(len(alone[name].line), len(alone[name].ends)) for name in types] == [(2, 2), (1, 1), (0, 0)]
    assert [together[name].line for name in types] == [alone[name].line for name in types]
    assert [set(together[name].ends) for name in types] == [set(alone[name].ends) for name in types]
    assert together["t4"].room == alone["t4"].room


def test_who_passes_the_head_with_a_disk_gets_its_volume_where_no_promise_is_moved(conn: Connection, dsn: str) -> None:
    """Both nodes have four GPUs free; on one of them they are promised to the head, with the other four."""
    nodes = "select gpus_free from public.gpu_node_room where gpu_type = 'h100' order by node_name"
    with (
        sandbox.running(["h100:1x8"], ready_delay_s=0.02, termination_delay_s=0.02) as box,
        worker_on(KIND, settings_for(dsn, box), watches=True) as worker,
    ):
        box.add_nodes("h100", count=1, gpus=8, zone="us-east-2b")
        worker.run_until(lambda: conn.execute(nodes).fetchall() == [(8,), (8,)])
        for _ in range(2):
            active(conn, worker, gpu_count=4, duration_hours=24)
        worker.run_until(lambda: conn.execute(nodes).fetchall() == [(4,), (4,)])
        sooner = (
            "update public.reservations set expires_at = expires_at - interval '20 hours' where pod_node = 'h100-1'"
        )
        conn.execute(sooner)
        head = create(conn, gpu_count=8)
        worker.run_until(lambda: row_of(conn, head)["promised_nodes"] == ["h100-1"])
        disk(conn, "data")
        row_id = create(conn, gpu_count=4, duration_hours=8, disk_name="data")

        zone = "select ebs_availability_zone from public.disks where ebs_availability_zone is not null"
        (found,) = worker.run_until(lambda: conn.execute(zone).fetchone())

        assert row_of(conn, row_id)["kept_to_node"] == "h100-2"
        assert found == "us-east-2b"


def test_what_is_promised_to_the_head_is_written_down_and_kept(conn: Connection, worker: Worker) -> None:
    first = active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8, duration_hours=6)
    head = create(conn, gpu_count=8)
    worker.run_until(lambda: row_of(conn, head)["promised_at"] is not None)

    late_s = (row_of(conn, head)["promised_at"] - row_of(conn, first)["expires_at"]).total_seconds()
    assert late_s == pytest.approx(150, abs=1), "two minutes of grace, and half a minute of teardown"

    move_clock(conn, 4 * H + 121)
    begun = reach(conn, worker, head, "preparing")
    assert begun["promised_at"] is None


def gang(conn: Connection, nodes: int = 2, there: int = 2, gpus: int = 8, **columns: Any) -> list[str]:
    """The rows of a gang, as whoever makes them inserts them, each with its first ticket."""
    master = new_id()
    ids = [master, *(new_id() for _ in range(there - 1))]
    for index, row_id in enumerate(ids):
        conn.execute(
            "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
            " created_at, github_user, master_reservation_id, node_index, total_nodes, is_multinode)"
            " values (%s, 'ada', 'pending', 'h100', %s, 4, public.fleet_now(), 'ada', %s, %s, %s, true)",
            (row_id, gpus, master, index, nodes),
        )
    look(conn)
    return ids


def look(conn: Connection) -> None:
    conn.execute("""select pgmq.send('gpu_reservations', '{"action": "admit", "gpu_type": "h100"}')""")


def test_a_gang_starts_whole(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)

    worker.run_until(lambda: {status_of(conn, row_id) for row_id in ids} == {"preparing"})

    moves = conn.execute(
        "select distinct txid from (select xmin::text as txid from public.status_history"
        " where row_id = any(%s) and to_status = 'preparing') h",
        (ids,),
    ).fetchall()
    assert len(moves) == 1, "in one commit"
    assert_sound(conn)


@pytest.mark.parametrize("why", ["a row of it lacks", "not all of it fits"])
def test_a_gang_that_is_not_complete_starts_not_at_all_and_says_so(conn: Connection, worker: Worker, why: str) -> None:
    lacks = why == "a row of it lacks"
    if not lacks:
        active(conn, worker, gpu_count=4)
    ids = gang(conn, there=1 if lacks else 2)

    worker.run_until(lambda: {status_of(conn, row_id) for row_id in ids} == {"queued"})

    told = "1 of its 2 nodes is not in line" if lacks else "2 nodes of 8 GPUs wanted at once, 12 of 16 free"
    assert {shown(conn, row_id) for row_id in ids} == {f"GANG_INCOMPLETE: {told}"}
    assert {row_of(conn, row_id)["gpus_held"] for row_id in ids} == {0}


def test_with_fair_share_who_has_had_less_stands_before_who_has_had_more(conn: Connection, worker: Worker) -> None:
    active(conn, worker, user_id="ada", gpu_count=8)
    active(conn, worker, user_id="bob", gpu_count=8, duration_hours=1)
    of_ada, of_bob = create(conn, user_id="ada", gpu_count=8), create(conn, user_id="bob", gpu_count=8)
    worker.run()
    assert in_line(conn) == [of_ada, of_bob]

    conn.execute("update public.line_settings set fair_share = true")

    assert in_line(conn) == [of_bob, of_ada]


def test_with_fair_share_many_of_one_user_do_not_stand_before_the_first_of_another(
    conn: Connection, worker: Worker
) -> None:
    conn.execute("update public.line_settings set fair_share = true")
    for user in ("eve", "eve"):
        active(conn, worker, user_id=user, gpu_count=8)
    of_eve = [create(conn, user_id="eve", gpu_count=8) for _ in range(3)]
    of_ada = create(conn, user_id="ada", gpu_count=8)
    worker.run()

    assert in_line(conn) == [of_ada, *of_eve]


def test_who_has_waited_for_a_day_is_ahead_of_all_others(conn: Connection, worker: Worker) -> None:
    conn.execute("update public.line_settings set fair_share = true")
    for _ in range(2):
        active(conn, worker, user_id="eve", gpu_count=8, duration_hours=72)
    of_eve = create(conn, user_id="eve", gpu_count=8)
    worker.run()
    move_clock(conn, 24 * H + 60)
    of_ada = create(conn, user_id="ada", gpu_count=8)
    worker.run()

    assert in_line(conn) == [of_eve, of_ada]


def test_an_extension_that_would_move_a_promised_start_is_refused_with_the_latest_time_possible(
    conn: Connection, worker: Worker
) -> None:
    first = active(conn, worker, gpu_count=8)
    second = active(conn, worker, gpu_count=8, duration_hours=6)
    head = create(conn, gpu_count=8)
    worker.run_until(lambda: row_of(conn, head)["promised_at"] is not None)

    for row_id, hours in ((first, 5), (second, 5)):
        ask_to_extend(conn, row_id, hours)
    worker.run()

    (refusal,) = letters(conn)
    assert refusal == "extension_hours: no more time is possible: its GPUs are promised to 1 that waits"
    assert row_of(conn, first)["duration_hours"] == 4
    assert row_of(conn, second)["duration_hours"] == 11


def test_two_extensions_at_once_that_would_move_a_promised_start_together_are_checked_one_after_the_other(
    conn: Connection, worker: Worker
) -> None:
    """Each alone leaves the head the node of the other."""
    both = [active(conn, worker, gpu_count=8) for _ in range(2)]
    conn.execute("update public.reservations set expires_at = public.fleet_now() + interval '4 hours'")
    head = create(conn, gpu_count=8)
    worker.run_until(lambda: row_of(conn, head)["promised_at"] is not None)
    promised = row_of(conn, head)["promised_at"]

    for row_id in both:
        ask_to_extend(conn, row_id, 5)
    worker.run()

    (refusal,) = letters(conn)
    assert refusal == "extension_hours: no more time is possible: its GPUs are promised to 1 that waits"
    assert sorted(row_of(conn, row_id)["duration_hours"] for row_id in both) == [4, 9]
    assert abs((row_of(conn, head)["promised_at"] - promised).total_seconds()) < 1
    assert_sound(conn)


def test_of_a_booking_and_an_extension_at_once_that_want_the_same_gpus_one_is_refused(
    conn: Connection, worker: Worker
) -> None:
    first = active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8, duration_hours=72)

    booking = create(conn, gpu_count=8, start_at=(now(conn) + timedelta(hours=6)).isoformat())
    ask_to_extend(conn, first, 12)
    worker.run()

    (refusal,) = letters(conn)
    is_extended = row_of(conn, first)["duration_hours"] == 16
    assert refusal.startswith("start_at: not all its GPUs are free" if is_extended else "extension_hours: at most ")
    assert status_of(conn, booking) == (None if is_extended else "queued")


def test_where_extensions_win_those_who_wait_are_told(conn: Connection, worker: Worker) -> None:
    conn.execute("update public.line_settings set extensions_win = true")
    first = active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8, duration_hours=6)
    head = create(conn, gpu_count=8)
    worker.run_until(lambda: row_of(conn, head)["promised_at"] is not None)

    ask_to_extend(conn, first, 1)
    worker.run()

    assert row_of(conn, first)["duration_hours"] == 5
    assert str(row_of(conn, head)["warning"]).startswith("Its start has moved from ")


def ask_to_extend(conn: Connection, row_id: str, hours: float) -> None:
    conn.execute(
        "select pgmq.send('gpu_reservations', jsonb_build_object('action', 'extend', 'reservation_id', %s::text,"
        " 'user_id', 'ada', 'extension_hours', %s::float8))",
        (row_id, hours),
    )
