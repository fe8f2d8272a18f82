"""All that the steps of event messages look at: subscriptions, where they go, and the events of their next batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pgfleet.schema.asking import Role
from pgfleet.schema.event import LIVE, Deliver, Look, LookAround, Redeliver, Resume, Subscribe
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import Filters, may_see, narrowed
from pgfleet.schema.feed.known import types_in
from pgfleet.schema.feed.reading import Page
from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.events import event_subscriptions
from pgfleet.schema.tickets import NUDGE
from pgfleet.workers.event.window import Window, window_of

SQL = named(__package__)
# A page is so many moves, and a batch has so many events and bytes at most: a single event may have more.
MOVES, BATCH_EVENTS, BATCH_BYTES = 500, 500, 512 * 1024
# So many pages in which nothing is wanted are gone through by one look.
PAGES = 20
AROUND = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """Where events go. Whoever knows either of the two that are not shown is let in by it."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in their order, between two positions.

    Attributes:
        has_more: whether a look had to stop before it came to the end of the feed.
        begin: where to begin anew, where moves after the position are not kept any more.
    """

    after: Cursor
    events: list[Event]
    to: Cursor
    has_more: bool = False
    begin: Cursor | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Rows and targets by their id, as they are at `now`.

    Attributes:
        batches: what messages are to look at or deliver.
        counted: how many subscriptions users have that are not off.
        idle: the ids of those to be looked at, where that was asked.
        moves: each machine with each state that its rows move to and each notice of them, where somebody subscribes.
    """

    now: datetime
    rows: dict[str, Row]
    targets: dict[str, Target]
    batches: dict[Message, Batch]
    counted: dict[str, int]
    idle: list[str]
    moves: list[tuple[str, str]]


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:
    """The view of some messages. Each subscription's events are read by themselves, as each has filters of its own."""
    ids = sorted({UUID(str(one)) for message in messages if (one := getattr(message, "subscription_id", None))})
    askers = sorted({message.user_id for message in messages if isinstance(message, (Resume, Subscribe))})
    with conn.pipeline():
        now = conn.execute(SQL["now"])
        asked = ask_rows(conn, event_subscriptions, ids)
        counted = conn.execute(SQL["counted"], {"users": askers})
    [(moment,)] = now.fetchall()
    rows = {str(key): row for key, row in rows_of(event_subscriptions, asked).items()}
    found = ask(conn, SQL["targets"], ids=ids)
    targets = {str(at.subscription_id): Target(at.url, at.secret) for at in found}
    idle: list[Any] = []
    if any(isinstance(message, LookAround) for message in messages):
        idle = [one for (one,) in conn.execute(SQL["idle"], {"most": AROUND}).fetchall()]
    moves = types_in(conn) if askers else []
    batches = _batches(conn, messages, rows, window_of(settings))
    return View(moment, rows, targets, batches, dict(counted.fetchall()), idle, moves)


def _batches(
    conn: Connection, messages: Sequence[Message], rows: dict[str, Row], window: Window
) -> dict[Message, Batch]:
    spans = {message: span for message in messages if (span := _span(message, rows)) is not None}
    users = sorted({row.user_id for row, _, _ in spans.values()})
    roles = {row.name: row.role for row in ask(conn, SQL["roles"], users=users)} if users else {}
    return {
        message: _read(conn, window, _Asked(row, roles.get(row.user_id)), after, upto)
        for message, (row, after, upto) in spans.items()
    }


def _span(message: Message, rows: dict[str, Row]) -> tuple[Row, Cursor, Cursor | None] | None:
    """Whose events a message is about, after which position, and up to which; None where it will not look at any."""
    row = rows.get(getattr(message, "subscription_id", ""))
    if row is None:
        return None
    match message:
        case Look() if row.status in LIVE and row.batch_to is None:
            return row, Cursor.parse(row.delivered_to), None
        case Deliver() if row.status in LIVE and row.batch_to is not None and message.ticket in (NUDGE, row.ticket):
            return row, Cursor.parse(row.delivered_to), Cursor.parse(row.batch_to)
        case Redeliver():
            return row, Cursor.parse(message.after), Cursor.parse(message.to)
        case _:
            return None


class _Asked:
    """Whose events are read, in the role of now."""

    def __init__(self, row: Row, role: str | None) -> None:
        self.role = None if role is None else Role(role)
        self.wanted = _filters(row)
        self.user = row.user_id
        self.reader = row.subscription_id

    def told(self, page: Page) -> list[Event]:
        """What of a page its filters want, and its user may see."""
        if self.role is None:
            return []
        return [event for event in page.events if self.wanted.match(event) and may_see(self.role, self.user, event)]


def _read(conn: Connection, window: Window, asked: _Asked, after: Cursor, upto: Cursor | None) -> Batch:
    """The next events of a subscription: of what this process has read already, else from the database."""
    if asked.role is not None:
        seen = window.page(after, MOVES, upto)
        if seen is None and upto is not None:
            seen = window.kept(asked.reader, after, upto)
        events = asked.told(seen) if seen is not None else []
        if seen is not None and (events or upto is not None):
            return _batch(after, events, seen)
    batch = _read_on(conn, asked, after, upto)
    if batch.events and upto is None:
        window.keep(asked.reader, batch.after, Page(batch.events, batch.to))
    return batch


def _read_on(conn: Connection, asked: _Asked, after: Cursor, upto: Cursor | None) -> Batch:
    end = reading.end(conn)
    if asked.role is None:
        return Batch(after, [], upto or max(after, end))
    seen = narrowed(asked.wanted, asked.role, asked.user)
    for _ in range(PAGES):
        try:
            page = reading.read(conn, after, seen, MOVES, upto)
        except CursorTooOld as error:
            return Batch(after, [], after, begin=error.begin)
        events = asked.told(page)
        if events or upto is not None:
            return _batch(after, events, page)
        # What is committed meanwhile is another look's, or this one would never end.
        if page.cursor == after or page.cursor >= end:
            return Batch(after, [], page.cursor)
        after = page.cursor
    return Batch(after, [], after, has_more=True)


def _batch(after: Cursor, events: list[Event], page: Page) -> Batch:
    taken = _first(events)
    return Batch(after, taken, taken[-1].position if len(taken) < len(events) else page.cursor)


def _filters(row: Row) -> Filters:
    return Filters(
        frozenset(row.machines) if row.machines is not None else None,
        frozenset(row.states) if row.states is not None else None,
        row.of_user,
        row.row_id,
    )


def _first(events: list[Event]) -> list[Event]:
    """As many as a batch takes, and one at least."""
    size = 0
    for number, event in enumerate(events[:BATCH_EVENTS]):
        size += len(event.json().encode())
        if number and size > BATCH_BYTES:
            return events[:number]
    return events[:BATCH_EVENTS]
