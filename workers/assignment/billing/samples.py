"""What the steps of measuring look at: clusters with their kubeconfigs, who is who on them, what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgfleet.schema.assignment import Measure, MeasureCluster
from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, rows_in
from pgfleet.schema.tables.hopsworks import health_check_failures

METRICS = "metrics"
SQL = named(__package__)


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


OF_CLUSTERS = {name: SQL[name] for name in ("kubeconfigs", "usernames", "sampled", "failures")}


def ask_meters(conn: Connection, messages: Sequence[Message]) -> dict[str, Cursor]:
    """Ask, inside a pipeline; the answers are read later."""
    asked = {}
    if any(isinstance(message, Measure) for message in messages):
        asked["measurable"] = conn.execute(SQL["measurable"])
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
    failures = rows_in(health_check_failures, asked["failures"]) if "failures" in asked else ()
    return Meters(
        measurable=[row[0] for row in asked.get("measurable", ())],
        kubeconfigs={row[0]: row[1] for row in asked.get("kubeconfigs", ())},
        usernames=usernames,
        sampled={(row[0], row[1]) for row in asked.get("sampled", ())},
        failures={(str(row.hopsworks_cluster_id), METRICS, ""): row for row in failures},
    )
