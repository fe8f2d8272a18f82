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


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("action", "first", "other", "told"),
    [
        ("extend", {"extension_hours": 1}, {"extension_hours": 2}, "another extend (by 1 h, until "),
        ("add_user", {"github_username": "bob"}, {"github_username": "cyd"}, "another add_user (bob is let in)"),
    ],
)
def test_an_id_that_was_used_for_something_else_is_refused_and_says_for_what(
    conn: Connection,
    worker: Worker,
    action: str,
    first: dict[str, Any],
    other: dict[str, Any],
    told: str,
    *,
    at_once: bool,
) -> None:
    row_id = active(conn, worker)

    ask(conn, action, row_id, request_id="a", **first)
    if not at_once:
        worker.run()
    ask(conn, action, row_id, request_id="a", **other)
    worker.run()

    (refusal,) = letters(conn)
    assert refusal.startswith(f"request_id: a was used for {told}")
    assert refusal.endswith("; choose another")
    assert len(requests(conn, row_id)) == 1


def test_what_an_older_version_has_noted_of_a_request_is_the_same_request(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "extend", row_id, extension_hours=1, request_id="a")
    worker.run()
    conn.execute("update public.reservations set requests_done = requests_done #- '{0,content}'")

    ask(conn, "extend", row_id, extension_hours=2, request_id="a")
    worker.run()

    assert row_of(conn, row_id)["duration_hours"] == 5
    assert letters(conn) == []


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
