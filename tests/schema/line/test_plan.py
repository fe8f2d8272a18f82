"""The plan of a line: who starts, where, and who is kept from what."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pgfleet.schema.line.booking import book
from pgfleet.schema.line.extension import most_possible, moved_by
from pgfleet.schema.line.plan import Code, Plan, Waiting
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import End, timeline
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.room import Room

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def h(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def room(free: dict[str, int], zones: dict[str, str | None] | None = None) -> Room:
    return Room("h100", sum(free.values()), free, is_seen=True, zones=zones or {}, sizes=dict.fromkeys(free, 8))


def standing(
    *line: Unit,
    free: dict[str, int],
    ends: Sequence[End] = (),
    bookings: Sequence[Unit] = (),
    zones: dict[str, str | None] | None = None,
) -> Standing:
    return Standing("h100", NOW, room(free, zones), line, tuple(bookings), tuple(ends))


def started(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {start.unit.key: start.spots for start in plan.starts}


def waiting(plan: Plan, key: str) -> Waiting:
    found = plan.of(key)
    assert isinstance(found, Waiting)
    return found


def test_who_passes_the_head_for_longer_is_kept_to_a_node_that_the_head_does_not_need() -> None:
    head, small = Unit("head", 8, 4), Unit("small", 2, 48)

    plan = standing(head, small, free={"a": 4, "b": 2}, ends=[End(h(1), 4, "a"), End(h(9), 6, "b")]).plan()

    assert started(plan) == {"small": ("b",)}
    assert plan.starts[0].is_kept
    assert waiting(plan, "head").starts_in_s == 3600


def test_who_is_over_by_then_may_go_anywhere() -> None:
    head, small = Unit("head", 8, 4), Unit("small", 2, 1)

    plan = standing(head, small, free={"a": 4, "b": 2}, ends=[End(h(1), 4, "a"), End(h(9), 6, "b")]).plan()

    assert started(plan) == {"small": ("a",)}
    assert not plan.starts[0].is_kept


def test_a_gang_is_placed_on_machines_of_one_zone() -> None:
    free, zones = {"a": 8, "b": 4, "c": 8, "d": 8}, {"a": "x", "b": "x", "c": "y", "d": "y"}

    assert started(standing(Unit("gang", 8, 1, nodes=2), free=free, zones=dict(zones)).plan()) == {"gang": ("c", "d")}


def test_a_gang_does_not_fit_on_one_machine_or_in_two_zones() -> None:
    gang = Unit("gang", 4, 1, nodes=2)

    assert waiting(standing(gang, free={"a": 8}).plan(), "gang").code == Code.GANG_INCOMPLETE
    apart = standing(gang, free={"a": 4, "b": 4}, zones={"a": "x", "b": "y"}).plan()
    assert waiting(apart, "gang").code == Code.GANG_INCOMPLETE


def test_a_gang_of_which_a_row_lacks_is_in_nobody_s_way() -> None:
    plan = standing(Unit("gang", 8, 1, nodes=2, lacks=1), Unit("me", 8, 99), free={"a": 8}).plan()

    assert started(plan) == {"me": ("a",)}


def test_whom_nothing_is_known_of_is_passed_until_it_has_waited_for_too_long() -> None:
    small = Unit("small", 2, 1)
    ends = [End(None, 8, "a")]

    patient = standing(Unit("head", 8, 1), small, free={"a": 0, "b": 4}, ends=ends).plan()
    starving = standing(Unit("head", 8, 1, is_starving=True), small, free={"a": 0, "b": 4}, ends=ends).plan()

    assert started(patient) == {"small": ("b",)}
    assert started(starving) == {}


def test_of_a_fleet_whose_nodes_are_too_small_for_it_nobody_is_kept_waiting() -> None:
    room = Room("h100", 4, {"a": 4}, is_seen=True, sizes={"a": 4})

    plan = Standing("h100", NOW, room, (Unit("head", 8, 1, is_starving=True), Unit("small", 2, 1))).plan()

    assert started(plan) == {"small": ("a",)}


def test_a_booking_that_is_due_goes_before_all_others() -> None:
    booked = Unit("booked", 8, 1, start_at=NOW)

    plan = standing(Unit("first", 8, 1), free={"a": 8}, bookings=[booked]).plan()

    assert started(plan) == {"booked": ("a",)}


@pytest.mark.parametrize(("late_s", "head_h", "starts"), [(60, 0.25, {}), (300, 1, {"booked": ("a",)})])
def test_a_booking_waits_two_minutes_for_its_gpus_before_it_takes_those_of_the_head(
    late_s: int, head_h: float, starts: dict[str, tuple[str, ...]]
) -> None:
    booked = Unit("booked", 4, 1, start_at=NOW, promised=(NOW, ("b",)))
    head = Unit("head", 8, 1, promised=(h(0.25), ("a",)))
    ends = [End(h(0.25), 4, "a"), End(NOW + timedelta(seconds=late_s), 4, "b"), End(h(9), 4, "b")]

    plan = standing(head, free={"a": 4, "b": 0}, ends=ends, bookings=[booked]).plan()

    assert started(plan) == starts
    assert waiting(plan, "head").starts_in_s == head_h * 3600


def test_a_booking_whose_place_is_not_free_in_time_takes_that_of_no_other_booking() -> None:
    due = Unit("due", 4, 1, start_at=NOW, promised=(NOW, ("b",)))
    next_one = Unit("next", 8, 1, start_at=h(0.5), promised=(h(0.5), ("a",)))
    ends = [End(NOW + timedelta(seconds=300), 4, "b"), End(h(9), 4, "b")]

    plan = standing(free={"a": 8, "b": 0}, ends=ends, bookings=[due, next_one]).plan()

    assert started(plan) == {}
    assert (waiting(plan, "due").starts_in_s, waiting(plan, "next").starts_in_s) == (300, 1800)


def test_a_booking_is_refused_where_it_would_move_the_head_or_one_who_would_start_now() -> None:
    later = Unit("booked", 8, 1, start_at=h(2))

    of_head = book(standing(Unit("head", 8, 4), free={"a": 0}, ends=[End(h(1), 8, "a")]), later)
    of_first = book(standing(Unit("first", 8, 4), free={"a": 8}), later)

    assert of_head.problem is not None
    assert of_head.next_times[0] == h(5)
    assert of_first.problem is not None
    assert of_first.next_times == () or of_first.next_times[0] >= h(4)


def test_an_extension_is_possible_until_the_head_is_promised_its_gpus() -> None:
    ends = [End(h(1), 4, "a", "short"), End(h(3), 4, "a", "long")]
    stands = standing(Unit("head", 8, 4), free={"a": 0}, ends=ends)

    assert moved_by(stands, "short", timedelta(hours=2)) == []
    assert [unit.key for unit in moved_by(stands, "short", timedelta(hours=4))] == ["head"]
    assert most_possible(stands, "short", timedelta(hours=4)) == timedelta(hours=2)
    assert most_possible(stands, "long", timedelta(hours=4)) == timedelta()


def test_a_hundred_behind_them_are_not_looked_at_and_one_that_fits_is() -> None:
    behind = [Unit(f"u{number:03}", 8, 1) for number in range(200)]

    plan = standing(*behind, Unit("small", 1, 1), free={"a": 4}, ends=[End(h(2), 4, "a")]).plan()

    assert started(plan) == {"small": ("a",)}


def test_pods_that_are_on_no_node_yet_end_where_they_are_expected() -> None:
    """One that is kept to a node, and one that the scheduler puts on another."""
    ends = [End(h(1), 4, unit="anywhere"), End(h(9), 4, unit="kept", kept_to="a")]
    room = Room("h100", 0, {"a": 0, "b": 0}, is_seen=True, sizes={"a": 4, "b": 4}, placed=((4, "a"), (4, "b")))

    plan = Standing("h100", NOW, room, (Unit("head", 4, 1),), ends=tuple(ends)).plan()

    promise = plan.promise_of("head")
    assert promise is not None
    assert (promise.at, promise.spots) == (3600, ("b",))


def test_what_is_on_no_node_any_more_is_kept_for_the_head_all_the_same() -> None:
    """The node has the GPUs back, and the total not yet: who took them now would be in the head's way."""
    room = Room("h100", 4, {"a": 8}, is_seen=True, sizes={"a": 8})

    plan = Standing(
        "h100", NOW, room, (Unit("head", 8, 1), Unit("later", 4, 9)), ends=(End(h(1), 4, "", "over"),)
    ).plan()

    assert started(plan) == {}
    assert waiting(plan, "head").starts_in_s == 3600


