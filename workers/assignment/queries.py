"""The statements that load what the steps of assignments look at."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.rows.kernel import constant, text_of, versioned
from pgfleet.schema.tables.hopsworks import (
    accounts_to_close,
    cluster_breakers,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)

_a, _u, _c, _b, _f, _k = (
    table.alias(name)
    for table, name in (
        (user_hopsworks_assignments, "a"),
        (hopsworks_users, "u"),
        (hopsworks_clusters, "c"),
        (cluster_breakers, "b"),
        (health_check_failures, "f"),
        (accounts_to_close, "k"),
    )
)
_queue = sa.table(
    "q_cluster_assignments", sa.column("msg_id"), sa.column("vt"), sa.column("message", JSONB), schema="pgmq"
).alias("q")
_now = sa.func.public.fleet_now()


def _any(name: str) -> Any:
    return sa.any_(sa.bindparam(name, type_=sa.ARRAY(sa.Text)))


NOW = text_of(sa.select(_now))
_asked = sa.select(sa.func.unnest(sa.bindparam("users", type_=sa.ARRAY(sa.Text))))
ROWS = text_of(
    versioned(_a).where(
        _a.c.user_id.in_(sa.union(_asked, sa.select(_u.c.account_owner_id).where(_u.c.id == _any("users"))))
    )
)
_projects_allowed = sa.func.hopsworks.projects_allowed(_u.c.account_owner_id, _u.c.stripe_customer_id)
USER_COLUMNS = [*(column.name for column in _u.c), "projects_allowed"]
USERS = text_of(versioned(_u, *_u.c, _projects_allowed).where(_u.c.id == _any("users")))
# Without the kubeconfig, which can be large and which only a measurement needs.
CLUSTER_COLUMNS = [column.name for column in _c.c if column.name != "kubeconfig"]
CLUSTERS = text_of(versioned(_c, *(_c.c[name] for name in CLUSTER_COLUMNS)))
BREAKERS = text_of(versioned(_b))
LINE = text_of(
    versioned(_a)
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
    versioned(_f).where(_f.c.resolved_at.is_(None), sa.or_(_f.c.user_id.is_(None), _f.c.user_id == _any("users")))
)
MEMBERS = text_of(
    sa.select(_u.c.account_owner_id, _u.c.id)
    .join(_a, _a.c.user_id == _u.c.id)
    .where(_u.c.account_owner_id == _any("users"))
    .order_by(_u.c.id)
)

_other = hopsworks_users.alias("other")
# An e-mail in other letter case is the same mailbox, and the same account.
NEIGHBOURS = text_of(
    sa.select(_u.c.id, _other.c.id, sa.cast(_a.c.hopsworks_cluster_id, sa.Text), _a.c.status, _a.c.hopsworks_user_id)
    .join(_other, sa.and_(sa.func.lower(_other.c.email) == sa.func.lower(_u.c.email), _other.c.id != _u.c.id))
    .join(_a, _a.c.user_id == _other.c.id)
    .where(_u.c.id == _any("users"), _a.c.hopsworks_cluster_id.is_not(None))
)


def _field(name: str) -> sa.ColumnElement[Any]:
    return _queue.c.message.op("->>")(constant(name))


_cluster = sa.cast(sa.bindparam("cluster", type_=sa.Text), sa.UUID)
_has_turn = (
    sa.select(sa.literal_column("1"))
    .where(
        _field("action") == constant("advance"),
        _field("user_id") == _a.c.user_id,
        _field("ticket") == sa.cast(_a.c.ticket, sa.Text),
    )
    .exists()
)
_live = sa.and_(
    _a.c.status.in_([constant("pending"), constant("creating_user")]),
    _a.c.status_since < _now - sa.literal_column("interval '10 seconds'"),
)
# A cluster that is switched off, or does not answer, is not asked about its accounts.
_is_reachable = sa.and_(_c.c.status != constant("inactive"), _b.c.retry_at.is_(None))
_is_in_order = ~(
    sa.select(sa.literal_column("1"))
    .where(_f.c.user_id == _a.c.user_id, _f.c.check_name == constant("account"), _f.c.resolved_at.is_(None))
    .exists()
)
# What the server should be told, and has not been. Where it could not be, it is the turn of the account's next check.
_untold = sa.and_(
    _a.c.status == constant("active"),
    _is_reachable,
    _is_in_order,
    sa.or_(
        _a.c.account_enabled.is_(None),
        _a.c.max_projects.is_distinct_from(_projects_allowed),
    ),
)
_turn = (
    sa.select(_a.c.user_id, _a.c.ticket, _a.c.hopsworks_cluster_id)
    .join(_u, _u.c.id == _a.c.user_id)
    .outerjoin(_c, _c.c.id == _a.c.hopsworks_cluster_id)
    .outerjoin(_b, _b.c.cluster_id == _a.c.hopsworks_cluster_id)
)
FORGOTTEN = text_of(
    _turn.where(sa.or_(_live, _untold), ~_has_turn)
    # Those who wait for an account first.
    .order_by(_a.c.status == constant("active"), _a.c.status_since)
    .limit(sa.bindparam("most"))
)
DUE = text_of(
    _turn.where(
        _a.c.status == constant("active"),
        _is_reachable,
        sa.or_(_a.c.checked_at.is_(None), _a.c.checked_at < _now - sa.bindparam("check_every", type_=sa.Interval)),
        ~_has_turn,
    )
    .order_by(_a.c.checked_at.nulls_first())
    .limit(sa.bindparam("most"))
)
STUCK = text_of(
    sa.select(_a.c.user_id)
    .where(_a.c.status == constant("creating_user"), _a.c.hopsworks_cluster_id == _cluster)
    .order_by(_a.c.status_since)
    .limit(sa.bindparam("most"))
)
UNPROBED = text_of(
    sa.select(sa.cast(_b.c.cluster_id, sa.Text)).where(
        _b.c.retry_at < _now - sa.literal_column("interval '10 seconds'"),
        ~sa.select(sa.literal_column("1"))
        .where(_field("action") == constant("probe"), _field("cluster_id") == sa.cast(_b.c.cluster_id, sa.Text))
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
CLOSINGS = text_of(versioned(_k).where(_k.c.closed_at.is_(None), _k.c.user_id == _any("users")))
UNCLOSED = text_of(
    sa.select(_k.c.user_id, sa.cast(_k.c.hopsworks_cluster_id, sa.Text), _k.c.hopsworks_user_id)
    .join(_c, _c.c.id == _k.c.hopsworks_cluster_id)
    .where(
        _k.c.closed_at.is_(None),
        _k.c.asked_at < _now - sa.literal_column("interval '10 seconds'"),
        _c.c.status != constant("inactive"),
        ~sa.select(sa.literal_column("1"))
        .where(
            _field("action") == constant("close_account"),
            _field("user_id") == _k.c.user_id,
            _field("cluster_id") == sa.cast(_k.c.hopsworks_cluster_id, sa.Text),
        )
        .exists(),
    )
    .order_by(_k.c.asked_at)
    .limit(sa.bindparam("most"))
)
DRAINS = text_of(
    sa.select(_field("cluster_id"), _queue.c.msg_id).where(
        _field("action") == constant("drain"), _field("cluster_id") == _any("clusters")
    )
)
ADMIT_IS_DUE = text_of(
    sa.select(
        sa.select(sa.literal_column("1")).where(_field("action") == constant("admit"), _queue.c.vt <= _now).exists()
    )
)
