"""All that the steps of assignment messages look at, loaded in one round trip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from schema.assignment import (
    BILLING,
    Admit,
    Drain,
    Probe,
    Reactivate,
    Request,
    Suspend,
    Sweep,
    SweepAccounts,
    SweepSeats,
)
from schema.kernel import Connection, Cursor
from schema.messages import Message
from schema.row_kernel import ROW_VERSION, text_of
from schema.rows import Row
from schema.settings import Settings
from schema.tables import (
    cluster_breakers,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)
from workers import assignment_billing_view as billing
from workers.assignment_billing_view import BillingView

# How many rows one look at the line may seat, or one sweep may find; more are seen by the next look.
LINE_LIMIT = 100
REPAIR_LIMIT = 500
PAGE = 500


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`. Rows and users by user, clusters and breakers by cluster (its id as text).

    Attributes:
        rows: assignments of the users asked about, and of their owners.
        line: assignments that may find a seat, oldest first.
        open_failures: what is wrong at present, by (cluster, check, user or '').
        members: for each owner asked about, the team members that have an assignment.
        turns: (user, ticket) of rows that get a turn, by the action of the sweep or the cluster that may answer again.
        unprobed: clusters whose breaker is open, and nobody looks whether they answer again.
        counted: how many assignments each cluster has, counted after the clusters were read.
        pages: the next users of a cluster that is drained, in order.
        billing: what billing looks at, where it was asked.
    """

    now: datetime
    rows: dict[str, Row]
    users: dict[str, Row]
    clusters: dict[str, Row]
    breakers: dict[str, Row]
    line: list[Row] = field(default_factory=list)
    open_failures: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    turns: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    unprobed: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    pages: dict[Drain, list[str]] = field(default_factory=dict)
    billing: BillingView | None = None


_a, _u, _c, _b, _f = (
    table.alias(name)
    for table, name in (
        (user_hopsworks_assignments, "a"),
        (hopsworks_users, "u"),
        (hopsworks_clusters, "c"),
        (cluster_breakers, "b"),
        (health_check_failures, "f"),
    )
)
_queue = sa.table("q_cluster_assignments", sa.column("message", JSONB), schema="pgmq").alias("q")
_now = sa.func.public.fleet_now()


def _rows(table: Any, *columns: Any) -> sa.Select[Any]:
    """Whole rows, unless columns are named, with the version that guards their next move."""
    return sa.select(sa.literal_column(f"{table.name}.xmin::text").label(ROW_VERSION), *(columns or table.c))


def _text(value: str) -> sa.ColumnClause[Any]:
    return sa.literal_column(f"'{value}'")


def _any(name: str) -> Any:
    return sa.any_(sa.bindparam(name, type_=sa.ARRAY(sa.Text)))


NOW = text_of(sa.select(_now))
_asked = sa.select(sa.func.unnest(sa.bindparam("users", type_=sa.ARRAY(sa.Text))))
ROWS = text_of(
    _rows(_a).where(
        _a.c.user_id.in_(sa.union(_asked, sa.select(_u.c.account_owner_id).where(_u.c.id == _any("users"))))
    )
)
USERS = text_of(_rows(_u).where(_u.c.id == _any("users")))
# Without the kubeconfig, which can be large and which only a measurement needs.
CLUSTER_COLUMNS = [column.name for column in _c.c if column.name != "kubeconfig"]
CLUSTERS = text_of(_rows(_c, *(_c.c[name] for name in CLUSTER_COLUMNS)))
BREAKERS = text_of(_rows(_b))
LINE = text_of(
    _rows(_a)
    .where(
        _a.c.id.in_(
            sa.select(
                sa.func.hopsworks.seat_candidates(
                    sa.bindparam("most", type_=sa.Integer), sa.bindparam("overflow", type_=sa.Boolean)
                )
            )
        )
    )
    .order_by(_a.c.asked_at.nulls_first(), _a.c.id)
)
FAILURES = text_of(
    _rows(_f).where(_f.c.resolved_at.is_(None), sa.or_(_f.c.user_id.is_(None), _f.c.user_id == _any("users")))
)
MEMBERS = text_of(
    sa.select(_u.c.account_owner_id, _u.c.id)
    .join(_a, _a.c.user_id == _u.c.id)
    .where(_u.c.account_owner_id == _any("users"))
    .order_by(_u.c.id)
)


def _field(name: str) -> sa.ColumnElement[Any]:
    return _queue.c.message.op("->>")(_text(name))


