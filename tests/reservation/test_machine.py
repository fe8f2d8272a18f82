"""A reservation's life, step by step, against a Kubernetes API over HTTP."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import (
    Connection,
    Worker,
    assert_sound,
    history_of,
    move_clock,
    new_id,
    row_of,
    send,
    settings_for,
    worker_on,
)
from worlds.reservations import QUEUE, active, ask, create, ended, letters, reach, status_of


def test_a_reservation_gets_its_pod_and_its_time_starts_then(conn: Connection, worker: Worker, box: Box) -> None:
    row = row_of(conn, active(conn, worker))

    assert history_of(conn, row["reservation_id"]) == [
        ("(new)", "pending"),
        ("pending", "preparing"),
        ("preparing", "active"),
    ]
    assert (row["expires_at"] - row["launched_at"]).total_seconds() == 4 * 3600
    assert row["ssh_command"] == f"ssh -p {row['node_port']} dev@{row['node_ip']}"
    assert row["pod_name"] == pod_name(row["reservation_id"])
    assert row["gpus_held"] == 2
    assert box.state()["gpus"]["h100"]["requested"] == 2
    assert_sound(conn)


def test_time_over_ends_it_and_leaves_nothing_behind(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)

    move_clock(conn, 4 * 3600 + 60)
    worker.run()
    assert row_of(conn, row_id)["status"] == "active", "the grace of 120 s is not over"
    move_clock(conn, 120)
    row = ended(conn, worker, row_id)

    assert row["status"] == "expired"
    assert row["gpus_held"] == 0
    assert box.state()["objects"]["pods"] == 0
    assert box.state()["objects"]["services"] == 0
    assert_sound(conn)


def test_the_same_create_twice_is_one_reservation(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)

    create(conn, reservation_id=row_id, gpu_count=8)
    worker.run()

    assert row_of(conn, row_id)["gpu_count"] == 2
    assert box.state()["created_pods"] == 1
    assert letters(conn) == []


def test_a_row_that_a_producer_inserted_itself_is_started(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at, github_user)"
        " values (%s, 'ada', 'pending', 'h100', 1, 1, now(), 'ada')",
        (row_id,),
    )
    create(conn, reservation_id=row_id)

    reach(conn, worker, row_id, "active")


def test_who_finds_no_gpus_waits_and_moves_up_oldest_first(conn: Connection, worker: Worker) -> None:
    first = active(conn, worker, gpu_count=8)
    second = active(conn, worker, gpu_count=8)
    third = create(conn, gpu_count=8)
    worker.run()
    fourth = create(conn, gpu_count=1)
    worker.run()
    assert row_of(conn, third)["current_detailed_status"] == "NO_CAPACITY: 8 GPUs wanted, 0 of 16 free"
    assert row_of(conn, fourth)["current_detailed_status"].startswith("BEHIND_OTHERS")

    ask(conn, "cancel", first)
    ended(conn, worker, first)
    reach(conn, worker, third, "active")

    assert row_of(conn, fourth)["status"] == "queued"
    ask(conn, "cancel", second)
    reach(conn, worker, fourth, "active")
    assert_sound(conn)


def test_of_a_batch_sent_at_one_moment_the_first_goes_first(conn: Connection, worker: Worker) -> None:
    with conn.transaction():
        rows = [create(conn, gpu_count=gpus) for gpus in (8, 8, 4, 4, 4)]

    worker.run_until(lambda: status_of(conn, rows[0]) == status_of(conn, rows[1]) == "active")

    assert [status_of(conn, row_id) for row_id in rows[2:]] == ["queued"] * 3


def test_when_the_head_of_the_line_leaves_those_behind_it_move_up(conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8, duration_hours=24)
    active(conn, worker, gpu_count=4)
    large = create(conn, gpu_count=8)
    worker.run()
    small = create(conn, gpu_count=4)
    worker.run()
    assert row_of(conn, small)["status"] == "queued"

    ask(conn, "cancel", large)

    reach(conn, worker, small, "active")


def test_a_cpu_type_takes_no_gpu_and_waits_for_none(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, gpu_type="cpu-x86", gpu_count=0)

    assert row_of(conn, row_id)["gpus_held"] == 0


@pytest.mark.parametrize("status", ["pending", "queued", "preparing", "active"])
def test_cancel_wins_from_every_live_state(conn: Connection, worker: Worker, box: Box, status: str) -> None:
    if status == "queued":
        active(conn, worker, gpu_count=8)
        active(conn, worker, gpu_count=8)
    pods = box.state()["objects"]["pods"]
    fields = {"name": "mine"} if status != "preparing" else {"dockerimage": "slow/pull:missing"}
    row_id = create(conn, **fields)
    while status_of(conn, row_id) != status:
        worker.run_once(1)
    # What else is due would move it on before the cancel does.
    conn.execute("delete from pgmq.q_gpu_reservations where message->>'action' = 'admit'")

    ask(conn, "cancel", row_id)
    row = ended(conn, worker, row_id)

    assert row["status"] == "cancelled"
    assert row["cancelled_at"] is not None
    assert row["gpus_held"] == 0
    assert history_of(conn, row_id)[-1] == (status, "cancelled")
    assert box.state()["objects"]["pods"] == pods
    assert_sound(conn)


def test_a_cancel_that_overtakes_its_create_leaves_a_tombstone(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    worker.run()
    assert status_of(conn, row_id) is None, "the create may still come"

    move_clock(conn, 31)
    worker.run()
    create(conn, reservation_id=row_id)
    worker.run()

    assert history_of(conn, row_id) == [("(new)", "cancelled")]
    assert box.state()["created_pods"] == 0
    assert letters(conn) == []


def test_a_create_within_the_patience_of_its_cancel_is_cancelled(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    worker.run()
    create(conn, reservation_id=row_id)

    move_clock(conn, 31)
    row = ended(conn, worker, row_id)

    assert row["status"] == "cancelled"


def test_the_old_form_of_cancel_is_read_as_cancel(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    send(conn, QUEUE, {"type": "cancellation", "reservation_id": row_id, "user_id": "ada"})

    assert ended(conn, worker, row_id)["status"] == "cancelled"


@pytest.mark.parametrize("action", ["cancel", "extend"])
def test_only_its_user_may_ask_for_it(conn: Connection, worker: Worker, action: str) -> None:
    row_id = active(conn, worker)

    ask(conn, action, row_id, user="eve", **({"extension_hours": 1} if action == "extend" else {}))
    worker.run()

    assert row_of(conn, row_id)["status"] == "active"
    assert letters(conn) == [f"reservation {row_id} does not belong to eve"]


@pytest.mark.parametrize("action", ["extend", "extend_reservation"])
def test_extend_gives_more_time_to_a_live_row(conn: Connection, worker: Worker, action: str) -> None:
    row_id = active(conn, worker)
    before = row_of(conn, row_id)["expires_at"]

    ask(conn, action, row_id, extension_hours=3)
    worker.run()

    row = row_of(conn, row_id)
    assert (row["expires_at"] - before).total_seconds() == 3 * 3600
    move_clock(conn, 4 * 3600 + 200)
    worker.run()
    assert row_of(conn, row_id)["status"] == "active"


def test_extend_twice_in_one_breath_gives_twice_the_time(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    before = row_of(conn, row_id)["expires_at"]

    ask(conn, "extend", row_id, extension_hours=3)
    ask(conn, "extend", row_id, extension_hours=3)
    worker.run()

    assert (row_of(conn, row_id)["expires_at"] - before).total_seconds() == 6 * 3600


def test_extend_past_the_total_is_refused_and_the_row_lives_on(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    ask(conn, "extend", row_id, extension_hours=165)
    worker.run()

    assert letters(conn) == ["extension_hours: 169 hours in total are more than 168"]
    assert row_of(conn, row_id)["status"] == "active"


def test_extend_of_a_final_row_does_nothing(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    before = ended(conn, worker, row_id)

    ask(conn, "extend", row_id, extension_hours=3)
    worker.run()

    assert row_of(conn, row_id) == before
    assert letters(conn) == []


def test_extend_of_an_unknown_row_waits_and_then_goes_to_the_dead_letters(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    ask(conn, "extend", row_id, extension_hours=3)
    worker.run()
    assert letters(conn) == []

    move_clock(conn, 31)
    worker.run()

    assert letters(conn) == [f"there is no reservation {row_id}"]


def test_late_messages_never_wake_a_final_row(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    before = ended(conn, worker, row_id)

    create(conn, reservation_id=row_id)
    ask(conn, "cancel", row_id)
    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": 1})
    worker.run()

    assert row_of(conn, row_id) == before
    assert box.state()["created_pods"] == 1


WRONG: list[tuple[Any, str]] = [
    (None, "the body is NULL, not an object"),
    (7, "the body is a number, not an object"),
    ("create", "the body is a string, not an object"),
    ([1], "the body is a list, not an object"),
    ({}, "action: is missing"),
    ({"action": "drop_tables"}, "action: 'drop_tables' is not known"),
    ({"action": {"a": 1}}, "action: something else is not known"),
    ({"gpu_count": 3}, "gpu_count: must be 1, 2, 4, 8 or 16, or 0 for a cpu type; not 3"),
    ({"gpu_count": "2"}, "gpu_count: must be a whole number"),
    ({"gpu_count": True}, "gpu_count: must be a whole number"),
    ({"gpu_count": 0}, "gpu_count: must be 1, 2, 4, 8 or 16 for h100; not 0"),
    ({"gpu_count": 16, "total_nodes": 1}, "gpu_count: a h100 node has 8 GPUs, not 16"),
    ({"gpu_type": "cpu-x86"}, "gpu_count: must be 0 for cpu-x86; not 2"),
    ({"gpu_type": "z9000"}, "gpu_type: z9000 is not known"),
    ({"gpu_type": "h100; drop table"}, "gpu_type: must be the name of a GPU type"),
    ({"duration_hours": 73}, "duration_hours: must be at most 72, not 73"),
    ({"duration_hours": 0}, "duration_hours: must be more than 0, not"),
    ({"duration_hours": -1}, "duration_hours: must be more than 0, not"),
    ({"duration_hours": "8"}, "duration_hours: must be a number"),
    ({"reservation_id": "not-a-uuid"}, "reservation_id: must be a UUID"),
    ({"reservation_id": None}, "reservation_id: must be text"),
    ({"user_id": "", "github_user": "ada"}, "user_id: must not be empty"),
    ({"user_id": "a\nb", "github_user": "ada"}, "user_id: must not contain control characters"),
    ({"github_user": "../../etc"}, "github_user: must be a name at GitHub"),
    ({"name": "x" * 2**17}, "name: must have at most 255 characters"),
    ({"env_vars": {"A=B": "1"}}, "env_vars: names must be printable ASCII characters without '='"),
    ({"env_vars": {"A": "x" * 2**17}}, "env_vars: must not hold more than 64 KiB"),
    ({"secondary_users": "bob"}, "secondary_users: must be a list"),
    ({"total_nodes": 5}, "total_nodes: must be at most 4, not 5"),
    ({"disk_name": "my home"}, "disk_name: must be letters"),
    ({"disk_size_gb": 100}, "disk_size_gb: only with disk_name"),
    ({"disk_name": "home", "disk_size_gb": 9}, "disk_size_gb: must be at least 10, not 9"),
]


@pytest.mark.parametrize(("body", "reason"), WRONG, ids=[reason[:40] for _, reason in WRONG])
def test_what_cant_be_understood_goes_to_the_dead_letters_with_the_reason(
    conn: Connection, worker: Worker, body: Any, reason: str
) -> None:
    if isinstance(body, dict) and body and "action" not in body:
        create(conn, **body)
    else:
        send(conn, QUEUE, body)

    worker.run()

    assert len(letters(conn)) == 1
    assert letters(conn)[0].startswith(reason)
    assert conn.execute("select count(*) from public.reservations").fetchone() == (0,)


def test_a_type_that_is_switched_off_takes_nobody_new_and_says_so_in_the_line(conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    waiting = create(conn)
    worker.run()

    conn.execute("update public.gpu_types set is_active = false where gpu_type = 'h100'")
    create(conn)
    move_clock(conn, 61)
    worker.run()

    assert letters(conn) == ["gpu_type: h100 is switched off"]
    assert row_of(conn, waiting)["current_detailed_status"] == "TYPE_DISABLED: h100 is switched off"


def test_waiting_for_48_hours_ends_as_cancelled(conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8, duration_hours=72)
    active(conn, worker, gpu_count=8, duration_hours=72)
    row_id = create(conn)
    worker.run()

    move_clock(conn, 48 * 3600 + 1)
    worker.run()

    row = row_of(conn, row_id)
    assert row["status"] == "cancelled"
    assert row["status_reason"] == "no GPUs within 48 hours"
    assert row["reservation_ended"] is not None


def test_nothing_is_waited_for_by_sleeping(conn: Connection, worker: Worker) -> None:
    """Every live row has exactly one message, and it is due later."""
    rows = [active(conn, worker), active(conn, worker, gpu_count=8), create(conn, gpu_count=8)]
    worker.run()

    for row_id in rows:
        tickets = conn.execute(
            "select count(*) from pgmq.q_gpu_reservations where message->>'reservation_id' = %s"
            " and message->>'ticket' = %s",
            (row_id, str(row_of(conn, row_id)["ticket"])),
        ).fetchone()
        assert tickets == (1,)


def test_behind_a_transaction_pooler_it_works_as_well(dsn: str, conn: Connection, box: Box) -> None:
    """DATABASE_DIRECT_URL says that DATABASE_URL is a pooler: nothing is prepared, nothing set for a session."""
    settings = settings_for(dsn, box, database_direct_url=f"{dsn}&application_name=direct")
    assert settings.pooled

    with worker_on(KIND, settings) as worker:
        row_id = active(conn, worker)
        ask(conn, "cancel", row_id)
        ended(conn, worker, row_id)

    assert_sound(conn)


def test_secrets_in_a_message_reach_no_log(conn: Connection, worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    active(conn, worker, env_vars={"API_KEY": "hunter2-hunter2"})
    create(conn, env_vars={"API_KEY": "hunter2-hunter2"}, gpu_count=3)
    worker.run()

    told = capfd.readouterr()
    assert "hunter2" not in told.out + told.err
    assert "hunter2" not in str(letters(conn))
