"""Reservations that are placed with their message: there at once, checked by the worker as any other."""

from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgfleet.producers.placing.refusing import IdUsedError, NotTheirsError
from pgfleet.producers.placing.reservation import place_reservation
from pgfleet.schema.gang.nodes import gang_ids
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import speaking_for
from pgfleet.schema.reservation import CreateReservation
from worlds.api.login import ADA, BOB, BOSS, NODE, OPS, serving_on
from worlds.fleet import Connection, Worker, history_of, move_clock, new_id, row_of, until
from worlds.reservations import ask, create, letters, reach, rows_of, status_of, statuses


def wanted(**fields: Any) -> CreateReservation:
    usual = {"reservation_id": new_id(), "user_id": "ada", "github_user": "ada", "gpu_type": "h100", "gpu_count": 2}
    return CreateReservation(**{**usual, **fields})


def placed(serving: Connection, who: Principal = ADA, **fields: Any) -> str:
    with speaking_for(serving, who):
        return place_reservation(serving, wanted(**fields))


def policy(conn: Connection, name: str, most: float) -> None:
    conn.execute(
        "insert into public.policies (applies_to, subject, limit_name, most) values ('user', 'ada', %s, %s)",
        (name, most),
    )


def test_a_placed_reservation_is_there_at_once_and_becomes_active(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    row_id = placed(serving, env_vars={"TOKEN": "x"}, command="sleep 1", name="mine", secondary_users=["bob"])
    row = row_of(conn, row_id)
    assert (row["status"], row["user_id"], row["name"]) == ("pending", "ada", "mine")

    row = reach(conn, worker, row_id, "active")

    assert (row["env_vars"], row["command"], row["secondary_users"]) == ({"TOKEN": "x"}, "sleep 1", ["bob"])
    assert row["unchecked_since"] is None
    assert (row["namespace"], row["instance_type"]) == ("gpu-dev", "p5.48xlarge")
    assert letters(conn) == []


def test_its_row_is_the_one_that_its_message_alone_would_make(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    fields: dict[str, Any] = {"gpu_type": "cpu-x86", "gpu_count": 0, "jupyter_enabled": True, "duration_hours": 4.0}
    ids = [placed(serving, **fields), create(conn, **fields)]
    worker.run_once()

    one, other = (row_of(conn, row_id) for row_id in ids)

    differing = {name for name in one if one[name] != other[name]}
    of_each = {"reservation_id", "line_number", "jupyter_token", "created_at", "updated_at", "waiting_since"}
    assert differing - of_each - {"status_since", "status_history", "status_reason", "status_msg_id"} == {"asked_hash"}


def test_who_asks_is_stamped_and_signs_the_history(conn: Connection, serving: Connection) -> None:
    row_id = placed(serving)

    ((headers,),) = conn.execute("select headers from pgmq.q_gpu_reservations").fetchall()
    signed = conn.execute("select actor, reason from public.status_history where row_id = %s", (row_id,)).fetchone()

    assert (headers["asked_by"], headers["asked_role"]) == ("ada", "USER")
    assert signed == ("ada", "asked for")


def test_without_a_commit_there_is_neither_row_nor_message(conn: Connection, serving: Connection) -> None:
    with serving.transaction(force_rollback=True):
        row_id = placed(serving)

    assert status_of(conn, row_id) is None
    assert conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (0,)


@pytest.mark.parametrize("fields", [{"total_nodes": 3, "gpu_count": 4}, {"gpu_count": 16}], ids=str)
def test_all_nodes_of_a_gang_are_placed_as_the_worker_makes_them(
    conn: Connection, serving: Connection, worker: Worker, fields: dict[str, Any]
) -> None:
    nodes = fields.get("total_nodes", 2)
    ids = gang_ids(placed(serving, name="g", jupyter_enabled=True, disk_name="home", **fields), nodes)

    rows = rows_of(conn, ids)
    worker.run_once()

    assert [row["name"] for row in rows] == [f"g - node {index + 1}/{nodes}" for index in range(nodes)]
    assert [row["disk_name"] for row in rows] == ["home"] + [None] * (nodes - 1)
    assert {row["unchecked_since"] for row in rows_of(conn, ids)} == {None}
    assert letters(conn) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"gpu_type": "h900"}, "gpu_type: h900 is not known"),
        ({"gpu_count": 16, "gpu_type": "t4"}, "gpu_count: a t4 node has 4 GPUs"),
        ({"disk_size_gb": 20}, "disk_size_gb: only with disk_name"),
        ({"total_nodes": 2, "env_vars": {"MASTER_PORT": "1"}}, "env_vars: MASTER_PORT"),
    ],
    ids=str,
)
def test_what_the_worker_refuses_has_failed_with_the_reason_in_that_commit(
    conn: Connection, serving: Connection, worker: Worker, fields: dict[str, Any], reason: str
) -> None:
    row_id = placed(serving, **fields)

    worker.run_once()

    rows = rows_of(conn, gang_ids(row_id, fields.get("total_nodes", 1)))
    assert {row["status"] for row in rows} == {"failed"}
    assert all(row["failure_reason"].startswith(reason) and row["reservation_ended"] for row in rows)
    assert letters(conn) == [rows[0]["failure_reason"]]
    verdict = "select verdict, d.xmin::text = h.xmin::text from public.dead_letters d, public.status_history h"
    assert conn.execute(f"{verdict} where h.row_id = %s and h.to_status = 'failed'", (row_id,)).fetchone() == (
        "rejection",
        True,
    )


