"""The autoscaler's nodes as pages draw them: the fleet by region, and a day of one node in quarters of an hour."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__, "nodes")
MOST_REGIONS, MOST_CELLS, LEAST_CELLS = 60, 1_200, 12
# Quarters of an hour in a day.
PLACES = 96
MOST_METRICS = 12
MOST_MOVES = 50
Series = list[float | None]


def regions(conn: Connection, region: str | None = None) -> list[Row]:
    """Regions with their nodes counted: total, heard, late, error, silent, never, drifting; the worst first."""
    return ask(conn, SQL["regions"], region=region, most=MOST_REGIONS)


def region_names(conn: Connection) -> list[str]:
    return [row["region"] for row in ask(conn, SQL["region_names"], most=MOST_REGIONS)]


def cells(conn: Connection, of_regions: Sequence[str]) -> dict[str, list[Row]]:
    """Nodes by region (id, name, how), those that need somebody first; not more than a page can show."""
    each = max(LEAST_CELLS, MOST_CELLS // max(len(of_regions), 1))
    found: dict[str, list[Row]] = defaultdict(list)
    for row in ask(conn, SQL["cells"], regions=list(of_regions), each=each):
        found[row["region"]].append(row)
    return found


def heard(conn: Connection, node: int) -> list[tuple[int, int]]:
    """Of each quarter of an hour, the oldest first: how many heartbeats there were, and how many told of an error."""
    found = {row["place"]: (row["heard"], row["errors"]) for row in ask(conn, SQL["heard"], node=node)}
    return [found.get(place, (0, 0)) for place in range(PLACES)]


def metrics(conn: Connection, node: int) -> dict[str, tuple[str, Series]]:
    """Metrics by name, each with its unit and its averages, the oldest first; None where nothing was measured."""
    found: dict[str, tuple[str, Series]] = {}
    for row in ask(conn, SQL["metrics"], node=node, most=PLACES * MOST_METRICS):
        _, series = found.setdefault(row["metric_type"], (row["unit"], [None] * PLACES))
        series[row["place"]] = row["value"]
    return dict(islice(found.items(), MOST_METRICS))


def pools(conn: Connection, node: int, most: int) -> dict[str, dict[str, Series]]:
    """Pools by their cloud's id, each with its instances, cpu and memory over the day."""
    found: dict[str, dict[str, Series]] = {}
    for row in ask(conn, SQL["pools"], node=node, most=PLACES * most):
        of = found.setdefault(row["oracle_pool_id"], {name: [None] * PLACES for name in ("instances", "cpu", "memory")})
        for name, series in of.items():
            series[row["place"]] = None if row[name] is None else float(row[name])
    return found


def lifecycle(conn: Connection, node: int) -> list[Row]:
    """What became of it, the newest first: at, event_type, previous_status, new_status, reason, triggered_by."""
    return ask(conn, SQL["lifecycle"], node=node, most=MOST_MOVES)
