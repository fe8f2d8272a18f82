"""Where one stands, as a watcher asks again and again: the same as by the whole line, without reading all of it."""

from datetime import timedelta
from typing import Any

import pytest

from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import TOLD, Place, place
from worlds.fleet import Connection, Worker, stop_clock
from worlds.reservations import active

GRACE = timedelta(seconds=120)


@pytest.fixture
def crowd(conn: Connection, worker: Worker) -> list[str]:
    """More than are told when they start wait for all of what two have."""
    for _ in range(2):
        active(conn, worker, gpu_count=8)
    rows = conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at, waiting_since, line_number, ticket)"
        " select gen_random_uuid()::text, 'user-' || mod(i, 3), 'pending', 'h100', 8, 4, t.at,"
        " t.at + i * interval '1 s', i, 1"
        " from generate_series(1, %s) i, (select public.fleet_now() - interval '1 hour' as at) t"
        " returning reservation_id",
        (TOLD + 5,),
    ).fetchall()
    stop_clock(conn)
    return [str(row[0]) for row in rows]


def standing(conn: Connection, row_id: str) -> tuple[Place | None, Place | None]:
    """As a watcher has it, and by the whole line."""
    row: Any = reads.by_id(conn, row_id)
    _, found = reads.place_now(conn, row, GRACE)
    return found, place(row, reads.lines(conn, ["h100"], GRACE)["h100"])


@pytest.mark.parametrize("fair_share", [False, True])
def test_a_watcher_is_told_the_same_as_by_the_whole_line(
    conn: Connection, crowd: list[str], *, fair_share: bool
) -> None:
    conn.execute("update public.line_settings set fair_share = %s", (fair_share,))

    found = [standing(conn, each) for each in crowd]

    assert [quick for quick, _ in found] == [whole for _, whole in found]
    assert sorted(quick.ahead for quick, _ in found if quick) == [*range(len(crowd))]


def test_of_one_that_is_far_behind_no_line_is_read(
    conn: Connection, crowd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "ask_lines", None)
    row: Any = reads.by_id(conn, crowd[TOLD])

    _, found = reads.place_now(conn, row, GRACE)

    assert found == Place(None, TOLD, None)


def test_of_one_that_does_not_wait_no_line_is_read(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row: Any = reads.by_id(conn, active(conn, worker))
    monkeypatch.setattr(reads, "ask_lines", None)

    assert reads.place_now(conn, row, GRACE)[1] is None


def test_one_that_is_paused_is_told_how_many_came_before_it(conn: Connection, crowd: list[str]) -> None:
    conn.execute(
        "update public.reservations set retry_at = public.fleet_now() + interval '1 hour', ticket = ticket + 1"
        " where reservation_id = any(%s)",
        ([crowd[10], crowd[52]],),
    )

    found = [standing(conn, each) for each in (crowd[10], crowd[52])]

    assert [quick and quick.ahead for quick, _ in found] == [10, 51]
    assert [whole and whole.ahead for _, whole in found] == [10, 51]
