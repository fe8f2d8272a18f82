"""Dead letters of assignments: a replayed ticket gives its failed row another life; others are sent again."""

from typing import Any

import pytest

from pgfleet.schema.replay import letters
from worlds.database import Connection
from worlds.outside.hopsworks import assigned, bury, hopsworks, person, status_of

ADA = "auth0|ada"
TICKET = {"action": "advance", "user_id": ADA, "ticket": 3}


def failed(conn: Connection) -> int:
    """Ada's account could not be made; the number of its letter."""
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA)
    then = {"failed_at": "now()", "hopsworks_username": "ada10000", "ticket": 4, "asked_at": "2026-01-01"}
    assigned(conn, ADA, "failed", cluster, **then)
    conn.execute("delete from pgmq.q_cluster_assignments")
    return bury(conn, TICKET, row_id=ADA)


def queued(conn: Connection) -> list[Any]:
    return [row[0] for row in conn.execute("select message from pgmq.q_cluster_assignments order by msg_id")]


def row(conn: Connection, *names: str) -> tuple[Any, ...]:
    query = f"select {', '.join(names)} from hopsworks.user_hopsworks_assignments where user_id = %s"
    found = conn.execute(query.encode(), (ADA,)).fetchone()
    assert found is not None
    return found


def test_a_replayed_ticket_gives_its_assignment_another_life(conn: Connection) -> None:
    number = failed(conn)

    done = letters.replay(conn, number, "grace")

    assert done == f"the assignment of {ADA} is pending again"
    assert row(conn, "status", "ticket", "detail") == ("pending", 5, "Waiting for a seat")
    assert row(conn, "failed_at", "hopsworks_username", "hopsworks_cluster_id") == (None, None, None)
    assert queued(conn) == [{"action": "admit"}, {"action": "advance", "user_id": ADA, "ticket": 5}]


def test_it_waits_at_the_end_of_the_line(conn: Connection) -> None:
    number = failed(conn)

    letters.replay(conn, number, "grace")

    assert row(conn, "asked_at > public.fleet_now() - interval '1 minute'") == (True,)


def test_the_history_says_who_replayed_it(conn: Connection) -> None:
    number = failed(conn)

    letters.replay(conn, number, "grace")

    told = conn.execute(
        "select from_status, to_status, reason, actor from public.status_history order by history_id desc limit 1"
    ).fetchone()
    assert told == ("failed", "pending", f"replayed from dead letter {number}", "console:grace")


@pytest.mark.parametrize("status", ["pending", "creating_user", "active", "released"])
def test_a_ticket_of_a_row_that_did_not_fail_is_only_sent_again(conn: Connection, status: str) -> None:
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA)
    assigned(conn, ADA, status, None if status == "pending" else cluster)
    conn.execute("delete from pgmq.q_cluster_assignments")

    done = letters.replay(conn, bury(conn, TICKET), "grace")

    assert done == "sent again to cluster_assignments"
    assert status_of(conn, ADA) == status
    assert queued(conn) == [TICKET]


@pytest.mark.parametrize(
    "body", [{"action": "assign", "user_id": ADA}, {"action": "advance"}, {"action": "drain"}, ["nonsense"], None]
)
def test_any_other_message_is_sent_again_as_it_was(conn: Connection, body: Any) -> None:
    failed(conn)

    letters.replay(conn, bury(conn, body), "grace")

    assert queued(conn) == [body]
    assert status_of(conn, ADA) == "failed"