_cluster = sa.cast(sa.bindparam("cluster", type_=sa.Text), sa.UUID)
_has_turn = (
    sa.select(sa.literal_column("1"))
    .where(
        _field("action") == _text("advance"),
        _field("user_id") == _a.c.user_id,
        _field("ticket") == sa.cast(_a.c.ticket, sa.Text),
    )
    .exists()
)
_live = sa.and_(
    _a.c.status.in_([_text("pending"), _text("creating_user")]),
    _a.c.status_since < _now - sa.literal_column("interval '10 seconds'"),
)
# What the server should be told, and has not been.
_untold = sa.and_(
    _a.c.status == _text("active"),
    sa.or_(
        _a.c.account_enabled.is_(None),
        _a.c.max_projects.is_distinct_from(
            sa.func.hopsworks.projects_allowed(_u.c.account_owner_id, _u.c.stripe_customer_id)
        ),
    ),
)
_turn = sa.select(_a.c.user_id, _a.c.ticket).join(_u, _u.c.id == _a.c.user_id)
FORGOTTEN = text_of(_turn.where(sa.or_(_live, _untold), ~_has_turn).limit(sa.bindparam("most")))
DUE = text_of(
    _turn.where(
        _a.c.status == _text("active"),
        sa.or_(_a.c.checked_at.is_(None), _a.c.checked_at < _now - sa.bindparam("check_every", type_=sa.Interval)),
        ~_has_turn,
    )
    .order_by(_a.c.checked_at.nulls_first())
    .limit(sa.bindparam("most"))
)
STUCK = text_of(
    _turn.where(_a.c.status == _text("creating_user"), _a.c.hopsworks_cluster_id == _cluster)
    .order_by(_a.c.status_since)
    .limit(sa.bindparam("most"))
)
UNPROBED = text_of(
    sa.select(sa.cast(_b.c.cluster_id, sa.Text)).where(
        _b.c.retry_at < _now - sa.literal_column("interval '10 seconds'"),
        ~sa.select(sa.literal_column("1"))
        .where(_field("action") == _text("probe"), _field("cluster_id") == sa.cast(_b.c.cluster_id, sa.Text))
        .exists(),
    )
)
COUNTED = text_of(
    sa.select(sa.cast(_a.c.hopsworks_cluster_id, sa.Text), sa.func.count())
    .where(_a.c.hopsworks_cluster_id.is_not(None))
    .group_by(_a.c.hopsworks_cluster_id)
)
PAGE_OF = text_of(
    sa.select(_a.c.user_id)
    .where(
        _a.c.hopsworks_cluster_id == _cluster,
        _a.c.user_id > sa.bindparam("after", type_=sa.Text),
    )
    .order_by(_a.c.user_id)
    .limit(sa.bindparam("most"))
)


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:
    """The view of some messages: their users with their owners, every cluster, and what sweeps among them need."""
    line = _line(conn, settings) if _some(messages, Admit) else []
    users = sorted({row.user_id for row in line} | {m.user_id for m in messages if isinstance(m, Request)})
    asked = [message for message in messages if isinstance(message, BILLING)]
    with conn.pipeline():
        now = conn.execute(NOW)
        rows, people = (conn.execute(text, {"users": users}) for text in (ROWS, USERS))
        clusters, breakers = conn.execute(CLUSTERS), conn.execute(BREAKERS)
        failures = conn.execute(FAILURES, {"users": users})
        members = conn.execute(MEMBERS, {"users": users}) if _some(messages, Suspend, Reactivate) else None
        turns = dict(_ask_turns(conn, messages, settings))
        unprobed = conn.execute(UNPROBED) if _some(messages, Sweep) else None
        # Only after the clusters: a seat taken in between makes the cluster's version old, and so the count.
        counted = conn.execute(COUNTED) if _some(messages, SweepSeats) else None
        pages = {m: conn.execute(PAGE_OF, _page(m)) for m in messages if isinstance(m, Drain)}
    return View(
        now=now.fetchall()[0][0],
        rows={row.user_id: row for row in _rows_of(user_hopsworks_assignments, rows)},
        users={row.id: row for row in _rows_of(hopsworks_users, people)},
        clusters={str(row.id): row for row in _rows_of(hopsworks_clusters, clusters, CLUSTER_COLUMNS)},
        breakers={str(row.cluster_id): row for row in _rows_of(cluster_breakers, breakers)},
        line=line,
        open_failures={_place(row): row for row in _rows_of(health_check_failures, failures)},
        members=_grouped(members),
        turns={asker: [(row[0], row[1]) for row in cursor] for asker, cursor in turns.items()},
        unprobed=[row[0] for row in unprobed or ()],
        counted=dict(counted.fetchall()) if counted else {},
        pages={message: [row[0] for row in cursor] for message, cursor in pages.items()},
        billing=billing.load(conn, asked, settings) if asked else None,
    )


def _some(messages: Sequence[Message], *types: type[Message]) -> bool:
    return any(isinstance(message, types) for message in messages)


def _line(conn: Connection, settings: Settings) -> list[Row]:
    asked = {"most": LINE_LIMIT + 1, "overflow": settings.members_overflow}
    return list(_rows_of(user_hopsworks_assignments, conn.execute(LINE, asked)))


def _ask_turns(conn: Connection, messages: Sequence[Message], settings: Settings) -> Iterator[tuple[str, Cursor]]:
    """By who asks: the action of a sweep, or the cluster that may answer again."""
    if _some(messages, Sweep):
        yield "sweep", conn.execute(FORGOTTEN, {"most": REPAIR_LIMIT})
    if _some(messages, SweepAccounts):
        every = timedelta(seconds=settings.account_check_s)
        yield "sweep_accounts", conn.execute(DUE, {"check_every": every, "most": REPAIR_LIMIT})
    for message in messages:
        if isinstance(message, Probe):
            asked = {"cluster": message.cluster_id, "most": REPAIR_LIMIT}
            yield message.cluster_id, conn.execute(STUCK, asked)


def _page(message: Drain) -> dict[str, Any]:
    return {"cluster": message.cluster_id, "after": message.after, "most": PAGE}


def _rows_of(table: sa.Table, cursor: Cursor, names: Sequence[str] = ()) -> Iterator[Row]:
    columns = names or [column.name for column in table.columns]
    for version, *values in cursor:
        yield Row(table, dict(zip(columns, values, strict=True)), version)


def _place(failure: Row) -> tuple[str, str, str]:
    return str(failure.hopsworks_cluster_id), failure.check_name, failure.user_id or ""


def _grouped(pairs: Cursor | None) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for owner, member in pairs or ():
        grouped.setdefault(owner, []).append(member)
    return grouped
