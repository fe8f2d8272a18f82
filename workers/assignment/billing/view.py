"""All that the steps of measuring and billing look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa

from pgfleet.schema.assignment import Bill, BillUser
from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.kernel import constant, text_of, versioned
from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.billing import billed_days, billing_history, billing_rates, usage_daily, user_credits
from pgfleet.schema.tables.hopsworks import hopsworks_users
from pgfleet.workers.assignment.billing.samples import Meters, ask_meters, read_meters

# How far back days are listed: so long, or to the last day that was; not further than hours are kept (021).
DAYS_BACK = 7
DAYS_KEPT = 60
# After the end of a day: until its last slots are measured, or too late.
DAY_CLOSES = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Used:
    """One user's day; the cluster is where the seat was."""

    seat_days: Decimal
    gpu_hours: Decimal
    cpu_hours: Decimal
    cluster_id: Any


@dataclass(frozen=True, slots=True)
class Account:
    """What else is known of a user, for one day's bill."""

    billed: bool
    # A charge was written with this day's bill before.
    charged: bool
    pending: Decimal


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day that is closed and not listed yet: who used anything and has no bill, and whether there are later ones."""

    day: date
    is_last: bool
    users: list[str]


@dataclass(frozen=True, slots=True)
class BillingView:
    """As things are at `now`.

    Attributes:
        open_day: the oldest, where that was asked and there is one.
        rates: what is billed, by name.
        accounts: by (user, day), of users that exist.
        used: by (user, day), of users that used anything.
        credits: by user.
    """

    now: datetime
    meters: Meters
    open_day: OpenDay | None = None
    rates: dict[str, Row] = field(default_factory=dict)
    accounts: dict[tuple[str, date], Account] = field(default_factory=dict)
    used: dict[tuple[str, date], Used] = field(default_factory=dict)
    credits: dict[str, Row] = field(default_factory=dict)

    @property
    def open_failures(self) -> dict[tuple[str, str, str], Row]:
        return self.meters.failures


def charge_id(user_id: str, day: date) -> UUID:
    return _id("charge", user_id, day.isoformat())


def daily_id(user_id: str, day: date) -> UUID:
    return _id("usage", user_id, day.isoformat())


def _id(*parts: str) -> UUID:
    return uuid5(NAMESPACE_URL, ":".join(("pgfleet", *parts)))


def _given(name: str, type_: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=sa.ARRAY(type_))


_u, _d = hopsworks_users.alias("u"), usage_daily.alias("d")
NOW = text_of(sa.select(sa.func.public.fleet_now()))
RATES = text_of(versioned(billing_rates))

_asked = (
    sa.func.unnest(_given("users", sa.Text), _given("days", sa.Date), _given("charges", sa.UUID))
    .table_valued(sa.column("user_id", sa.Text), sa.column("day", sa.Date), sa.column("charge_id", sa.UUID))
    .render_derived(name="asked")
)
_pending = (
    sa.select(sa.func.coalesce(sa.func.sum(billing_history.c.amount), sa.literal_column("0")))
    .where(
        billing_history.c.user_id == _asked.c.user_id,
        billing_history.c.status == constant("pending"),
        # A refund is no payment that is on its way.
        billing_history.c.amount > sa.literal_column("0"),
    )
    .scalar_subquery()
)
ACCOUNTS = text_of(
    sa.select(
        _u.c.id,
        _asked.c.day,
        sa.exists().where(_d.c.user_id == _asked.c.user_id, _d.c.date == _asked.c.day),
        sa.exists().where(billing_history.c.id == _asked.c.charge_id),
        _pending,
    ).join_from(_asked, _u, _u.c.id == _asked.c.user_id)
)


def _use(day: Any, users: Any, name: str) -> Any:
    """133: who used what on a day."""
    columns = (
        sa.column("user_id", sa.Text),
        *(sa.column(column, sa.Numeric) for column in ("seat_days", "gpu_hours", "cpu_hours")),
        sa.column("hopsworks_cluster_id", sa.UUID),
    )
    return sa.func.hopsworks.use_of_day(day, users).table_valued(*columns).lateral(name)


_used = _use(sa.bindparam("day", type_=sa.Date), _given("users", sa.Text), "used")
USED = text_of(sa.select(*_used.c))

_closing = sa.func.public.fleet_now(type_=sa.TIMESTAMP(timezone=True)) - sa.bindparam("closes", type_=sa.Interval)
_today = sa.cast(sa.func.timezone(constant("UTC"), _closing), sa.Date)
_unlisted = sa.select(_today - sa.func.max(billed_days.c.day)).scalar_subquery()
_back = sa.func.least(sa.func.greatest(sa.literal_column(str(DAYS_BACK)), _unlisted), sa.literal_column(str(DAYS_KEPT)))
_days = sa.func.generate_series(sa.literal_column("1"), _back).table_valued("back").render_derived(name="n")
_closed = sa.select((_today - _days.c.back).label("day")).select_from(_days).subquery("closed")
_oldest = (
    sa.select(_closed.c.day, (sa.func.count().over() == sa.literal_column("1")).label("is_last"))
    .where(~sa.exists().where(billed_days.c.day == _closed.c.day))
    .order_by(_closed.c.day)
    .limit(sa.literal_column("1"))
    .subquery("oldest")
)
_someone = _use(_oldest.c.day, sa.null(), "someone")
_bill = sa.exists().where(_d.c.user_id == _someone.c.user_id, _d.c.date == _oldest.c.day).correlate_except(_d)
_users = sa.select(_someone.c.user_id).where(~_bill).order_by(_someone.c.user_id).correlate(_oldest).scalar_subquery()
OPEN_DAY = text_of(sa.select(_oldest.c.day, _oldest.c.is_last, sa.func.array(_users)))


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> BillingView:  # noqa: ARG001  # a load
    """The view of the messages of BILLING among some messages."""
    bills = sorted({(message.user_id, message.day) for message in messages if isinstance(message, BillUser)})
    with conn.pipeline():
        now = conn.execute(NOW)
        meters = ask_meters(conn, messages)
        looked = any(isinstance(message, Bill) for message in messages)
        open_days = conn.execute(OPEN_DAY, {"closes": DAY_CLOSES}) if looked else ()
        billed = _ask_billed(conn, bills) if bills else {}
        used = _ask_used(conn, bills)
    return BillingView(
        now=now.fetchall()[0][0],
        meters=read_meters(meters),
        open_day=next((OpenDay(*row) for row in open_days), None),
        used={(row[0], day): Used(*row[1:]) for day, cursor in used.items() for row in cursor},
        **_read_billed(billed),
    )


def _ask_billed(conn: Connection, bills: Sequence[tuple[str, date]]) -> dict[str, Cursor]:
    """The credits come first: a payment that comes later makes their version old, whatever else of it was seen."""
    users, days = [user for user, _ in bills], [day for _, day in bills]
    charges = [charge_id(user, day) for user, day in bills]
    return {
        "credits": ask_rows(conn, user_credits, sorted(set(users))),
        "accounts": conn.execute(ACCOUNTS, {"users": users, "days": days, "charges": charges}),
        "rates": conn.execute(RATES),
    }


def _read_billed(cursors: dict[str, Cursor]) -> dict[str, Any]:
    if not cursors:
        return {}
    return {
        "credits": rows_of(user_credits, cursors["credits"]),
        "accounts": {(row[0], row[1]): Account(*row[2:]) for row in cursors["accounts"]},
        "rates": rows_of(billing_rates, cursors["rates"]),
    }


def _ask_used(conn: Connection, bills: Sequence[tuple[str, date]]) -> dict[date, Cursor]:
    """A day at a time, for all of its users at once."""
    days = sorted({day for _, day in bills})
    return {day: conn.execute(USED, {"day": day, "users": [user for user, of in bills if of == day]}) for day in days}
