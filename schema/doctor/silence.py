"""Checks of the sweeps for silent nodes: whom they hold back and why, and who was believed gone all the same."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity
from pgfleet.schema.printable import minute, printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
SILENCE = "silence"
# What people call the nodes of a machine, and the command that lists them.
_NODES = {"node": ("nodes", "nodes"), "cluster_node": ("nodes of clusters", "clusters")}


def silence(conn: Connection, _: Limits) -> list[Finding]:
    return [
        *(_held(row) for row in ask(conn, SQL["held_sweeps"])),
        *(_believed(row) for row in ask(conn, SQL["believed_sweeps"])),
    ]


def _held(row: Row) -> Finding:
    nodes, command = _NODES[row["machine"]]
    since = minute(row["held_back_since"])
    silent = f"{row['silent']} of {row['alive']} {nodes} are silent, and have not been marked offline since {since}"
    remedy = f"look at their network and at the workers; where they are gone for certain: pgfleet {command} believe"
    return Finding(SILENCE, Severity.WARNING, f"{silent}: {printable(row['held_back'])}", remedy)


def _believed(row: Row) -> Finding:
    nodes, command = _NODES[row["machine"]]
    at = minute(row["believed_at"])
    text = f"{row['believed']} {nodes} were marked offline at {at} although their sweep was held back"
    remedy = f"pgfleet {command} shows which; one that is heard again comes back by itself"
    return Finding(SILENCE, Severity.WARNING, f"{text}, believed {printable(row['belief'])}", remedy)