def test_of_two_that_are_one_too_many_one_is_kept(conn: Connection, serving: Connection, worker: Worker) -> None:
    policy(conn, "reservations", 1)
    ids = [placed(serving), placed(serving)]

    worker.run_until(lambda: sorted(statuses(conn, ids)) == ["active", "failed"])

    assert letters(conn) == ["ada has 1 reservations that wait or run, and may have 1"]


def test_what_two_workers_take_up_at_once_is_counted_by_the_database(conn: Connection, serving: Connection) -> None:
    policy(conn, "reservations", 1)
    ids = [placed(serving), placed(serving)]
    conn.execute("select set_config('pgfleet.actor', 'worker-1', false)")
    take_up = "update public.reservations set unchecked_since = null where reservation_id = %s"
    conn.execute(take_up, (ids[0],))

    with pytest.raises(psycopg.Error) as error:
        conn.execute(take_up, (ids[1],))

    assert error.value.sqlstate == "PF409"


@pytest.mark.parametrize(
    ("column", "value"),
    [("gpu_count", 8), ("duration_hours", 72), ("dockerimage", "evil/image:1"), ("github_user", "eve")],
)
def test_a_row_that_is_not_as_its_message_asks_fails(
    conn: Connection, serving: Connection, worker: Worker, column: str, value: Any
) -> None:
    row_id = placed(serving)
    conn.execute(f"update public.reservations set {column} = %s where reservation_id = %s".encode(), (value, row_id))

    worker.run_once()

    row = row_of(conn, row_id)
    assert row["status"] == "failed"
    assert row["failure_reason"] == f"{column}: not as the row has it that was placed with the message"


