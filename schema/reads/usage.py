"""Reading what users have used and what they owe: a month's sums of all of them, and one user's days and charges."""

import re
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import now
from pgfleet.schema.reads.resolve import Several, best
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.billing import billing_history, billing_rates, usage_daily, user_credits
from pgfleet.schema.tables.hopsworks import hopsworks_users

CHARGES = 20
MONTH = re.compile(r"(\d{4})-(\d{2})")
_u, _d, _c, _h = hopsworks_users.c, usage_daily.c, user_credits.c, billing_history.c
_AMOUNTS = ("seat_days", "gpu_hours", "cpu_hours", "storage_gb_months", "total_cost")


@dataclass(frozen=True)
class Month:
    """From its first day up to that of the next."""

    first: date

    @property
    def after(self) -> date:
        return date(self.first.year + self.first.month // 12, self.first.month % 12 + 1, 1)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


def read_month(conn: Connection, text: str | None) -> Month:
    """`2026-11`; the present month (UTC) without a text.

    Raises:
        FleetError: the text is no month.
    """
    if text is None:
        return Month(now(conn).astimezone(UTC).date().replace(day=1))
    found = MONTH.fullmatch(text.strip())
    if not found or not 1 <= int(found[2]) <= 12 or not 2000 <= int(found[1]) <= 2999:
        raise FleetError(f"{text} is no month. Give it as 2026-11.")
    return Month(date(int(found[1]), int(found[2]), 1))


def listing(conn: Connection, month: Month) -> list[Row]:
    """Users with usage in the month, a credit or a charge; the highest cost first."""
    return fetch(conn, rows(month).order_by(sa.desc("total_cost"), sa.desc("total_used"), _u.email))


def rows(month: Month) -> sa.Select[Any]:
    """The same, in no order."""
    used = _sums(month)
    pending = _pending()
    known = sa.or_(used.c.days > 0, _c.user_id.is_not(None), pending.c.pending.is_not(None))
    return (
        sa.select(
            *(_u.id.label("user_id"), _u.email),
            *(_none_is_0(used.c[name]).label(name) for name in ("days", *_AMOUNTS)),
            *_credits(pending),
        )
        .select_from(hopsworks_users)
        .outerjoin(used, sa.true())
        .outerjoin(user_credits, _c.user_id == _u.id)
        .outerjoin(pending, sa.true())
        .where(known)
    )


def _sums(month: Month) -> sa.FromClause:
    """Of each user the days in the month: asked one by one, since a page shows few of many."""
    sums = (sa.func.sum(_d[name]).label(name) for name in _AMOUNTS)
    return (
        sa.select(sa.func.count().label("days"), *sums)
        .where(_d.user_id == _u.id, *_within(month))
        .correlate(hopsworks_users)
        .lateral("used")
    )


def _within(month: Month) -> tuple[sa.ColumnElement[bool], ...]:
    return _d.date >= month.first, _d.date < month.after


def _pending() -> sa.FromClause:
    """Of each user the charges that are not paid yet; null where there are none."""
    return (
        sa.select(sa.func.sum(_h.amount).label("pending"))
        .where(_h.user_id == _u.id, _h.status == "pending")
        .correlate(hopsworks_users)
        .lateral("charges")
    )


def _none_is_0(column: Any) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(column, 0)


def _credits(pending: sa.FromClause) -> tuple[sa.Label[Any], ...]:
    """Since the beginning; `outstanding` is what was used, and neither bought nor charged."""
    used, bought, charged = (_none_is_0(column) for column in (_c.total_used, _c.total_purchased, pending.c.pending))
    return (
        used.label("total_used"),
        bought.label("total_purchased"),
        charged.label("pending"),
        (used - bought - charged).label("outstanding"),
    )


def resolve(conn: Connection, given: str) -> Row:
    """A user by Auth0 id or e-mail, in capitals or not; a whole id rather than an e-mail.

    Raises:
        Refusal: nobody has it, or several have.
    """
    given = given.strip()
    users = sa.select(_u.id.label("user_id"), _u.email, _u.name).order_by(_u.id)
    in_lower_case = sa.or_(*(sa.func.lower(column) == sa.func.lower(given) for column in (_u.id, _u.email)))
    several = Several(f"{given} fits several users; give the id", lambda row: f"{row['user_id']}  {row['email']}")
    found = best(conn, users, (_u.id == given, _u.email == given, in_lower_case), several)
    if found is None:
        raise Refusal(f"There is no user {given}: see `pgfleet users`.")
    return found


def days(conn: Connection, user_id: str, month: Month) -> list[Row]:
    """A user's days of a month, the newest first."""
    columns = (_d.date, *(_none_is_0(_d[name]).label(name) for name in _AMOUNTS))
    return fetch(conn, sa.select(*columns).where(_d.user_id == user_id, *_within(month)).order_by(_d.date.desc()))


def credit(conn: Connection, user_id: str) -> Row:
    """What a user has bought and used since the beginning; zeros where nothing is known."""
    pending = _pending()
    statement = (
        sa.select(*_credits(pending))
        .select_from(hopsworks_users)
        .outerjoin(user_credits, _c.user_id == _u.id)
        .outerjoin(pending, sa.true())
    )
    return fetch(conn, statement.where(_u.id == user_id))[0]


def charges(conn: Connection, user_id: str) -> list[Row]:
    """A user's last charges and refunds, the newest first."""
    columns = (_h.created_at, _h.amount, _h.currency, _h.status, _h.description, _h.stripe_invoice_id)
    newest = sa.select(*columns).where(_h.user_id == user_id).order_by(_h.created_at.desc(), _h.id)
    return fetch(conn, newest.limit(CHARGES))


def currency(conn: Connection) -> str:
    """The currency of the prices; empty where they have several, or there are none."""
    found = fetch(conn, sa.select(billing_rates.c.currency).distinct())
    return str(found[0]["currency"]) if len(found) == 1 else ""
