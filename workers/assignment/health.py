"""Whether clusters answer, and whether what is counted is so: the probe of a cluster, and the sweeps."""

from functools import partial
from typing import Any

import structlog

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, rows_in
from pgfleet.schema.tables.hopsworks import hopsworks_clusters
from pgfleet.workers.assignment.account import address
from pgfleet.workers.assignment.failures import failing, noted
from pgfleet.workers.assignment.tools import Tools, close_account, follow_message, ticket
from pgfleet.workers.assignment.view import View
from pgfleet.workers.runtime.outcomes import Advance, Calls, Change, Done, Move, Outcome
from pgfleet.workers.runtime.outside.breakers import Use

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SEATS = "seats"
SQL = named(__package__)


def probe(tools: Tools, use: Use[Any], dependency: str, _calls: Calls) -> None:
    """Ask a cluster about nobody. One that is gone or switched off need not answer: its outage is over.

    Raises:
        NotNowError: it does not answer, or refuses our key.
    """
    _, _, cluster_id = dependency.partition(":")
    cluster = use(partial(_cluster, cluster_id))
    if cluster is not None and cluster.status != "inactive":
        tools.hopsworks.probe(address(cluster, tools))


def _cluster(cluster_id: str, conn: Connection) -> Row | None:
    found = rows_in(hopsworks_clusters, conn.execute(SQL["cluster"], {"cluster": cluster_id}))
    return next(found, None)


def sweep(view: View) -> Outcome:
    """Send again what was lost: tickets of live rows, messages that close accounts. Bring teams together again."""
    tickets = (ticket(*asked) for asked in view.turns["sweep"])
    followers = map(follow_message, view.split)
    return Done("rows looked after", (*tickets, *(close_account(*asked) for asked in view.unclosed), *followers))


def sweep_accounts(view: View) -> Outcome:
    """Tickets for the accounts that have not been looked at for long."""
    return Done("accounts looked after", tuple(ticket(*asked) for asked in view.turns["sweep_accounts"]))


def sweep_seats(view: View) -> Outcome:
    """Count anew; a cluster that changed meanwhile is counted once more."""
    changes: list[Change] = []
    for cluster_id, cluster in view.clusters.items():
        counted, held = view.counted.get(cluster_id, (0, 0))
        if held != counted:
            changes += _recounted(cluster, held, counted, view)
    return Advance(tuple(changes)) if changes else Done("all seats are counted right")


def _recounted(cluster: Row, held: int, counted: int | None, view: View) -> tuple[Change, ...]:
    """The seats that are held are right. More than there are can't be written: then the cluster is full."""
    details = f"MISMATCH: {counted} seats were counted as taken, {held} are"
    log.error("seats.mismatch", cluster=cluster.name, counted=counted, held=held, most=cluster.max_users)
    known = counted or 0
    right = held if held <= known else max(known, min(held, cluster.max_users or 0))
    repaired = () if right == counted else (Move(cluster, None, values={"current_users": right}),)
    if right != held:
        return (*repaired, *failing(view, cluster.id, SEATS, f"{details}, of {cluster.max_users}"))
    return (*repaired, *noted(view, cluster.id, SEATS, details))
