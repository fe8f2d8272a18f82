"""Reading subscriptions for people: one by its id or the beginning of it, and lists."""

from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.disk import as_text, whole
from pgfleet.schema.reads.resolve import Several, begins, first, only
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.events import event_subscriptions

MOST = 1000
_s = event_subscriptions.c
_COLUMNS = (
    *(as_text(_s.subscription_id, "subscription_id"), _s.user_id, _s.shown_url, _s.format),
    *(_s.machines, _s.states, _s.of_user, _s.row_id, _s.status, _s.status_reason, _s.status_since, _s.failing_since),
    *(_s.last_delivered_at, _s.last_answer, _s.detail, _s.next_try_at, _s.delivered_to, _s.deliveries, _s.created_at),
)


def rows() -> sa.Select[Any]:
    return sa.select(*_COLUMNS)


def listing(conn: Connection, user: str | None = None) -> list[Row]:
    """A user's, or everybody's; the newest first, a thousand at most."""
    asked = rows().order_by(_s.created_at.desc(), _s.subscription_id.desc()).limit(MOST)
    return fetch(conn, asked if user is None else asked.where(_s.user_id == user))


def by_id(conn: Connection, given: str) -> Row | None:
    """By its whole id, whoever's it is."""
    subscription_id = whole(given)
    return None if subscription_id is None else first(conn, rows().where(_s.subscription_id == subscription_id))


def resolve(conn: Connection, given: str, user: str) -> Row:
    """A user's subscription by its id, or the beginning of it.

    Raises:
        Refusal: there is none, or more than one.
    """
    several = Several(f"Several subscriptions begin with {printable(given)}", _line)
    asked = rows().where(_s.user_id == user, begins(given.strip(), sa.cast(_s.subscription_id, sa.Text)))
    found = only(fetch(conn, asked.limit(several.most + 1)), several) if given.strip() else None
    if found is None:
        raise Refusal(
            "There is no such subscription of yours. See `pgfleet subscriptions`; if you act for others: --user."
        )
    return found


def _line(row: Row) -> str:
    return f"{row['subscription_id']}  {row['status']}  {row['shown_url']}"
