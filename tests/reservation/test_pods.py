"""A reservation and its pod: what can go wrong outside, and what becomes of the row."""

from typing import Any

import psycopg
import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.workers.reservation import line
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

PODS = r"/namespaces/gpu-dev/pods"


def preparing(conn: Connection, worker: Worker, **fields: Any) -> str:
    row_id = create(conn, **fields)
    reach(conn, worker, row_id, "preparing")
    return row_id


def test_an_image_that_cant_be_pulled_fails_the_row_with_its_reason(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = create(conn, dockerimage="example/missing:1")
    worker.run_until(lambda: "ImagePullBackOff" in (row_of(conn, row_id)["current_detailed_status"] or ""))

    move_clock(conn, 1801)
    row = ended(conn, worker, row_id)

    assert row["status"] == "failed"
    assert "ImagePullBackOff" in row["failure_reason"]
    assert row["gpus_held"] == 0
    assert box.state()["objects"]["pods"] == 0
    assert letters(conn) == [], "the row failed, its message did not"


def test_a_pod_that_finds_no_node_goes_back_to_the_line_and_pauses(conn: Connection, worker: Worker, box: Box) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=4)
        active(conn, worker, gpu_count=2)
    # Four GPUs are free, but two on each node.
    conn.execute("update public.gpu_types set max_per_node = 8 where gpu_type = 'h100'")
    row_id = create(conn, gpu_count=4)
    worker.run_until(lambda: "No node yet" in (row_of(conn, row_id)["current_detailed_status"] or ""))

    move_clock(conn, 31)
    row = reach(conn, worker, row_id, "queued")

    assert row["gpus_held"] == 0
    assert row["pod_name"] is None
    assert row["schedule_failures"] == 1
    assert box.state()["objects"]["pods"] == 4
    assert_sound(conn)
    behind = active(conn, worker, gpu_count=1)
    assert status_of(conn, row_id) == "queued", "it pauses, and those behind it are not blocked"
    ask(conn, "cancel", behind)
    box.add_nodes("h100", 1, 8)
    move_clock(conn, 61)
    reach(conn, worker, row_id, "active")
    assert_sound(conn)


def test_a_scheduler_that_repeats_its_event_only_after_half_an_hour_is_understood(conn: Connection, dsn: str) -> None:
    with (
        sandbox.running(["h100:2x8"], ready_delay_s=0.02, termination_delay_s=0.02, scheduling_retry_s=1800) as box,
        worker_on(KIND, settings_for(dsn, box)) as worker,
    ):
        for _ in range(2):
            active(conn, worker, gpu_count=4)
            active(conn, worker, gpu_count=2)
        row_id = create(conn, gpu_count=4)
        worker.run_until(lambda: "No node yet" in (row_of(conn, row_id)["current_detailed_status"] or ""))

        move_clock(conn, 91)
        reach(conn, worker, row_id, "queued")


def test_a_reservation_of_the_same_pod_name_takes_nothing_with_it(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = active(conn, worker)
    monkeypatch.setattr(line, "pod_name", lambda *_: pod_name(first))
    second = create(conn)
    worker.run_until(lambda: "older pod" in (row_of(conn, second)["current_detailed_status"] or ""))

    ask(conn, "cancel", second)
    ended(conn, worker, second)

    assert status_of(conn, first) == "active"
    assert box.state()["objects"]["pods"] == 1
    assert box.state()["objects"]["services"] == 1


def test_a_pod_that_comes_after_its_row_left_the_cluster_is_swept(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    conn.execute("delete from pgmq.q_gpu_reservations")
    conn.execute(
        "update public.reservations set status = 'cancelled', gpus_held = 0, pod_name = null, reservation_ended = now()"
        " where reservation_id = %s",
        (row_id,),
    )

    send(conn, QUEUE, {"action": "sweep_pods"})

    worker.run_until(lambda: box.state()["objects"]["pods"] == 0)
    assert box.state()["objects"]["services"] == 0


@pytest.mark.parametrize(("gpu_type", "gpu_count"), [("h100", None), ("H100", 1), (None, 1), ("h100", 16), ("h100", 0)])
def test_a_row_that_a_producer_inserted_wrong_fails_alone(
    conn: Connection, worker: Worker, gpu_type: str | None, gpu_count: int | None
) -> None:
    wrong = new_id()
    conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)"
        " values (%s, 'ada', 'pending', %s, %s, 1, now())",
        (wrong, gpu_type, gpu_count),
    )
    create(conn, reservation_id=wrong)
    right = active(conn, worker)

    assert row_of(conn, wrong)["status"] == "failed"
    assert "gpu_" in row_of(conn, wrong)["failure_reason"]
    assert status_of(conn, right) == "active"
    assert letters(conn) == []