def test_a_pod_that_finds_no_node_gets_the_first_gpus_that_are_free_before_the_head() -> None:
    """The scheduler gives them to it: that is nobody's choice any more."""
    ends = (End(h(1), 4, "a", "short"), End(h(2), 4, "b", "long"), End(h(5), 4, None, "waits"))
    room = Room("h100", 0, {"a": 0, "b": 0}, is_seen=True, sizes={"a": 4, "b": 4})

    plan = Standing("h100", NOW, room, (Unit("head", 4, 1),), ends=ends).plan()

    promise = plan.promise_of("head")
    assert promise is not None
    assert (promise.at, promise.spots) == (7200, ("b",))


def test_who_goes_before_the_head_is_kept_to_where_the_head_does_not_need_it() -> None:
    """Its node has room now, and that of the head in a moment: by then the scheduler could choose either."""
    first, head = Unit("first", 4, 4), Unit("head", 8, 4)

    plan = standing(first, head, free={"a": 4, "b": 0}, ends=[End(NOW, 8, "b")]).plan()

    assert started(plan) == {"first": ("a",)}
    assert plan.starts[0].is_kept
    assert waiting(plan, "head").is_promised


def test_nodes_that_are_free_come_before_those_that_may_be_so_at_any_moment() -> None:
    """What is over may stay so for long: a promise that rests on it moves at each look, while others take the rest."""
    gang = Unit("gang", 8, 1, nodes=2)
    over = [End(h(-1), 8, "a"), End(h(-1), 8, "b")]

    free, zones = {"a": 0, "b": 0, "c": 8, "d": 0}, {"a": "x", "b": "x", "c": "y", "d": "y"}
    anywhere = timeline(room(free), over[:1], NOW)
    by_zone = timeline(room(free, dict(zones)), [*over, End(h(-1), 8, "d")], NOW)

    assert anywhere.earliest(gang, 60) == (1, ("c", "a"))
    assert by_zone.earliest(gang, 60) == (1, ("c", "d"))
