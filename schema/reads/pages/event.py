"""Pages of subscriptions to events, and of the last deliveries of one."""

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.event import delivery, subscription
from pgfleet.schema.reads.pages.keyset import Page, Pages, Place, Wanted
from pgfleet.schema.tables.events import event_deliveries, event_subscriptions

_s, _d = event_subscriptions.c, event_deliveries.c
_SUBSCRIPTIONS = Pages(
    subscription.rows(),
    Place(_s.created_at, _s.subscription_id, sa.func.greatest(_s.created_at, _s.status_since, _s.last_delivered_at)),
    {
        "user": _s.user_id == sa.bindparam("user", "", sa.Text),
        "status": _s.status == sa.bindparam("status", "", sa.Text),
    },
)
_DELIVERIES = Pages(
    delivery.rows(),
    Place(_d.begun_at, _d.number, sa.func.coalesce(_d.ended_at, _d.begun_at)),
    {"of": _d.subscription_id == sa.bindparam("of", None, _d.subscription_id.type)},
)


def listed(conn: Connection, user: str | None, status: str | None, wanted: Wanted) -> Page:
    """A user's, or everybody's.

    Raises:
        BadCursorError: there is no such page.
    """
    return _SUBSCRIPTIONS.page(conn, wanted, user=user, status=status)


def deliveries(conn: Connection, subscription_id: str, wanted: Wanted) -> Page:
    """Of one subscription.

    Raises:
        BadCursorError: there is no such page.
    """
    return _DELIVERIES.page(conn, wanted, of=subscription_id)