def test_a_row_that_somebody_holds_open_waits_and_is_not_given_up(conn: Connection, dsn: str, box: Box) -> None:
    with worker_on(KIND, settings_for(dsn, box, statement_timeout_s=0.3, lease_s=20)) as worker:
        row_id, other = active(conn, worker), active(conn, worker)
        with psycopg.connect(dsn) as holder:
            holder.execute("select from public.reservations where reservation_id = %s for update", (row_id,))
            ask(conn, "extend", row_id, extension_hours=1)
            ask(conn, "extend", other, extension_hours=1)
            for _ in range(5):
                worker.run_once()
            assert row_of(conn, other)["duration_hours"] == 5
            assert row_of(conn, row_id)["duration_hours"] == 4
        worker.run_until(lambda: row_of(conn, row_id)["duration_hours"] == 5)

    assert letters(conn) == []


def test_a_pod_that_never_answers_on_ssh_fails(conn: Connection, worker: Worker, box: Box) -> None:
    box.starts("never-ready")
    row_id = preparing(conn, worker)
    worker.run_until(lambda: row_of(conn, row_id)["pod_running_at"] is not None)

    move_clock(conn, 601)
    row = ended(conn, worker, row_id)

    assert row["status"] == "failed"
    assert row["failure_reason"].startswith("SSH did not answer within 10 minutes")


def test_preparing_for_an_hour_fails(conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=8, duration_hours=72)
    conn.execute("update public.gpu_types set total_cluster_gpus = 32 where gpu_type = 'h100'")
    conn.execute("update public.periodic set next_at = 'infinity'")
    row_id = preparing(conn, worker)

    move_clock(conn, 3601)
    row = ended(conn, worker, row_id)

    assert row["status"] == "failed"
    assert row["failure_reason"] == "not ready within 60 minutes"
    assert_sound(conn)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 409}, {"drop": True}], ids=str)
def test_one_bad_answer_costs_one_attempt_and_nothing_else(
    conn: Connection, worker: Worker, box: Box, fault: dict[str, Any]
) -> None:
    box.fault(PODS, method="POST", times=1, **fault)

    row_id = active(conn, worker)

    assert status_of(conn, row_id) == "active"
    assert box.state()["created_pods"] == 1


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}], ids=str)
def test_a_pod_whose_creation_was_not_confirmed_is_adopted(
    conn: Connection, worker: Worker, box: Box, fault: dict[str, Any]
) -> None:
    box.fault(rf"{PODS}$", method="POST", times=1, after=True, **fault)
    box.fault(r"/services$", method="POST", times=1, after=True, **fault)

    row_id = active(conn, worker)

    assert box.state()["created_pods"] == 1
    assert row_of(conn, row_id)["node_port"] is not None
    assert box.state()["objects"]["services"] == 1


def test_three_failed_attempts_fail_the_row_and_the_message_with_the_last_error(
    conn: Connection, worker: Worker, box: Box
) -> None:
    box.rule("webhook", image="forbidden", code=409)
    row_id = create(conn, dockerimage="example.org/forbidden:1")

    row = ended(conn, worker, row_id)

    assert row["status"] == "failed"
    assert row["failure_reason"].startswith("Kubernetes answered 409")
    assert letters(conn) == [row["failure_reason"]]
    assert history_of(conn, row_id)[-1] == ("preparing", "failed")
    assert_sound(conn)


def test_being_asked_to_wait_is_no_failure(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(PODS, status=429, retry_after=0, times=4)
    row_id = create(conn)

    for _ in range(6):
        worker.run()
        move_clock(conn, 2)
    reach(conn, worker, row_id, "active")

    assert status_of(conn, row_id) == "active"
    assert letters(conn) == []


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("nobody-at-all", "GitHub knows no user nobody-at-all"),
        ("nokeys-ada", "none of nokeys-ada has an SSH key on GitHub"),
    ],
)
def test_without_a_key_nobody_could_log_in_so_it_fails(
    conn: Connection, worker: Worker, box: Box, user: str, reason: str
) -> None:
    row = ended(conn, worker, create(conn, github_user=user))

    assert row["status"] == "failed"
    assert row["failure_reason"].startswith(reason)
    assert box.state()["created_pods"] == 0


def test_a_mistyped_other_user_keeps_nobody_out_and_is_named(conn: Connection, worker: Worker) -> None:
    others = ["bob", "nobody-at-all", "nokeys-eve"]

    row = row_of(conn, active(conn, worker, secondary_users=others))

    assert row["warning"] == "no SSH key of nobody-at-all, nokeys-eve is on GitHub: they can't log in"


