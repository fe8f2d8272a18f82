"""Whose SSH keys let somebody in is given, or on record for them, and never guessed from how they are called."""

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, new_id, row_of, send
from worlds.reservations import QUEUE, active, ask, create, reach, status_of

NOBODY = "nobody can log in over SSH: no github_user was given, and none is on record for ada"
RECORD = "insert into public.api_users (username, github_user, is_active) values ('ada', 'ada-l', %s)"


@pytest.fixture
def fleet_dsn(dsn: str) -> str:
    """The database of the worker is that of the commands."""
    return dsn


def inserted(conn: Connection, github_user: str | None = None) -> str:
    """As a service does that knows no more than its user."""
    row_id = new_id()
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, github_user, status, gpu_type, gpu_count,"
        " duration_hours, created_at) values (%s, 'ada', %s, 'pending', 'h100', 1, 1, now())",
        (row_id, github_user),
    )
    send(conn, QUEUE, {"action": "admit", "gpu_type": "h100"})
    return row_id


def test_nobody_is_let_in_by_what_a_user_is_called(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, github_user=None)

    row = reach(conn, worker, row_id, "active")

    assert row["github_user"] is None
    assert row["warning"] == NOBODY
    api = worker.running.tools.pods.api
    keys = api.read_namespaced_config_map(f"{row['pod_name']}-keys", "gpu-dev")
    assert keys.data["authorized_keys"].strip() == ""


def test_a_name_on_record_needs_not_be_given(conn: Connection, worker: Worker) -> None:
    conn.execute(RECORD, (True,))

    recorded, given = create(conn, github_user=None), create(conn, github_user="another")
    worker.run()

    assert [row_of(conn, row_id)["github_user"] for row_id in (recorded, given)] == ["ada-l", "another"]


def test_who_was_shut_out_is_on_record_no_more(conn: Connection, worker: Worker) -> None:
    conn.execute(RECORD, (False,))

    row_id = create(conn, github_user=None)
    worker.run()

    assert row_of(conn, row_id)["github_user"] is None


def test_a_row_of_a_service_has_the_name_on_record(conn: Connection, worker: Worker) -> None:
    conn.execute(RECORD, (True,))

    row_id = inserted(conn)

    assert reach(conn, worker, row_id, "active")["github_user"] == "ada-l"


def test_a_row_of_a_service_without_a_name_starts_and_says_that_nobody_can_log_in(
    conn: Connection, worker: Worker
) -> None:
    row_id = inserted(conn)

    assert reach(conn, worker, row_id, "active")["warning"] == NOBODY


def test_others_who_are_named_can_log_in(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, github_user=None, secondary_users=["bob"])

    assert reach(conn, worker, row_id, "active")["warning"] is None


@pytest.mark.parametrize("name", ["eve/x/y?a=", "..", "a%2f", ""])
def test_a_path_in_a_row_is_fetched_from_nowhere(conn: Connection, worker: Worker, name: str) -> None:
    row_id = inserted(conn, name)

    assert "must be a name at GitHub" in reach(conn, worker, row_id, "failed")["failure_reason"]


def test_a_path_that_is_written_into_an_admitted_row_is_fetched_from_nowhere(conn: Connection, worker: Worker) -> None:
    row_id = inserted(conn, "ada")
    conn.execute(
        "update public.reservations set status = 'preparing', pod_name = 'gpu-dev-x', ticket = 1, github_user = '../x'"
        " where reservation_id = %s",
        (row_id,),
    )
    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": 1})

    assert reach(conn, worker, row_id, "failed")["failure_reason"] == "github_user: is no name at GitHub"


@pytest.mark.parametrize("name", ["eve/x", "..", "", "a" * 101])
def test_what_is_no_name_at_github_is_not_put_on_record(conn: Connection, name: str) -> None:
    with pytest.raises(psycopg.Error, match="github_user can't be") as refused:
        conn.execute("insert into public.api_users (username, github_user) values ('ada', %s)", (name,))

    assert refused.value.sqlstate == "PF004"


def test_a_retry_lets_in_whom_the_first_one_did(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, github_user="ada-l")
    ask(conn, "cancel", row_id)
    worker.run()

    ask(conn, "retry", row_id)
    worker.run()

    found = conn.execute("select github_user from public.reservations where retried_from = %s", (row_id,)).fetchone()
    assert found == ("ada-l",)
    assert status_of(conn, row_id) == "cancelled"


def test_submit_warns_before_it_sends(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet("submit", "reservation", "--gpu-type", "h100", "--user", "ada")

    assert end.code == 0
    assert "--github-user" in end.err
    sent = (
        "select message ? 'github_user' from pgmq.q_gpu_reservations where message ->> 'action' = 'create_reservation'"
    )
    assert conn.execute(sent).fetchall() == [(False,)]
