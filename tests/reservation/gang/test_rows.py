"""A gang's rows: one message makes all of them, and whatever ends or prolongs one does so to all."""

from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.schema.gang.nodes import gang_ids
from pgfleet.schema.reservation import retried_id
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, settings_for, worker_on
from worlds.reservations import active, all_are, all_ended, ask, create, gang, letters, moments, rows_of, statuses


def test_one_message_makes_all_rows_in_one_commit(conn: Connection, worker: Worker) -> None:
    ids = gang(conn, 2, name="llama", jupyter_enabled=True)

    rows = all_are(conn, worker, ids, "active")

    assert ids[1] == str(uuid5(UUID(ids[0]), "1"))
    assert [row["name"] for row in rows] == ["llama - node 1/2", "llama - node 2/2"]
    assert [row["node_index"] for row in rows] == [0, 1]
    assert {row["master_reservation_id"] for row in rows} == {ids[0]}
    assert {(row["total_nodes"], row["is_multinode"], row["gpu_count"]) for row in rows} == {(2, True, 4)}
    assert [row["jupyter_enabled"] for row in rows] == [True, False]
    assert [row["jupyter_token"] is not None for row in rows] == [True, False]
    assert moments(conn, ids)["pending"] == 1
    assert letters(conn) == []
    assert_sound(conn)


def test_the_same_gang_twice_is_one(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    all_are(conn, worker, ids, "active")

    create(conn, reservation_id=ids[0], total_nodes=2, gpu_count=4)
    worker.run()

    assert conn.execute("select count(*) from public.reservations").fetchone() == (2,)
    assert letters(conn) == []


def test_sixteen_gpus_of_a_type_with_eight_a_node_are_two_nodes(conn: Connection, worker: Worker) -> None:
    ids = gang_ids(create(conn, gpu_count=16), 2)

    rows = all_are(conn, worker, ids, "active")

    assert [(row["gpu_count"], row["total_nodes"]) for row in rows] == [(8, 2), (8, 2)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"gpu_type": "a10g", "gpu_count": 16},
            "a a10g node has 4 GPUs, not 16; ask for 4 nodes with 4 GPUs each: total_nodes 4, gpu_count 4",
        ),
        ({"gpu_count": 16, "total_nodes": 1}, "ask for 2 nodes with 8 GPUs each: total_nodes 2, gpu_count 8"),
        ({"gpu_count": 4, "total_nodes": 5}, "total_nodes"),
        ({"gpu_count": 4, "total_nodes": 2, "env_vars": {"MASTER_PORT": "1"}}, "MASTER_PORT in a gang is pgfleet's"),
        ({"gpu_count": 4, "total_nodes": 2, "name": "n" * 250}, "name: must not have more than 244 characters"),
    ],
)
def test_what_no_gang_can_be_is_refused_with_the_reason(
    conn: Connection, worker: Worker, fields: dict[str, Any], reason: str
) -> None:
    create(conn, **fields)
    worker.run()

    (letter,) = letters(conn)
    assert reason in letter
    assert conn.execute("select count(*) from public.reservations").fetchone() == (0,)


def test_a_gang_counts_as_many_reservations_as_it_has_nodes(conn: Connection, worker: Worker) -> None:
    conn.execute("update public.policies set most = 3 where limit_name = 'reservations'")
    ids = gang(conn)
    all_are(conn, worker, ids, "active")

    gang(conn)
    worker.run()

    (letter,) = letters(conn)
    assert letter == "ada has 2 reservations that wait or run, and may have 3; 2 more would be too many"


@pytest.mark.parametrize("asked", [0, 1])
def test_a_cancel_of_any_node_ends_all_in_one_commit(conn: Connection, worker: Worker, asked: int) -> None:
    ids = gang(conn)
    all_are(conn, worker, ids, "active")

    ask(conn, "cancel", ids[asked], request_id="r")
    rows = all_ended(conn, worker, ids)

    assert {row["status"] for row in rows} == {"cancelled"}
    assert moments(conn, ids)["cancelled"] == 1
    assert [row["requests_done"][-1]["request_id"] for row in rows] == ["r", "r"]
    assert [row["gpus_held"] for row in rows] == [0, 0]
    assert_sound(conn)


