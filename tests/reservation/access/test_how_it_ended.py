"""How a reservation ended, and what the cluster told of its pod."""

from collections.abc import Iterator

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.reads import pod as reads
from pgfleet.workers.reservation.machine import KIND
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, move_clock, row_of, settings_for, worker_on
from worlds.reservations import active, ask, create, ended, reach
from worlds.strangers import own_login

NS = "gpu-dev"


@pytest.fixture
def watching(dsn: str, box: Box) -> Iterator[Worker]:
    with worker_on(KIND, settings_for(dsn, box), watches=True) as worker:
        yield worker


def events(conn: Connection, row_id: str) -> list[str]:
    found = conn.execute(
        "select reason from public.pod_events where reservation_id = %s order by seen_at, event_uid", (row_id,)
    )
    return [row[0] for row in found]


def test_exit_code_reason_and_last_lines_are_kept(conn: Connection, worker: Worker, box: Box) -> None:
    box.starts("crash-loop")
    row = ended(conn, worker, create(conn))

    assert row["status"] == "failed"
    assert row["exit_code"] not in (None, 0)
    assert row["exit_reason"] == "Error"
    assert row["pod_logs"]


def test_a_command_that_ends_while_it_is_active_leaves_its_exit_code(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    box.behave(NS, row_of(conn, row_id)["pod_name"], "succeed")

    move_clock(conn, 60)
    row = ended(conn, worker, row_id)

    assert (row["exit_code"], row["exit_reason"]) == (0, "Completed")


def test_one_that_is_cancelled_has_no_exit_code(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)

    row = ended(conn, worker, row_id)

    assert (row["exit_code"], row["exit_reason"]) == (None, None)


def test_what_the_cluster_tells_of_a_pod_is_in_the_timeline(
    conn: Connection, watching: Worker, pgfleet: Pgfleet
) -> None:
    row = reach(conn, watching, create(conn), "active")
    watching.run_until(lambda: "Scheduled" in events(conn, row["reservation_id"]))

    shown = pgfleet("watch", row["reservation_id"], "--once").out
    told = pgfleet("watch", row["reservation_id"], "--once", "--json").json

    assert "pod: Scheduled" in shown
    assert "Scheduled" in [event["reason"] for event in told["pod_events"]]


def test_a_users_own_login_sees_the_events_of_its_own_pods_and_its_token(conn: Connection, watching: Worker) -> None:
    rows = {}
    for user in ("ada", "eve"):
        row = row_of(conn, active(conn, watching, user_id=user, jupyter_enabled=True))
        watching.run_until(lambda: row_of(conn, row["reservation_id"])["jupyter_url"] is not None)  # noqa: B023
        watching.run_until(lambda: "Scheduled" in events(conn, row["reservation_id"]))  # noqa: B023
        rows[user] = row_of(conn, row["reservation_id"])
    conn.execute("select public.switch_row_level_security(true)")

    with own_login(conn, "ada") as ada:
        seen = {user: bool(reads.events(ada, row)) for user, row in rows.items()}
        addresses = {user: reads.jupyter_address(ada, row) for user, row in rows.items()}

    assert seen == {"ada": True, "eve": False}
    assert addresses["eve"] is None
    assert addresses["ada"] == f"{rows['ada']['jupyter_url']}?token={rows['ada']['jupyter_token']}"


def test_each_event_is_kept_once_however_many_workers_see_it(
    conn: Connection, watching: Worker, dsn: str, box: Box
) -> None:
    with worker_on(KIND, settings_for(dsn, box), watches=True):
        row_id = active(conn, watching)
        watching.run_until(lambda: "Scheduled" in events(conn, row_id))

    assert events(conn, row_id).count("Scheduled") == 1


def test_events_stay_when_the_pod_is_gone(conn: Connection, watching: Worker) -> None:
    row_id = active(conn, watching)
    watching.run_until(lambda: "Scheduled" in events(conn, row_id))
    ask(conn, "cancel", row_id)

    ended(conn, watching, row_id)

    assert "Scheduled" in events(conn, row_id)


def test_what_was_asked_of_it_is_in_the_timeline_with_who_and_by_how_much(
    conn: Connection, worker: Worker, pgfleet: Pgfleet
) -> None:
    row_id = active(conn, worker)
    ask(conn, "extend", row_id, extension_hours=2)
    worker.run()

    shown = pgfleet("watch", row_id, "--once").out

    assert "extended" in shown
    assert "by 2 h" in shown


def test_a_crash_that_healed_is_not_how_it_ended(conn: Connection, worker: Worker, box: Box) -> None:
    box.starts("crash-once")
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)

    row = ended(conn, worker, row_id)

    assert row["exit_code"] is None
