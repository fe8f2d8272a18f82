"""Cordons: nodes of the cluster on which an operator lets nobody start until a time."""

from datetime import datetime

from pgfleet.schema.brake.pauses import SQL
from pgfleet.schema.errors import Refusal
from pgfleet.schema.nearest import nearest
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask
from pgfleet.schema.rows.row import Row


def cordoned(conn: Connection) -> list[Row]:
    """Nodes that are cordoned now: node_name, until, left_s, by_whom, reason, since, reservation_ids (who is on it)."""
    return ask(conn, SQL["cordons"])


def cordon(conn: Connection, node: str, until: datetime, who: str, reason: str | None) -> Row:
    """Let nobody start on a node until then, those on it are told; as `cordoned` has it.

    Raises:
        Refusal: no such node was seen.
    """
    known = [row["node_name"] for row in ask(conn, SQL["known_nodes"])]
    if node not in known:
        near = ", ".join(nearest(node, known) or known[:3])
        raise Refusal(f"No node {node!r} of the cluster was seen." + (f" There are {near}." if near else ""))
    ask(conn, SQL["cordon"], node_name=node, until=until, by_whom=who, reason=reason)
    return next(row for row in cordoned(conn) if row["node_name"] == node)


def uncordon(conn: Connection, node: str) -> bool:
    """Let reservations start on it again; whether it was cordoned."""
    return bool(ask(conn, SQL["uncordon"], node_name=node))
