"""Producing reservation messages: in the caller's transaction or alone, and only if they make sense."""

from typing import Any

import pytest

from pgfleet.producers.reservation import (
    add_user,
    cancel,
    create_reservation,
    disable_jupyter,
    enable_jupyter,
    extend,
)
from pgfleet.schema.messages import BadMessage
from worlds.fleet import Connection, Worker
from worlds.reservations import status_of

COUNT = "select count(*) from pgmq.q_gpu_reservations"


def test_a_message_is_sent_if_and_only_if_its_caller_commits(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1)
    assert conn.execute(COUNT).fetchone() == (0,)

    with conn.transaction():
        create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1)
    assert conn.execute(COUNT).fetchone() == (1,)


def test_without_a_connection_it_is_sent_to_database_url(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)

    row_id = create_reservation(user_id="ada", gpu_type="h100", gpu_count=2, duration_hours=4)

    row = conn.execute("select message->>'reservation_id' from pgmq.q_gpu_reservations").fetchone()
    assert row == (row_id,)


@pytest.mark.parametrize(
    "fields",
    [
        {"gpu_type": "h100", "gpu_count": 3},
        {"gpu_type": "h100"},
        {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 73},
        {"gpu_type": "h100", "gpu_count": 1, "reservation_id": "7"},
    ],
    ids=str,
)
def test_what_makes_no_message_is_refused_before_it_is_sent(conn: Connection, fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match=r"gpu_count|duration_hours|reservation_id"):
        create_reservation(conn, user_id="ada", **fields)

    assert conn.execute(COUNT).fetchone() == (0,)


def test_what_a_producer_sends_is_what_a_worker_reads(conn: Connection, worker: Worker) -> None:
    row_id = create_reservation(conn, user_id="ada", github_user="ada", gpu_type="h100", gpu_count=2, duration_hours=4)
    worker.run_until(lambda: status_of(conn, row_id) == "active")

    extend(row_id, "ada", 2, conn)
    cancel(row_id, "ada", conn)
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")

    row = conn.execute("select duration_hours from public.reservations where reservation_id = %s", (row_id,)).fetchone()
    assert row == (6,)
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)


def test_jupyter_and_other_users_are_asked_for_by_a_function_each(conn: Connection) -> None:
    row_id = create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1, jupyter_enabled=True)

    enable_jupyter(row_id, "ada", conn)
    disable_jupyter(row_id, "ada", conn, request_id="once")
    add_user(row_id, "ada", "bob", conn)

    sent = conn.execute("select message from pgmq.q_gpu_reservations order by msg_id").fetchall()
    assert [message["action"] for (message,) in sent][1:] == ["enable_jupyter", "disable_jupyter", "add_user"]
    assert (sent[2][0]["request_id"], sent[3][0]["github_username"]) == ("once", "bob")
    with pytest.raises(BadMessage):
        add_user(row_id, "ada", "not/a/name", conn)