def test_until_its_message_is_checked_it_stands_in_no_line(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    row_id = placed(serving)
    conn.execute("update pgmq.q_gpu_reservations set vt = vt + interval '1 hour'")
    other = create(conn)

    reach(conn, worker, other, "active")
    give_turn(conn, row_id)
    worker.run()

    assert status_of(conn, row_id) == "pending"
    assert conn.execute("select count(*) from public.waiting_reservations").fetchone() == (0,)


def give_turn(conn: Connection, row_id: str) -> None:
    body = {"action": "advance", "reservation_id": row_id, "ticket": -1}
    conn.execute("select pgmq.send('gpu_reservations', %s::jsonb)", (Jsonb(body),))


def test_one_whose_message_is_gone_fails_by_the_sweep(conn: Connection, serving: Connection, worker: Worker) -> None:
    ids = gang_ids(placed(serving, total_nodes=2), 2)
    conn.execute("delete from pgmq.q_gpu_reservations")
    move_clock(conn, 61)
    conn.execute("""select pgmq.send('gpu_reservations', '{"action": "sweep"}')""")

    worker.run_until(lambda: statuses(conn, ids) == ["failed", "failed"])

    assert "its message was lost" in row_of(conn, ids[0])["failure_reason"]


def test_a_gang_whose_message_waits_for_a_worker_is_not_forgotten(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    ids = gang_ids(placed(serving, total_nodes=2), 2)
    move_clock(conn, 300)
    conn.execute("""select pgmq.send('gpu_reservations', '{"action": "sweep"}')""")
    conn.execute("update pgmq.q_gpu_reservations set vt = vt + interval '1 hour' where message ->> 'action' <> 'sweep'")

    worker.run()
    assert statuses(conn, ids) == ["pending", "pending"]
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now()")

    worker.run_until(lambda: statuses(conn, ids) == ["active", "active"])


def test_a_cancel_that_overtakes_ends_it_and_its_create_does_nothing(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    row_id = placed(serving)
    conn.execute("update pgmq.q_gpu_reservations set vt = vt + interval '1 second'")
    ask(conn, "cancel", row_id)

    worker.run()
    move_clock(conn, 2)
    worker.run()

    assert [to for _, to in history_of(conn, row_id)] == ["pending", "cancelled"]
    assert letters(conn) == []


def test_more_hours_that_are_asked_for_at_once_are_given_when_it_is_checked(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    row_id = placed(serving, duration_hours=4.0)
    conn.execute("update pgmq.q_gpu_reservations set vt = vt + interval '1 second'")
    ask(conn, "extend", row_id, extension_hours=2)

    worker.run()
    move_clock(conn, 10)
    worker.run_until(lambda: row_of(conn, row_id)["duration_hours"] == 6)

    assert letters(conn) == []


def test_the_same_again_is_one_reservation(conn: Connection, serving: Connection) -> None:
    message = wanted(name="mine")

    for version in ("1.0", "1.1"):
        with speaking_for(serving, ADA):
            place_reservation(serving, message.model_copy(update={"version": version}))

    assert conn.execute("select count(*) from public.reservations").fetchone() == (1,)
    assert conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (1,)


def test_the_same_again_is_one_also_when_it_has_been_prolonged_and_is_over(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    message = wanted()
    with speaking_for(serving, ADA):
        place_reservation(serving, message)
    reach(conn, worker, message.reservation_id, "active")
    ask(conn, "extend", message.reservation_id, extension_hours=2)
    ask(conn, "cancel", message.reservation_id)
    reach(conn, worker, message.reservation_id, "cancelled")

    with speaking_for(serving, ADA):
        assert place_reservation(serving, message) == message.reservation_id


@pytest.mark.parametrize("fields", [{"gpu_count": 4}, {"env_vars": {"A": "b"}}, {"total_nodes": 2}], ids=str)
def test_an_id_that_was_used_for_something_else_is_refused(
    conn: Connection, serving: Connection, fields: dict[str, Any]
) -> None:
    row_id = placed(serving)

    with pytest.raises(IdUsedError, match="was used for something else"):
        placed(serving, reservation_id=row_id, **fields)

    assert conn.execute("select count(*) from public.reservations").fetchone() == (1,)


def test_a_gang_of_which_one_node_is_anothers_reservation_is_refused_whole(
    conn: Connection, serving: Connection
) -> None:
    row_id = new_id()
    placed(serving, reservation_id=gang_ids(row_id, 2)[1])

    with pytest.raises(IdUsedError):
        placed(serving, reservation_id=row_id, total_nodes=2)

    assert status_of(conn, row_id) is None


def test_anothers_id_is_not_told_from_one_used_for_something_else(serving: Connection) -> None:
    row_id = placed(serving)

    with pytest.raises(IdUsedError):
        placed(serving, BOB, reservation_id=row_id, user_id="bob", github_user="ada")


def test_one_that_was_cancelled_ahead_of_its_create_stays_so(
    conn: Connection, serving: Connection, worker: Worker
) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    worker.run_once()
    move_clock(conn, 31)
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")

    assert placed(serving, reservation_id=row_id) == row_id

    assert status_of(conn, row_id) == "cancelled"


@pytest.mark.parametrize("who", [BOB, NODE])
def test_nobody_places_for_another_and_a_node_for_nobody(conn: Connection, serving: Connection, who: Principal) -> None:
    with pytest.raises(NotTheirsError):
        placed(serving, who)

    assert conn.execute("select count(*) from public.reservations").fetchone() == (0,)


@pytest.mark.parametrize("who", [OPS, BOSS])
def test_an_operator_places_for_others(conn: Connection, serving: Connection, worker: Worker, who: Principal) -> None:
    row_id = placed(serving, who)

    worker.run_once()

    assert (row_of(conn, row_id)["user_id"], letters(conn)) == ("ada", [])


def test_two_that_place_the_same_at_once_make_one(conn: Connection, serving: Connection, dsn: str) -> None:
    message, others = wanted(total_nodes=2), list[str]()
    with serving_on(dsn) as second:

        def again() -> None:
            with speaking_for(second, ADA):
                others.append(place_reservation(second, message))

        with speaking_for(serving, ADA):
            place_reservation(serving, message)
            thread = Thread(target=again)
            thread.start()
            blocked = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
            until(lambda: conn.execute(blocked).fetchone() == (True,))
        thread.join()

    assert others == [message.reservation_id]
    assert conn.execute("select count(*) from public.reservations").fetchone() == (2,)
    assert conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (1,)
