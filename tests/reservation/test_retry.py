"""`retry`: what was asked for in an ended reservation is asked for again, as a new one."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.reservation import retried_id
from worlds.disks import World
from worlds.fleet import Connection, Worker, assert_sound, history_of, move_clock, new_id, row_of, send
from worlds.reservations import QUEUE, active, ask, create, ended, letters, live, reach, status_of

ASKED = {
    "gpu_type": "h100",
    "gpu_count": 1,
    "duration_hours": 3,
    "name": "mine",
    "github_user": "ada-l",
    "env_vars": {"A": "1"},
    "secondary_users": ["bob"],
    "command": "sleep infinity",
    "preserve_entrypoint": True,
}


def over(conn: Connection, worker: Worker, how: str, **fields: Any) -> str:
    """A reservation that has ended in this way."""
    row_id = active(conn, worker, **fields)
    if how == "cancelled":
        ask(conn, "cancel", row_id)
    elif how == "expired":
        move_clock(conn, 24 * 3600)
    else:
        number = row_of(conn, row_id)["ticket"] + 1
        conn.execute(
            "update public.reservations set status = 'failed', failure_reason = 'broken', ticket = %s"
            " where reservation_id = %s",
            (number, row_id),
        )
        send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": number})
    row = ended(conn, worker, row_id)
    assert row["status"] == how
    return row_id


@pytest.mark.parametrize("how", ["cancelled", "expired", "failed"])
def test_a_retry_makes_a_new_row_of_what_was_asked_and_the_old_one_stays(
    conn: Connection, worker: Worker, how: str
) -> None:
    old_id = over(conn, worker, how, **ASKED)
    before = row_of(conn, old_id)

    ask(conn, "retry", old_id)
    new = reach(conn, worker, retried_id(old_id), "active")

    assert {name: new[name] for name in ASKED} == ASKED
    assert (new["user_id"], new["retried_from"]) == ("ada", old_id)
    assert row_of(conn, old_id) == before
    assert history_of(conn, new["reservation_id"])[0] == ("(new)", "pending")
    assert_sound(conn)


def test_a_row_that_failed_without_a_dead_letter_is_retried_too(conn: Connection, worker: Worker) -> None:
    old_id = create(conn, github_user="nokeys-ada")
    ended(conn, worker, old_id)
    assert letters(conn) == []

    ask(conn, "retry", old_id)
    row = ended(conn, worker, retried_id(old_id))

    assert row["status"] == "failed"
    assert "nobody could log in" in row["failure_reason"]


def test_the_same_retry_twice_is_one_reservation(conn: Connection, worker: Worker, box: Box) -> None:
    old_id = over(conn, worker, "cancelled")

    for _ in range(2):
        ask(conn, "retry", old_id)
        ask(conn, "retry", old_id, request_id="again")
    reach(conn, worker, retried_id(old_id), "active")
    reach(conn, worker, retried_id(old_id, "again"), "active")
    ask(conn, "retry", old_id, request_id="again")
    worker.run()

    assert box.state()["created_pods"] == 3
    assert letters(conn) == []


def test_hours_that_were_added_later_are_not_asked_for_again(conn: Connection, worker: Worker) -> None:
    old_id = active(conn, worker, duration_hours=4)
    ask(conn, "extend", old_id, extension_hours=100)
    worker.run()
    ask(conn, "cancel", old_id)
    ended(conn, worker, old_id)

    ask(conn, "retry", old_id)

    assert reach(conn, worker, retried_id(old_id), "active")["duration_hours"] == 4


@pytest.mark.parametrize("status", ["queued", "active"])
def test_a_live_row_is_not_retried(conn: Connection, worker: Worker, status: str) -> None:
    row_id = live(conn, worker, status)

    ask(conn, "retry", row_id)
    worker.run()

    assert letters(conn) == [f"reservation {row_id} is {status}: only one that is over is retried"]


def test_a_retry_is_checked_as_anew(conn: Connection, worker: Worker) -> None:
    old_id = over(conn, worker, "cancelled")
    conn.execute("update public.gpu_types set is_active = false where gpu_type = 'h100'")

    ask(conn, "retry", old_id)
    ask(conn, "retry", old_id, user="eve")
    worker.run()

    assert letters(conn) == ["gpu_type: h100 is switched off", f"reservation {old_id} does not belong to eve"]


def test_of_a_cancel_that_came_first_there_is_nothing_to_retry(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    worker.run()
    move_clock(conn, 31)
    worker.run()

    ask(conn, "retry", row_id)
    worker.run()

    assert letters(conn) == [f"reservation {row_id} was cancelled before it was created: nothing is known of it"]


def test_a_retry_does_not_wait_for_the_old_pod(conn: Connection, worker: Worker) -> None:
    old_id = active(conn, worker)
    pods = worker.running.tools.pods
    kept = {"metadata": {"finalizers": ["example.org/keeps"]}}
    pods.api.patch_namespaced_pod(row_of(conn, old_id)["pod_name"], pods.namespace, kept)
    ask(conn, "cancel", old_id)
    reach(conn, worker, old_id, "cancelled")

    ask(conn, "retry", old_id)
    reach(conn, worker, retried_id(old_id), "active")

    assert row_of(conn, old_id)["reservation_ended"] is None


def test_its_disk_comes_with_it_and_is_waited_for(world: World) -> None:
    old_id = world.active()
    pods = world.reservations.running.tools.pods
    name = world.reservation(old_id)["pod_name"]
    pods.api.patch_namespaced_pod(name, pods.namespace, {"metadata": {"finalizers": ["example.org/keeps"]}})
    world.cancel(old_id)
    world.until(lambda: world.reservation(old_id)["held_by"])
    new_id = retried_id(old_id)

    ask(world.conn, "retry", old_id)
    world.until(lambda: world.status(new_id) == "queued")
    shown = world.reservation(new_id)["current_detailed_status"]
    pods.api.patch_namespaced_pod(name, pods.namespace, {"metadata": {"finalizers": None}})
    world.until(lambda: world.status(new_id) == "active")

    assert shown.startswith(
        f"DISK_IN_USE: disk data is attached to reservation {old_id}, which has ended: its pod {name}"
    )
    (snapshot,) = world.snapshots()
    assert world.disk()["source_snapshot_id"] == snapshot["snapshot_id"]
    world.cancel(new_id)
    world.over(new_id)


def test_what_may_be_lost_with_a_pod_that_was_lost_is_said(world: World) -> None:
    world.used()
    old_id = world.active()
    row = world.reservation(old_id)
    pods = world.reservations.running.tools.pods
    pods.api.delete_namespaced_pod(row["pod_name"], pods.namespace, grace_period_seconds=0)
    world.later(11 * 60)
    move_clock(world.conn, 61)
    world.until(lambda: world.status(old_id) == "expired")
    assert world.reservation(old_id)["status_reason"].startswith("POD_LOST")

    ask(world.conn, "retry", old_id, request_id="early")
    world.reservations.run()
    world.over(old_id)
    ask(world.conn, "retry", old_id, request_id="late")
    world.reservations.run()

    early, late = (world.reservation(retried_id(old_id, name))["warning"] for name in ("early", "late"))
    at = f"{world.disk()['last_snapshot_at']:%Y-%m-%d %H:%M} UTC"
    assert early == f"home as of the end of reservation {old_id}; what was not written to its disk by then is lost"
    assert late == f"home as of the snapshot of {at}; what was written after it is lost"
    for name in ("early", "late"):
        world.cancel(retried_id(old_id, name))
        world.over(retried_id(old_id, name))


def test_a_disk_that_is_gone_is_not_replaced_by_an_empty_one(world: World) -> None:
    old_id = world.reserve()
    world.until(lambda: world.status(old_id) == "active")
    world.cancel(old_id)
    world.over(old_id)
    world.conn.execute("update public.disks set disk_name = 'data#1'")

    ask(world.conn, "retry", old_id)
    world.run()

    assert world.letters == ["disk_name: disk data is not there any more; submit a new reservation for an empty one"]
    assert status_of(world.conn, retried_id(old_id)) is None
