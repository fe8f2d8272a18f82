"""The newest events, read once a process: what comes of them is what the database would have said."""

from datetime import UTC, datetime

import pytest

from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.reading import Page
from pgfleet.workers.event import window
from pgfleet.workers.event.machine import KIND
from pgfleet.workers.event.window import Window
from worlds.database import Connection
from worlds.events import Events
from worlds.fleet import settings_for, until, worker_on
from worlds.receiver import Receiver


def at(number: int) -> Cursor:
    return Cursor(1, 10 * number, number)


def event(number: int) -> Event:
    return Event(at(number), "node", "1", "active", "offline", "", datetime.now(UTC), None, {})


def filled(*numbers: int, after: int = 0) -> Window:
    """What was moved, and looked at up to the last."""
    window = Window()
    window.add(at(after), Page([event(number) for number in numbers], at(max(numbers, default=after))))
    return window


def numbers(page: Page | None) -> list[int] | None:
    return None if page is None else [each.position.history_id for each in page.events]


@pytest.mark.parametrize(
    ("after", "most", "upto", "found"),
    [
        (0, 9, None, [1, 2, 4]),
        (1, 9, None, [2, 4]),
        (3, 9, None, [4]),
        (4, 9, None, []),
        (0, 2, None, [1, 2]),
        (0, 9, 2, [1, 2]),
        (0, 9, 3, [1, 2]),
        (5, 9, None, None),
        (0, 9, 5, None),
    ],
)
def test_what_lies_between_two_positions_is_there_or_all_of_it_is_elsewhere(
    after: int, most: int, upto: int | None, found: list[int] | None
) -> None:
    """A part would be a hole."""
    page = filled(1, 2, 4).page(at(after), most, None if upto is None else at(upto))

    assert numbers(page) == found
    assert page is None or page.cursor == at(found[-1] if found else after)


def test_what_does_not_follow_on_what_is_there_begins_anew() -> None:
    """Else there would be a hole between them."""
    seen = filled(1, 2)
    seen.add(at(5), Page([event(6)], at(6)))

    assert numbers(seen.page(at(5), 9, None)) == [6]
    assert seen.page(at(1), 9, None) is None


def test_the_oldest_go_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is before them reads the database."""
    monkeypatch.setattr(window, "MOST", 2)
    seen = filled(1, 2)
    seen.add(at(2), Page([event(3)], at(3)))

    assert seen.page(at(0), 9, None) is None
    assert numbers(seen.page(at(1), 9, None)) == [2, 3]


def test_nothing_is_known_where_nobody_follows() -> None:
    """Nor after what was followed was lost."""
    seen = filled(1)
    seen.clear()

    assert seen.page(at(0), 9, None) is None
    assert Window().page(at(0), 9, None) is None


def test_what_was_read_for_somebody_is_asked_for_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the same two positions, and by nobody else; of too many the first is gone."""
    monkeypatch.setattr(window, "MOST_KEPT", 2)
    seen, page = Window(), Page([event(2)], at(3))
    for reader in ("gone", "ada", "bob"):
        seen.keep(reader, at(1), page)

    assert seen.kept("gone", at(1), at(3)) is None
    assert seen.kept("ada", at(1), at(3)) is page
    assert seen.kept("ada", at(1), at(3)) is None
    assert seen.kept("bob", at(1), at(2)) is None


def test_who_is_told_from_the_window_is_told_what_is_theirs(
    dsn: str, conn: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is asked for events once, by who follows."""
    settings = settings_for(dsn, events_may_reach="127.0.0.1")
    with worker_on(KIND, settings, watches=True) as worker:
        events = Events(conn, worker)
        events.subscribe(receiver.url)
        events.make()
        until(lambda: receiver.got, work=worker.run_once)
        worker.run()
        monkeypatch.setattr("pgfleet.workers.event.view._read_on", None)
        with conn.transaction():
            mine, _ = events.make(), events.make("bob")
            events.move(mine, "queued")
        until(lambda: len(receiver.got) == 2, work=worker.run_once)
        monkeypatch.undo()

    assert [(told["subject"], told["data"]["to"]) for told in receiver.got[1].events] == [
        (mine, "pending"),
        (mine, "queued"),
    ]


def test_what_came_while_nobody_followed_is_told_by_who_begins_to(
    dsn: str, conn: Connection, receiver: Receiver
) -> None:
    """At once, and not when the next look around is due."""
    settings = settings_for(dsn, events_may_reach="127.0.0.1")
    with worker_on(KIND, settings) as worker:
        events = Events(conn, worker)
        events.subscribe(receiver.url)
    row_id = events.make()

    with worker_on(KIND, settings, watches=True) as worker:
        worker.run_until(lambda: receiver.subjects == [row_id])
