"""Reading the last deliveries of subscriptions for people: how often tried, what was answered, when again."""

from typing import Any

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.disk import as_text
from pgfleet.schema.reads.resolve import first
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.events import event_deliveries, event_subscriptions

_s, _d = event_subscriptions.c, event_deliveries.c
_COLUMNS = (
    *(as_text(_d.subscription_id, "subscription_id"), _d.number, _d.user_id, _s.shown_url, _d.events, _d.result),
    *(_d.tries, _d.answer, _d.begun_at, _d.next_try_at, _d.ended_at, _d.dead_letter_id),
    *(_d.after_position.label("after"), _d.to_position.label("to")),
)


def rows() -> sa.Select[Any]:
    """Each with what is shown of the address."""
    of_both = event_deliveries.join(event_subscriptions, _s.subscription_id == _d.subscription_id)
    return sa.select(*_COLUMNS).select_from(of_both)


def listing(conn: Connection, user: str, subscription_id: str | None = None, most: int = 50) -> list[Row]:
    """The last of a user's subscriptions, or of one of them; the newest first."""
    asked = rows().where(_d.user_id == user).order_by(_d.begun_at.desc(), _d.number.desc()).limit(most)
    return fetch(conn, asked if subscription_id is None else asked.where(_d.subscription_id == subscription_id))


def by_number(conn: Connection, subscription_id: str, number: int) -> Row | None:
    """One of a subscription that is still kept."""
    return first(conn, rows().where(_d.subscription_id == subscription_id, _d.number == number))
