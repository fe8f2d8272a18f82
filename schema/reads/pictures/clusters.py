"""Clusters as pages draw them: scores and measurements of a day, nodes by health, and who would lead."""

from collections import defaultdict
from collections.abc import Sequence

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__, "clusters")
MOST_CELLS = 1_000
MOST_SUCCESSORS = 5
MOST_TROUBLED = 100
# Half hours in a day.
PLACES = 48
FIGURES = ("cpu", "memory", "disk", "load")
Series = list[float | None]


def troubled(conn: Connection) -> list[Row]:
    """Clusters that are offline or degraded: cluster_id, name, status, status_reason."""
    return ask(conn, SQL["troubled"], most=MOST_TROUBLED)


def scores(conn: Connection, clusters: Sequence[str]) -> dict[str, list[float]]:
    """The health scores of the last day by cluster, an average an hour, the oldest first."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in ask(conn, SQL["scores"], clusters=list(clusters)):
        found[row["cluster_id"]].append(row["score"])
    return found


def nodes(conn: Connection, cluster_id: str, how: str | None = None) -> list[Row]:
    """Its nodes, those that need somebody first. `how`: health of one that is online, else its status."""
    return ask(conn, SQL["nodes"], cluster=cluster_id, how=how, most=MOST_CELLS)


def successors(conn: Connection, cluster_id: str) -> list[Row]:
    """Who could lead it, in the order in which they would: node_id, name, priority, health_status."""
    return ask(conn, SQL["successors"], cluster=cluster_id, most=MOST_SUCCESSORS)


def measured(conn: Connection, cluster_id: str) -> dict[str, Series]:
    """cpu, memory, disk (percent) and load, an average a half hour, the oldest first; None where there is none."""
    found: dict[str, Series] = {name: [None] * PLACES for name in FIGURES}
    for row in ask(conn, SQL["measured"], cluster=cluster_id):
        for name, series in found.items():
            series[row["place"]] = row[name]
    return found
