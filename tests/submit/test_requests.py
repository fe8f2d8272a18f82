"""The same request again is done once, and who asked for what is on record."""

from typing import Any

import pytest

from worlds.fleet import Connection, Worker, new_id, row_of
from worlds.reservations import active, ask, create, letters, reach


def requests(conn: Connection, row_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = row_of(conn, row_id)["requests_done"]
    return found


@pytest.mark.parametrize("at_once", [True, False])
def test_an_extend_that_a_client_sends_again_is_done_once(conn: Connection, worker: Worker, *, at_once: bool) -> None:
    row_id, request = active(conn, worker), new_id()
    before = row_of(conn, row_id)["expires_at"]

    ask(conn, "extend", row_id, extension_hours=2, request_id=request)
    if not at_once:
        worker.run()
    ask(conn, "extend_reservation", row_id, extension_hours=2, request_id=request)
    worker.run()

    row = row_of(conn, row_id)
    assert (row["expires_at"] - before).total_seconds() == 2 * 3600
    assert row["duration_hours"] == 6
    assert letters(conn) == []


def test_extends_without_an_id_or_with_others_are_all_done(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    for given in ({}, {}, {"request_id": "a"}, {"request_id": "b"}):
        ask(conn, "extend", row_id, extension_hours=1, **given)
    worker.run()

    assert row_of(conn, row_id)["duration_hours"] == 8


def test_one_id_for_two_sorts_of_requests_is_two_requests(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    ask(conn, "extend", row_id, extension_hours=1, request_id="a")
    ask(conn, "cancel", row_id, request_id="a")
    worker.run()

    assert row_of(conn, row_id)["status"] == "cancelled"
    assert [done["action"] for done in requests(conn, row_id)] == ["extend", "cancel"]


def test_who_has_extended_it_by_how_much_and_until_when_is_kept_with_the_row(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    ask(conn, "extend", row_id, extension_hours=2)
    worker.run()

    until = f"{row_of(conn, row_id)['expires_at']:%Y-%m-%d %H:%M:%S}"
    (done,) = requests(conn, row_id)
    assert (done["action"], done["by"], done["told"]) == ("extend", "ada", f"by 2 h, until {until} UTC")


def test_one_that_waits_is_given_more_hours_in_all(conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    row_id = create(conn)
    reach(conn, worker, row_id, "queued")

    ask(conn, "extend", row_id, extension_hours=2)
    worker.run()

    assert requests(conn, row_id)[0]["told"] == "by 2 h, to 6 h in all"


def test_only_the_last_requests_are_kept(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    for number in range(52):
        ask(conn, "extend", row_id, extension_hours=0.01, request_id=str(number))
    worker.run()

    assert [done["request_id"] for done in requests(conn, row_id)] == [str(number) for number in range(2, 52)]