def test_the_user_is_the_github_user_unless_another_is_named(conn: Connection, worker: Worker) -> None:
    assert row_of(conn, active(conn, worker))["github_user"] == "ada"


def test_a_pod_seen_gone_twice_expires_the_row(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    move_clock(conn, 700)
    worker.run()
    box.behave("gpu-dev", pod_name(row_id), "vanish")

    move_clock(conn, 61)
    worker.run()
    assert status_of(conn, row_id) == "active", "one look may be wrong"
    move_clock(conn, 11)
    row = ended(conn, worker, row_id)

    assert row["status"] == "expired"
    assert row["status_reason"].startswith("POD_LOST")


def test_a_young_pod_that_is_not_seen_is_given_time(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.behave("gpu-dev", pod_name(row_id), "vanish")

    for _ in range(4):
        move_clock(conn, 100)
        worker.run()

    assert status_of(conn, row_id) == "active"


def test_an_outage_of_the_api_observes_nothing(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    move_clock(conn, 700)
    worker.run()
    box.fault(PODS, status=500, times=20)

    for _ in range(10):
        move_clock(conn, 61)
        worker.run()
    box.clear_faults()
    worker.run()

    assert status_of(conn, row_id) == "active"
    assert letters(conn) == []


def test_out_of_memory_is_counted_once_and_ends_nothing(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.behave("gpu-dev", pod_name(row_id), "oom")

    for _ in range(3):
        move_clock(conn, 61)
        worker.run()

    row = row_of(conn, row_id)
    assert row["status"] == "active"
    assert row["oom_count"] == 1
    assert row["oom_container"] == "gpu-dev"


def test_teardown_repeats_until_all_is_gone(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.fault("/(pods|services)/", method="DELETE", status=500, times=4)

    ask(conn, "cancel", row_id)
    for _ in range(6):
        worker.run()
        move_clock(conn, 61)
    row = ended(conn, worker, row_id)

    assert row["gpus_held"] == 0
    assert box.state()["objects"]["pods"] == 0
    assert letters(conn) == []


def test_gpus_are_held_until_the_pod_is_seen_gone(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.fault("/pods/", method="DELETE", status=500, times=1000)
    ask(conn, "cancel", row_id)
    for _ in range(5):
        worker.run_once()

    assert status_of(conn, row_id) == "cancelled"
    assert row_of(conn, row_id)["gpus_held"] == 2
    box.clear_faults()
    move_clock(conn, 61)
    assert ended(conn, worker, row_id)["gpus_held"] == 0


def test_a_step_overtaken_by_a_cancel_leaves_no_pod(conn: Connection, worker: Worker, box: Box) -> None:
    """The pod is made while another worker cancels and tears down: the stale ticket cleans up after itself."""
    row_id = create(conn)
    worker.run_until(lambda: status_of(conn, row_id) == "preparing")
    ask(conn, "cancel", row_id)
    (ticket,) = (
        row[0]
        for row in conn.execute(
            "select message from pgmq.q_gpu_reservations"
            " where message->>'action' = 'advance' and message->>'ticket' = '2'"
        ).fetchall()
    )
    ended(conn, worker, row_id)
    name = pod_name(row_id)
    from kubernetes import client, config  # noqa: PLC0415

    config.load_kube_config(box.kubeconfig)  # type: ignore[no-untyped-call]
    with client.ApiClient() as api:
        pod = client.V1Pod.model_validate(
            {
                "metadata": {"name": name, "annotations": {"pgfleet/reservation-id": row_id}},
                "spec": {"containers": [{"name": "late", "image": "late"}]},
            }
        )
        client.CoreV1Api(api).create_namespaced_pod("gpu-dev", pod)

    send(conn, QUEUE, ticket)
    worker.run_until(lambda: box.state()["objects"]["pods"] == 0)


def test_the_sweep_gives_a_forgotten_row_its_ticket_back(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    conn.execute("delete from pgmq.q_gpu_reservations")

    move_clock(conn, 4 * 3600 + 200)
    send(conn, QUEUE, {"action": "sweep"})

    assert ended(conn, worker, row_id)["status"] == "expired"


def test_the_sweep_finds_a_pod_whose_reservation_has_ended(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)
    orphan = active(conn, worker)
    conn.execute("delete from pgmq.q_gpu_reservations")
    conn.execute(
        "update public.reservations set status = 'cancelled', gpus_held = 0, reservation_ended = now()"
        " where reservation_id = %s",
        (orphan,),
    )
    assert box.state()["objects"]["pods"] == 1

    send(conn, QUEUE, {"action": "sweep_pods"})

    worker.run_until(lambda: box.state()["objects"]["pods"] == 0)
