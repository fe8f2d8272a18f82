"""All that the steps of measuring and billing look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from schema.assignment import Bill, BillUser, Measure, MeasureCluster
from schema.kernel import Connection, Cursor
from schema.messages import Message
from schema.row_kernel import ROW_VERSION, text_of
from schema.rows import Row, ask_rows, rows_of
from schema.settings import Settings
from schema.tables import (
    billing_history,
    billing_rates,
    dead_letters,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    usage_daily,
    usage_samples,
    user_credits,
    user_hopsworks_assignments,
)

# How many bills one look sends; more are sent by the next.
BILLS_LIMIT = 500
DAYS_BACK = 7
# What is measured last of a day is there so long after its end, at the latest.
LATEST = "1 hour"
METRICS = "metrics"


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
class BillingView:
    """As things are at `now`. Clusters by id as text.

    Attributes:
        measurable: the clusters that can be measured.
        kubeconfigs: of the clusters asked about that can be measured.
        usernames: of the clusters asked about, the user's id by Hopsworks username.
        sampled: the (cluster, slot) pairs asked about that were measured already.
        failures: the open rows of clusters that could not be measured.
        unbilled: (user, day) of bills that nobody has written or sent yet, the oldest first.
        rates: what is billed, by name.
        accounts: by (user, day), of users that exist.
        used: by (user, day), of users that used anything.
        credits: by user.
    """

    now: datetime
    measurable: list[str] = field(default_factory=list)
    kubeconfigs: dict[str, str] = field(default_factory=dict, repr=False)
    usernames: dict[str, dict[str, str]] = field(default_factory=dict)
    sampled: set[tuple[str, datetime]] = field(default_factory=set)
    failures: dict[str, Row] = field(default_factory=dict)
    unbilled: list[tuple[str, date]] = field(default_factory=list)
    rates: dict[str, Row] = field(default_factory=dict)
    accounts: dict[tuple[str, date], Account] = field(default_factory=dict)
    used: dict[tuple[str, date], Used] = field(default_factory=dict)
    credits: dict[str, Row] = field(default_factory=dict)


def charge_id(user_id: str, day: date) -> UUID:
    return _id("charge", user_id, day.isoformat())


def daily_id(user_id: str, day: date) -> UUID:
    return _id("usage", user_id, day.isoformat())


def sample_id(cluster_id: str, slot: datetime) -> UUID:
    return _id("sample", cluster_id, slot.astimezone(UTC).isoformat())


def failure_id(cluster_id: str, slot: datetime) -> UUID:
    return _id("metrics", cluster_id, slot.astimezone(UTC).isoformat())


def _id(*parts: str) -> UUID:
    return uuid5(NAMESPACE_URL, ":".join(("pgfleet", *parts)))


def _given(name: str, type_: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=sa.ARRAY(type_))


def _text(value: str) -> sa.ColumnClause[Any]:
    return sa.literal_column(f"'{value}'")


_u, _a, _c, _f, _d = (
    table.alias(name)
    for table, name in (
        (hopsworks_users, "u"),
        (user_hopsworks_assignments, "a"),
        (hopsworks_clusters, "c"),
        (health_check_failures, "f"),
        (usage_daily, "d"),
    )
)
_clusters = sa.any_(_given("clusters", sa.UUID))
NOW = text_of(sa.select(sa.func.public.fleet_now()))
_measured = sa.and_(_c.c.kubeconfig != _text(""), _c.c.status.is_distinct_from(_text("inactive")))
MEASURABLE = text_of(sa.select(sa.cast(_c.c.id, sa.Text)).where(_measured).order_by(_c.c.id))
KUBECONFIGS = text_of(sa.select(sa.cast(_c.c.id, sa.Text), _c.c.kubeconfig).where(_measured, _c.c.id == _clusters))
USERNAMES = text_of(
    sa.select(sa.cast(_a.c.hopsworks_cluster_id, sa.Text), _a.c.hopsworks_username, _a.c.user_id)
    .where(_a.c.hopsworks_cluster_id == _clusters, _a.c.hopsworks_username.is_not(None))
    .order_by(_a.c.user_id)
)
SAMPLED = text_of(
    sa.select(sa.cast(usage_samples.c.hopsworks_cluster_id, sa.Text), usage_samples.c.slot).where(
        usage_samples.c.hopsworks_cluster_id == _clusters,
        usage_samples.c.slot == sa.any_(_given("slots", sa.TIMESTAMP(timezone=True))),
    )
)
FAILURES = text_of(
    sa.select(sa.literal_column("f.xmin::text").label(ROW_VERSION), *_f.c).where(
        _f.c.hopsworks_cluster_id == _clusters,
        _f.c.check_name == _text(METRICS),
        _f.c.user_id.is_(None),
        _f.c.resolved_at.is_(None),
    )
)
RATES = text_of(sa.select(sa.literal_column("hopsworks.billing_rates.xmin::text").label(ROW_VERSION), *billing_rates.c))

_asked = (
    sa.func.unnest(_given("users", sa.Text), _given("days", sa.Date), _given("charges", sa.UUID))
    .table_valued(sa.column("user_id", sa.Text), sa.column("day", sa.Date), sa.column("charge_id", sa.UUID))
    .render_derived(name="asked")
)
_pending = (
    sa.select(sa.func.coalesce(sa.func.sum(billing_history.c.amount), sa.literal_column("0")))
    .where(billing_history.c.user_id == _asked.c.user_id, billing_history.c.status == _text("pending"))
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
    """025: who used what on a day."""
    columns = (
        sa.column("user_id", sa.Text),
        *(sa.column(column, sa.Numeric) for column in ("seat_days", "gpu_hours", "cpu_hours")),
        sa.column("hopsworks_cluster_id", sa.UUID),
    )
    return sa.func.hopsworks.use_of_day(day, users).table_valued(*columns).lateral(name)


_used = _use(sa.bindparam("day", type_=sa.Date), _given("users", sa.Text), "used")
USED = text_of(sa.select(*_used.c))

_queue = sa.table("q_cluster_assignments", sa.column("message", JSONB), schema="pgmq").alias("q")
_days = (
    sa.func.generate_series(sa.literal_column("1"), sa.literal_column(str(DAYS_BACK)))
    .table_valued("back")
    .render_derived(name="n")
)
_today = sa.literal_column(f"(public.fleet_now() - interval '{LATEST}')").op("at time zone")(_text("UTC"))
_ended = sa.select((sa.cast(_today, sa.Date) - _days.c.back).label("day")).select_from(_days).subquery("ended")
_someone = _use(_ended.c.day, sa.null(), "someone")


def _is_about(message: Any) -> sa.ColumnElement[bool]:
    """Whether it is a bill of the user and day."""

    def part(name: str) -> Any:
        return message.op("->>")(_text(name))

    day = sa.func.to_char(_ended.c.day, _text("YYYY-MM-DD"))
    return sa.and_(part("action") == _text("bill_user"), part("user_id") == _someone.c.user_id, part("day") == day)


_letters = dead_letters.alias("l")
UNBILLED = text_of(
    sa.select(_someone.c.user_id, _ended.c.day)
    .select_from(_ended.join(_someone, sa.true()))
    .where(
        ~sa.exists().where(_d.c.user_id == _someone.c.user_id, _d.c.date == _ended.c.day),
        ~sa.exists().where(_is_about(_queue.c.message)),
        # What waits for a person's answer is not sent again and again.
        ~sa.exists().where(
            _letters.c.queue == _text("cluster_assignments"),
            _letters.c.answered_at.is_(None),
            _is_about(_letters.c.message),
        ),
    )
    .order_by(_ended.c.day, _someone.c.user_id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> BillingView:  # noqa: ARG001  # a load
    """The view of the messages of BILLING among some messages."""
    slots = {(message.cluster_id, message.slot) for message in messages if isinstance(message, MeasureCluster)}
    bills = sorted({(message.user_id, message.day) for message in messages if isinstance(message, BillUser)})
    with conn.pipeline():
        now = conn.execute(NOW)
        measurable = conn.execute(MEASURABLE) if _some(messages, Measure) else ()
        measured = _ask_measured(conn, slots) if slots else {}
        unbilled = conn.execute(UNBILLED, {"most": BILLS_LIMIT + 1}) if _some(messages, Bill) else ()
        billed = _ask_billed(conn, bills) if bills else {}
        used = _ask_used(conn, bills)
    return BillingView(
        now=now.fetchall()[0][0],
        measurable=[row[0] for row in measurable],
        unbilled=[(row[0], row[1]) for row in unbilled],
        used={(row[0], day): Used(*row[1:]) for day, cursor in used.items() for row in cursor},
        **_read_measured(measured),
        **_read_billed(billed),
    )


def _some(messages: Sequence[Message], of: type[Message]) -> bool:
    return any(isinstance(message, of) for message in messages)


def _ask_measured(conn: Connection, slots: set[tuple[str, datetime]]) -> dict[str, Cursor]:
    asked = {"clusters": sorted({cluster for cluster, _ in slots}), "slots": sorted({slot for _, slot in slots})}
    texts = {"kubeconfigs": KUBECONFIGS, "usernames": USERNAMES, "sampled": SAMPLED, "failures": FAILURES}
    return {name: conn.execute(text, asked) for name, text in texts.items()}


def _read_measured(cursors: dict[str, Cursor]) -> dict[str, Any]:
    if not cursors:
        return {}
    usernames: dict[str, dict[str, str]] = {}
    for cluster, username, user in cursors["usernames"]:
        usernames.setdefault(cluster, {})[username] = user
    failures = rows_of(health_check_failures, cursors["failures"]).values()
    return {
        "kubeconfigs": {row[0]: row[1] for row in cursors["kubeconfigs"]},
        "usernames": usernames,
        "sampled": {(row[0], row[1]) for row in cursors["sampled"]},
        "failures": {str(row.hopsworks_cluster_id): row for row in failures},
    }


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
