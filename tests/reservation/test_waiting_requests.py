"""Requests that come before their reservation: whoever makes the row lets them go on."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from pgfleet.workers.runtime.work import work
from worlds.fleet import (
    PATIENCE_S,
    Connection,
    Worker,
    assert_sound,
    history_of,
    new_id,
    row_of,
    send,
    settings_for,
    until,
    worker_on,
    worker_process,
)
from worlds.reservations import QUEUE, ask, create, letters, status_of


@pytest.fixture
def other(dsn: str, box: Box) -> Iterator[Worker]:
    """A second worker."""
    with worker_on(KIND, settings_for(dsn, box)) as running:
        yield running


def body(row_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "action": "create_reservation",
        "reservation_id": row_id,
        "user_id": "ada",
        "github_user": "ada",
        "gpu_type": "h100",
        "gpu_count": 2,
        **fields,
    }


def due_in_s(conn: Connection, action: str) -> float:
    found = conn.execute(
        "select extract(epoch from vt - public.fleet_now())::float8 from pgmq.q_gpu_reservations"
        " where message ->> 'action' = %s",
        (action,),
    ).fetchone()
    assert found is not None
    return float(found[0])


@pytest.mark.parametrize("spelled", [str, str.upper])
def test_the_row_makes_a_cancel_that_waits_for_it_due_at_once(
    conn: Connection, worker: Worker, other: Worker, spelled: Any
) -> None:
    row_id = new_id()
    ask(conn, "cancel", spelled(row_id))
    other.run_once()
    # It has looked more than once, and the next look is far away.
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() + interval '20 seconds'")

    create(conn, reservation_id=row_id)
    worker.run_once(1)

    assert due_in_s(conn, "cancel") <= 0
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")
    assert letters(conn) == []
    assert_sound(conn)


def test_an_extension_that_waits_is_woken_too(conn: Connection, worker: Worker, other: Worker) -> None:
    row_id = new_id()
    ask(conn, "extend", row_id, extension_hours=1)
    other.run_once()
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() + interval '20 seconds'")

    create(conn, reservation_id=row_id, duration_hours=4)

    worker.run_until(lambda: status_of(conn, row_id) and row_of(conn, row_id)["duration_hours"] == 5)


def test_a_cancel_that_its_sender_wants_later_is_not_woken(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    send(conn, QUEUE, {"action": "cancel", "reservation_id": row_id, "user_id": "ada"})
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() + interval '1 hour'")

    create(conn, reservation_id=row_id)
    worker.run_until(lambda: status_of(conn, row_id) == "active")

    assert due_in_s(conn, "cancel") > 3000


def test_a_cancel_in_hand_while_its_row_is_made_looks_again_soon(
    conn: Connection, worker: Worker, other: Worker
) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    tasks = other.claim()
    loaded, made = threading.Event(), threading.Event()

    def slow_load(*given: Any) -> Any:
        view = KIND.load(*given)
        loaded.set()
        made.wait(PATIENCE_S)
        return view

    slow = replace(other.running, kind=replace(KIND, load=slow_load))
    stepping = threading.Thread(target=work, args=(slow, tasks))
    stepping.start()
    loaded.wait(PATIENCE_S)
    create(conn, reservation_id=row_id)
    worker.run_once(1)
    made.set()
    stepping.join(PATIENCE_S)

    assert due_in_s(conn, "cancel") < 0.3
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")


@pytest.mark.parametrize("first", ["create", "tombstone"])
def test_a_tombstone_and_a_create_at_one_moment_leave_a_cancelled_row(
    conn: Connection, dsn: str, worker: Worker, other: Worker, first: str
) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    conn.execute("update pgmq.q_gpu_reservations set enqueued_at = enqueued_at - interval '31 seconds'")
    cancels = other.claim()
    create(conn, reservation_id=row_id)
    creates = worker.claim()
    # Both have looked by then: neither has seen the row, and both insert it.
    with psycopg.connect(dsn) as holder:
        holder.execute("lock table public.reservations in share mode")
        threads = [
            threading.Thread(target=work, args=given) for given in ((worker.running, creates), (other.running, cancels))
        ]
        for thread in threads if first == "create" else reversed(threads):
            thread.start()
        until(lambda: _blocked(conn) == 2, within_s=20, what="two inserts that wait")
    for thread in threads:
        thread.join(PATIENCE_S)
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")

    assert history_of(conn, row_id)[-1][1] == "cancelled"
    assert letters(conn) == []
    assert_sound(conn)


def _blocked(conn: Connection) -> int:
    row = conn.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("order", [("create", "cancel"), ("cancel", "create")])
def test_two_workers_cancel_within_a_second_what_is_created_at_the_same_time(
    conn: Connection, dsn: str, box: Box, order: tuple[str, str]
) -> None:
    rows = [new_id() for _ in range(20)]
    with worker_process(dsn, box), worker_process(dsn, box):
        known = create(conn)
        until(lambda: status_of(conn, known) == "active", within_s=60, what="the workers' start")

        for row_id in rows:
            bodies = {
                "create": body(row_id),
                "cancel": {"action": "cancel", "reservation_id": row_id, "user_id": "ada"},
            }
            for action in order:
                send(conn, QUEUE, bodies[action])
        until(lambda: all(status_of(conn, row_id) == "cancelled" for row_id in rows), within_s=60, what="the cancels")

    slow = conn.execute(
        "select row_id from public.status_history group by row_id"
        " having max(at) filter (where to_status = 'cancelled') - min(at) > interval '25 seconds'"
    ).fetchall()
    assert slow == [], "none has waited for its thirty seconds"
    assert_sound(conn)
