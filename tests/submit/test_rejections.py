"""What is refused is found again by its sender, and is no matter for whoever runs the fleet."""

from typing import Any

import pytest

from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import id_in
from pgfleet.schema.reads.queue import depths
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, new_id, send
from worlds.reservations import QUEUE, create


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def letter(conn: Connection) -> tuple[Any, ...]:
    found = conn.execute("select row_id, verdict from public.dead_letters order by dead_letter_id desc limit 1")
    return found.fetchone() or ()


@pytest.mark.parametrize("wrong", [{"gpu_count": 3}, {"user_id": 7}, {"action": "nonsense"}, {"duration_hours": "4"}])
def test_a_refused_body_keeps_its_id(conn: Connection, worker: Worker, wrong: dict[str, Any]) -> None:
    row_id = new_id()

    create(conn, reservation_id=row_id.upper(), **wrong)
    worker.run()

    assert letter(conn) == (row_id, "rejection")


def test_an_id_that_is_no_uuid_is_kept_as_it_was_written(conn: Connection, worker: Worker) -> None:
    create(conn, reservation_id="res-17")
    worker.run()

    assert letter(conn) == ("res-17", "rejection")


@pytest.mark.parametrize("body", [None, [], {}, {"reservation_id": {}}, {"reservation_id": "a\nb"}])
def test_a_body_without_an_id_has_none(conn: Connection, worker: Worker, body: Any) -> None:
    send(conn, QUEUE, body)
    worker.run()

    assert letter(conn) == (None, "rejection")


def test_each_kind_says_by_which_fields_a_body_names_its_row() -> None:
    known = {
        "operation_id": "op-1",
        "user_id": "auth0|a",
        "node_id": 17,
        "reservation_id": "r-1",
        "subscription_id": "s-1",
    }

    found = {name: id_in(known, contract.ids) for name, contract in contracts().items()}

    assert found == {
        "reservation": "r-1",
        "disk": "op-1",
        "assignment": "auth0|a",
        "heartbeat": "17",
        "event": "s-1",
    }


def test_what_is_refused_by_a_rule_of_rows_is_a_rejection_too(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, gpu_type="h1000")
    worker.run()

    assert letter(conn) == (row_id, "rejection")


def test_watch_tells_at_once_why_it_was_rejected(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = create(conn, gpu_count=3)
    worker.run()

    by_prefix, as_json = pgfleet("watch", row_id[:8]), pgfleet("watch", row_id, "--once", "--json")

    assert (by_prefix.code, as_json.code) == (1, 1)
    assert "rejected" in by_prefix.err
    assert "gpu_count" in by_prefix.err
    assert "gpu_count" in as_json.json["rejected"]


def test_watch_says_that_nobody_has_taken_it_yet(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = create(conn)

    ended = pgfleet("watch", row_id, "--once")

    assert ended.code == 0
    assert "no worker has taken it yet" in ended.err


def test_rejections_are_told_apart_from_failures(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    create(conn, gpu_count=3)
    worker.run()
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, reason, enqueued_at) values (%s, 1, 'ours', now())", (QUEUE,)
    )

    (found,) = [row for row in depths(conn) if row["queue"] == QUEUE]
    listed = pgfleet("dead", "list", "--json").json

    assert (found["dead"], found["rejected"], found["failed"]) == (2, 1, 1)
    assert [one["verdict"] for one in listed] == ["failure", "rejection"]


def test_an_id_of_another_kind_is_no_reservation(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = new_id()
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at)"
        " values ('disk_operations', 1, %s, '{}', 'no', now())",
        (row_id,),
    )

    ended = pgfleet("watch", row_id)

    assert (ended.code, "has no reservation" in ended.err) == (1, True)


def test_an_operation_with_an_unknown_action_is_told_to_its_sender(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = new_id()
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at, verdict)"
        " values ('disk_operations', 1, %s, '{\"action\": \"snapshot\"}', 'action: not known', now(), 'rejection')",
        (row_id,),
    )

    ended = pgfleet("disk", "operation", row_id)

    assert (ended.code, "action: not known" in ended.err) == (1, True)
