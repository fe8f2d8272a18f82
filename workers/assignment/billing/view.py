"""All that the steps of measuring and billing look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from pgfleet.schema.assignment import Bill, BillUser
from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, ask_rows, rows_in, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.billing import billing_rates, user_credits
from pgfleet.workers.assignment.billing.samples import Meters, ask_meters, read_meters

SQL = named(__package__)
# After the end of a day: until its last slots are measured, or too late.
DAY_CLOSES = timedelta(hours=1)
# For so long hours are kept (021), and days listed.
BILLABLE = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Used:
    """One user's day; the cluster is where the seat was."""

    seat_days: Decimal
    gpu_hours: Decimal
    cpu_hours: Decimal
    cluster_id: Any
    storage_gb_months: Decimal


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


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> BillingView:  # noqa: ARG001  # a load
    """The view of the messages of BILLING among some messages."""
    bills = sorted({(message.user_id, message.day) for message in messages if isinstance(message, BillUser)})
    with conn.pipeline():
        now = conn.execute(SQL["now"])
        meters = ask_meters(conn, messages)
        looked = any(isinstance(message, Bill) for message in messages)
        open_days = conn.execute(SQL["open_day"], {"closes": DAY_CLOSES}) if looked else ()
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
        "accounts": conn.execute(SQL["accounts"], {"users": users, "days": days, "charges": charges}),
        "rates": conn.execute(SQL["rates"]),
    }


def _read_billed(cursors: dict[str, Cursor]) -> dict[str, Any]:
    if not cursors:
        return {}
    return {
        "credits": rows_of(user_credits, cursors["credits"]),
        "accounts": {(row[0], row[1]): Account(*row[2:]) for row in cursors["accounts"]},
        "rates": {row.key: row for row in rows_in(billing_rates, cursors["rates"])},
    }


def _ask_used(conn: Connection, bills: Sequence[tuple[str, date]]) -> dict[date, Cursor]:
    """A day at a time, for all of its users at once."""
    days = sorted({day for _, day in bills})
    users = {day: [user for user, of in bills if of == day] for day in days}
    return {day: conn.execute(SQL["used"], {"day": day, "users": users[day], "billable": BILLABLE}) for day in days}