def test_an_extension_of_any_node_prolongs_all_once(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    before = all_are(conn, worker, ids, "active")

    for asked in ids:
        ask(conn, "extend", asked, extension_hours=2, request_id="r")
    worker.run()

    rows = rows_of(conn, ids)
    assert {row["duration_hours"] for row in rows} == {6}
    assert {(row["expires_at"] - before[0]["expires_at"]).total_seconds() for row in rows} == {2 * 3600}


def test_its_time_ends_all_nodes_in_one_commit(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    rows = all_are(conn, worker, ids, "active")
    assert len({row["expires_at"] for row in rows}) == 1

    move_clock(conn, 4 * 3600 + 180)
    rows = all_ended(conn, worker, ids)

    assert {(row["status"], row["status_reason"]) for row in rows} == {("expired", "its 4 hours are over")}
    assert moments(conn, ids)["expired"] == 1


def test_what_waits_too_long_is_given_up_as_a_whole(conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    ids = gang(conn)
    all_are(conn, worker, ids, "queued")

    move_clock(conn, 48 * 3600 + 60)
    rows = all_ended(conn, worker, ids)

    assert {row["status"] for row in rows} == {"cancelled"}
    assert moments(conn, ids)["cancelled"] == 1


def test_at_the_limit_of_attempts_all_fail(conn: Connection, dsn: str) -> None:
    with (
        sandbox.running(["h100:2x8"], ready_delay_s=3600) as box,
        worker_on(KIND, settings_for(dsn, box)) as worker,
    ):
        ids = gang(conn)
        all_are(conn, worker, ids, "preparing")
        worker.run_until(lambda: all(row["pod_uid"] for row in rows_of(conn, ids)))

        move_clock(conn, 3601)
        rows = all_ended(conn, worker, ids)

    assert {row["status"] for row in rows} == {"failed"}
    assert moments(conn, ids)["failed"] == 1
    reasons = {row["failure_reason"] for row in rows}
    assert any(reason.startswith("node ") for reason in reasons)
    assert all("not ready within 60 minutes" in reason for reason in reasons)


def test_a_retry_makes_a_new_gang(conn: Connection, worker: Worker) -> None:
    ids = gang(conn, name="llama")
    all_are(conn, worker, ids, "active")
    ask(conn, "cancel", ids[0])
    all_ended(conn, worker, ids)

    ask(conn, "retry", ids[0])
    new = gang_ids(retried_id(ids[0]), 2)
    rows = all_are(conn, worker, new, "active")

    assert [row["name"] for row in rows] == ["llama - node 1/2", "llama - node 2/2"]
    assert {row["retried_from"] for row in rows} == {ids[0]}
    assert statuses(conn, ids) == ["cancelled", "cancelled"]


def test_a_retry_of_one_of_its_nodes_says_what_to_retry(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    all_are(conn, worker, ids, "active")
    ask(conn, "cancel", ids[0])
    all_ended(conn, worker, ids)

    ask(conn, "retry", ids[1])
    ask(conn, "retry", ids[0], request_id="1")
    worker.run()

    first, second = sorted(letters(conn))
    assert first == "request_id: 1 is the number of a node of this gang; choose another"
    assert second == f"reservation {ids[1]} is a node of gang {ids[0]}: retry that"


def test_a_node_that_was_cancelled_before_its_gang_came_keeps_the_gang_from_coming(
    conn: Connection, worker: Worker
) -> None:
    ids = gang_ids(new_id(), 2)
    ask(conn, "cancel", ids[1])
    move_clock(conn, 31)
    worker.run()

    create(conn, reservation_id=ids[0], total_nodes=2, gpu_count=4)
    worker.run()

    assert statuses(conn, ids) == ["cancelled", "cancelled"]
    assert letters(conn) == []


def test_an_id_that_another_has_taken_refuses_the_gang(conn: Connection, worker: Worker) -> None:
    ids = gang_ids(new_id(), 2)
    create(conn, reservation_id=ids[1], user_id="eve", gpu_count=1)
    worker.run()

    create(conn, reservation_id=ids[0], total_nodes=2, gpu_count=4)
    worker.run()

    (letter,) = letters(conn)
    assert letter == f"reservation_id: {ids[1]}, which one node of this gang would be, is another reservation"


def test_rows_that_a_producer_has_inserted_are_started_together(conn: Connection, worker: Worker) -> None:
    ids = gang_ids(new_id(), 2)
    for index, row_id in enumerate(ids):
        conn.execute(
            "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
            " created_at, github_user, is_multinode, master_reservation_id, node_index, total_nodes)"
            " values (%s, 'ada', 'pending', 'h100', 4, 1, now(), 'ada', true, %s, %s, 2)",
            (row_id, ids[0], index),
        )

    create(conn, reservation_id=ids[0], total_nodes=2, gpu_count=4)

    all_are(conn, worker, ids, "active")


def test_nobody_moves_one_node_of_a_gang_alone(conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    all_are(conn, worker, ids, "active")
    cancel = "update public.reservations set status = 'cancelled' where reservation_id = any(%s)"

    with pytest.raises(psycopg.Error, match="would be in different states: active, cancelled") as refused:
        conn.execute(cancel, (ids[:1],))
    conn.execute(cancel, (ids,))

    assert refused.value.sqlstate == "PF012"
    assert statuses(conn, ids) == ["cancelled", "cancelled"]


@pytest.mark.parametrize(("column", "value"), [("jupyter_enabled", True), ("disk_name", "data")])
def test_nobody_gives_a_disk_or_jupyter_to_another_node_than_the_first(
    conn: Connection, worker: Worker, column: str, value: Any
) -> None:
    """A service that inserts rows itself is told so; it gets neither, and not in silence."""
    ids = gang_ids(new_id(), 2)
    insert = (
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        f" created_at, is_multinode, master_reservation_id, node_index, total_nodes, {column})"
        " values (%s, 'ada', 'pending', 'h100', 4, 1, now(), true, %s, %s, 2, %s)"
    )
    conn.execute(insert, (ids[0], ids[0], 0, value))
    there = gang(conn)
    all_are(conn, worker, there, "active")

    with pytest.raises(psycopg.Error, match=f"{column}: reservation {ids[1]} is not the first node") as inserted:
        conn.execute(insert, (ids[1], ids[0], 1, value))
    with pytest.raises(psycopg.Error, match="is not the first node of gang") as updated:
        conn.execute(f"update public.reservations set {column} = %s where reservation_id = %s", (value, there[1]))

    assert {inserted.value.sqlstate, updated.value.sqlstate} == {"PF004"}
