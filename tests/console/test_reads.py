"""Places in line, ETAs and ids: what people are told about a reservation."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import End
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Line, place, reason_code
from pgfleet.schema.reads.trial import dry_run
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.room import Room
from worlds.fleet import Connection, Worker, new_id
from worlds.reservations import active, create, status_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE = timedelta(minutes=2)
H100 = {"max_gpus": 8, "max_per_node": 8}


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def waiting(row_id: str = "me", gpus: int = 4, since: datetime = NOW, **given: Any) -> dict[str, Any]:
    row = {"reservation_id": row_id, "status": "queued", "gpu_count": gpus, "waiting_since": since, "line_number": 0}
    shown = "NO_CAPACITY: 4 GPUs wanted"
    return {**row, "retry_at": None, "master_reservation_id": None, "current_detailed_status": shown, **given}


def line(*units: Unit, held: int = 16, ends: tuple[End, ...] = (), is_active: bool = True) -> Line:
    standing = Standing("h100", NOW, Room("h100", 16 - held), units, ends=ends)
    return Line("h100", 16, held, is_active=is_active, standing=standing)


def asking(gpus: int = 4, hours: float = 1) -> CreateReservation:
    return CreateReservation(
        reservation_id=new_id(), user_id="ada", gpu_type="h100", gpu_count=gpus, duration_hours=hours
    )


def test_the_position_counts_those_that_are_before_it_in_line() -> None:
    found = place(waiting(), line(Unit("a", 8, 1), Unit("me", 4, 1), Unit("b", 1, 1)))

    assert found is not None
    assert found.ahead == 1
    assert found.as_json()["position"] == 2


def test_who_is_kept_by_a_disk_has_those_ahead_that_came_before() -> None:
    older, younger = Unit("a", 8, 1, since=NOW - minutes(5)), Unit("b", 1, 1, since=NOW + minutes(5))

    assert place(waiting(), line(older, younger)).ahead == 1  # type: ignore[union-attr]


def test_the_head_is_promised_the_end_that_frees_enough_for_it() -> None:
    ends = (End(NOW + minutes(30), 8), End(NOW + minutes(10), 2), End(NOW + minutes(60), 4))

    found = place(waiting(), line(Unit("me", 4, 1), ends=ends))

    assert found is not None
    assert (found.eta, found.is_promised) == (NOW + minutes(30), True)


def test_the_eta_of_others_counts_what_those_ahead_have_asked_for() -> None:
    ends = (End(NOW + minutes(30), 8), End(NOW + minutes(60), 8))

    found = place(waiting(gpus=8), line(Unit("a", 8, 9), Unit("b", 8, 2), Unit("me", 8, 1), ends=ends))

    assert found is not None
    assert (found.eta, found.is_promised) == (NOW + minutes(180), False)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        pytest.param(waiting(), line(Unit("me", 4, 1)), id="nobody has an end yet"),
        pytest.param(waiting(), line(Unit("me", 4, 1), ends=(End(NOW, 2),)), id="the ends free too few"),
        pytest.param(waiting(), line(Unit("me", 4, 1), ends=(End(None, 8),)), id="nobody knows when it ends"),
        pytest.param(waiting(), line(Unit("me", 4, 1), held=0, is_active=False), id="the type is switched off"),
        pytest.param(waiting(retry_at=NOW + minutes(1)), line(held=0), id="it is paused"),
    ],
)
def test_the_eta_is_unknown_rather_than_invented(row: dict[str, Any], where: Line) -> None:
    found = place(row, where)

    assert found is not None
    assert found.eta is None


def test_whoever_does_not_wait_has_no_place() -> None:
    assert place(waiting(status="active"), line()) is None


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("NO_CAPACITY: 8 GPUs wanted, 4 of 16 free", "NO_CAPACITY"),
        ("TYPE_DISABLED: h100 is switched off", "TYPE_DISABLED"),
        ("Waiting for its turn", None),
        (None, None),
    ],
)
def test_the_reason_code_is_what_the_shown_status_begins_with(shown: str | None, code: str | None) -> None:
    assert reason_code(shown) == code


def test_a_dry_run_would_start_where_gpus_are_free_and_nobody_waits() -> None:
    assert dry_run(asking(), H100, line(held=12), 72).starts_now


@pytest.mark.parametrize(
    ("message", "gpu_type", "where", "code"),
    [
        pytest.param(asking(), H100, line(held=14), "NO_CAPACITY", id="too few are free"),
        pytest.param(
            asking(4),
            H100,
            line(Unit("a", 8, 1), held=12, ends=(End(NOW + minutes(5), 4),)),
            "BEHIND_OTHERS",
            id="ahead",
        ),
        pytest.param(asking(), H100, line(held=0, is_active=False), "TYPE_DISABLED", id="switched off"),
        pytest.param(asking(), None, None, "REJECTED", id="no such type"),
        pytest.param(asking(16), H100, line(held=0), "REJECTED", id="no node is that large"),
        pytest.param(asking(hours=50), H100, line(held=0), "REJECTED", id="too long"),
    ],
)
def test_a_dry_run_says_why_not(message: CreateReservation, gpu_type: Any, where: Line, code: str) -> None:
    answer = dry_run(message, gpu_type, where, 48)

    assert not answer.starts_now
    assert answer.code == code


def test_lines_and_ends_are_read_as_they_are(conn: Connection, worker: Worker) -> None:
    first = active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    queued = create(conn, gpu_count=4)
    worker.run_until(lambda: status_of(conn, queued) == "queued")

    found = reads.lines(conn, ["h100"], GRACE)["h100"]
    row = reads.by_id(conn, queued)
    assert row is not None
    where = place(row, found)

    assert [unit.key for unit in found.standing.line] == [queued]
    assert (found.total, found.held, found.free) == (16, 16, 0)
    assert where is not None
    assert where.code == "NO_CAPACITY"
    ends = reads.by_id(conn, first)
    assert ends is not None
    assert where.eta == ends["expires_at"] + GRACE + timedelta(seconds=30), "nobody has been torn down yet"
    assert where.is_promised


def test_a_prefix_is_enough_where_it_is_unique_among_the_users_own(conn: Connection, worker: Worker) -> None:
    mine = create(conn, reservation_id="aaaa0000-0000-4000-8000-000000000001")
    create(conn, reservation_id="aaaa0000-0000-4000-8000-000000000002", user_id="bob")
    worker.run_once()

    assert reads.resolve(conn, "AAAA", "ada")["reservation_id"] == mine


def test_an_ambiguous_prefix_lists_the_candidates(conn: Connection, worker: Worker) -> None:
    ids = [create(conn, reservation_id=f"bbbb0000-0000-4000-8000-00000000000{number}") for number in range(2)]
    worker.run_once()

    with pytest.raises(reads.AmbiguousId) as told:
        reads.resolve(conn, "bbbb", "ada")

    assert all(row_id in str(told.value) for row_id in ids)


@pytest.mark.parametrize(("given", "said"), [("bbbb", "--user bob has one"), ("%", "See `pgfleet ls --all`")])
def test_a_prefix_of_none_of_ones_own_is_refused(conn: Connection, worker: Worker, given: str, said: str) -> None:
    create(conn, reservation_id="bbbb0000-0000-4000-8000-000000000001", user_id="bob")
    worker.run_once()

    with pytest.raises(Refusal, match=said):
        reads.resolve(conn, given, "ada")


def test_a_whole_id_is_found_whoever_owns_it(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, user_id="bob")
    worker.run_once()

    assert reads.resolve(conn, row_id.upper(), "ada")["reservation_id"] == row_id


def test_lists_are_of_live_ones_unless_asked(conn: Connection, worker: Worker) -> None:
    live = active(conn, worker)
    over = create(conn, user_id="nokeys")
    worker.run_until(lambda: status_of(conn, over) == "failed")

    def listed(**filters: Any) -> set[str]:
        return {row["reservation_id"] for row in reads.listing(conn, reads.Filters(**filters))}

    assert listed() == {live}
    assert listed(ended_too=True) == {live, over}
    assert listed(status="running") == {live}
    assert listed(status="failed") == {over}
    assert listed(gpu_type="t4") == set()
    assert listed(user_id="nokeys", ended_too=True) == {over}
    with pytest.raises(FleetError, match="Known are pending"):
        listed(status="nope")
