"""What the steps of measuring look at: clusters with their kubeconfigs, who is who on them, what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.assignment import Measure, MeasureCluster
from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.kernel import constant, text_of, versioned
from pgfleet.schema.rows.row import Row, rows_of
from pgfleet.schema.tables.billing import usage_samples
from pgfleet.schema.tables.hopsworks import health_check_failures, hopsworks_clusters, user_hopsworks_assignments

METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Meters:
    """Clusters by id as text.

    Attributes:
        measurable: the clusters that can be measured, where that was asked.
        kubeconfigs: of the clusters asked about that can be measured.
        usernames: of the clusters asked about, the user's id by Hopsworks username.
        sampled: the (cluster, slot) pairs asked about that were measured already.
        failures: the open rows of clusters that could not be measured, by (cluster, check, no user).
    """

    measurable: list[str] = field(default_factory=list)
    kubeconfigs: dict[str, str] = field(default_factory=dict, repr=False)
    usernames: dict[str, dict[str, str]] = field(default_factory=dict)
    sampled: set[tuple[str, datetime]] = field(default_factory=set)
    failures: dict[tuple[str, str, str], Row] = field(default_factory=dict)


_c, _a, _s, _f = (
    table.alias(name)
    for table, name in (
        (hopsworks_clusters, "c"),
        (user_hopsworks_assignments, "a"),
        (usage_samples, "s"),
        (health_check_failures, "f"),
    )
)
_asked = sa.any_(sa.bindparam("clusters", type_=sa.ARRAY(sa.UUID)))
_slots = sa.any_(sa.bindparam("slots", type_=sa.ARRAY(sa.TIMESTAMP(timezone=True))))
_measured = sa.and_(
    _c.c.kubeconfig != sa.literal_column("''"), _c.c.status.is_distinct_from(sa.literal_column("'inactive'"))
)


def _named(column: Any) -> sa.ColumnElement[str]:
    return sa.cast(column, sa.Text)


MEASURABLE = text_of(sa.select(_named(_c.c.id)).where(_measured).order_by(_c.c.id))
OF_CLUSTERS = {
    "kubeconfigs": text_of(sa.select(_named(_c.c.id), _c.c.kubeconfig).where(_measured, _c.c.id == _asked)),
    "usernames": text_of(
        sa.select(_named(_a.c.hopsworks_cluster_id), _a.c.hopsworks_username, _a.c.user_id)
        .where(_a.c.hopsworks_cluster_id == _asked, _a.c.hopsworks_username.is_not(None))
        .order_by(_a.c.user_id)
    ),
    "sampled": text_of(
        sa.select(_named(_s.c.hopsworks_cluster_id), _s.c.slot).where(
            _s.c.hopsworks_cluster_id == _asked, _s.c.slot == _slots
        )
    ),
    "failures": text_of(
        versioned(_f).where(
            _f.c.hopsworks_cluster_id == _asked,
            _f.c.check_name == constant(METRICS),
            _f.c.user_id.is_(None),
            _f.c.resolved_at.is_(None),
        )
    ),
}


def ask_meters(conn: Connection, messages: Sequence[Message]) -> dict[str, Cursor]:
    """Ask, inside a pipeline; the answers are read later."""
    asked = {}
    if any(isinstance(message, Measure) for message in messages):
        asked["measurable"] = conn.execute(MEASURABLE)
    found = [message for message in messages if isinstance(message, MeasureCluster)]
    if found:
        clusters, slots = {message.cluster_id for message in found}, {message.slot for message in found}
        given = {"clusters": list(clusters), "slots": list(slots)}
        asked |= {name: conn.execute(text, given) for name, text in OF_CLUSTERS.items()}
    return asked


def read_meters(asked: Mapping[str, Cursor]) -> Meters:
    usernames: dict[str, dict[str, str]] = {}
    for cluster, username, user in asked.get("usernames", ()):
        usernames.setdefault(cluster, {})[username] = user
    failures = rows_of(health_check_failures, asked["failures"]).values() if "failures" in asked else ()
    return Meters(
        measurable=[row[0] for row in asked.get("measurable", ())],
        kubeconfigs={row[0]: row[1] for row in asked.get("kubeconfigs", ())},
        usernames=usernames,
        sampled={(row[0], row[1]) for row in asked.get("sampled", ())},
        failures={(str(row.hopsworks_cluster_id), METRICS, ""): row for row in failures},
    )
