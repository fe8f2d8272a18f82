"""Checks of the cluster of reservations as workers see it: its nodes, and pods that no row accounts for."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.printable import minute, printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
NODES = "nodes"


def nodes(conn: Connection, _: Limits) -> list[Finding]:
    return [
        *(_unlooked(row) for row in ask(conn, SQL["look_at_nodes"]) if not row["goes_on"]),
        *(_unseen(row) for row in ask(conn, SQL["unseen_nodes"])),
        *_closed(ask(conn, SQL["closed_nodes"])),
        *(_refusing(row) for row in ask(conn, SQL["refusing_nodes"])),
        *_strays(ask(conn, SQL["stray_pods"])),
    ]


def _unlooked(row: Row) -> Finding:
    """What is known of nodes is then what was seen last, if anything."""
    seen = "they were never seen" if row["seen_at"] is None else f"they were last seen {minute(row['seen_at'])}"
    text = f"no reservation worker looks at nodes: {seen}"
    return Finding(NODES, Severity.SKIPPED, text, "pgfleet worker reservation", "no_look")


def _unseen(row: Row) -> Finding:
    seen = "were never seen" if row["minutes"] is None else f"were last seen {row['minutes']:.0f} min ago"
    why = f": {printable(row['problem'])}" if row["problem"] else ""
    text = f"reservation workers run, and nodes {seen}{why}; who is admitted is decided by totals alone"
    remedy = (
        "let them list nodes, and pods of all namespaces (deploy/chart/files/rights.yaml); their logs say nodes.unseen"
    )
    return Finding(NODES, Severity.WARNING, text, remedy)


def _closed(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    names = listed(f"{printable(row['node_name'])} of {row['gpu_type']} {printable(row['problem'])}" for row in rows)
    name = typed(rows[0]["node_name"], "NODE")
    remedy = f"kubectl describe node {name} says more; kubectl uncordon {name} opens one that is cordoned"
    text = f"{counted(len(rows), 'node')} can't take a pod: {names}"
    return [Finding(NODES, Severity.WARNING, text, remedy)]


def _refusing(row: Row) -> Finding:
    times = "once" if row["times"] == 1 else f"{row['times']} times"
    text = f"{printable(row['node'])} refused pods {times} in the last hour, last {printable(row['why'])}"
    name = typed(row["node"], "NODE")
    remedy = f"kubectl describe node {name} says more; kubectl cordon {name} keeps pods from it meanwhile"
    return Finding(NODES, Severity.WARNING, text, remedy)


def _strays(rows: list[Row]) -> list[Finding]:
    """None is ended by us: it may be somebody's, of a database that was restored."""
    if not rows:
        return []
    names = listed(f"{printable(row['pod_name'])} ({printable(row['reason'])})" for row in rows)
    pods, gpus = counted(len(rows), "pod"), counted(sum(row["gpus"] for row in rows), "GPU")
    text = f"no reservation accounts for {pods} with {gpus}, which nobody ends: {names}"
    namespace, name = typed(rows[0]["namespace"], "NAMESPACE"), typed(rows[0]["pod_name"], "POD")
    remedy = (
        f"kubectl -n {namespace} describe pod {name} says whose it is; when they have what is in it: "
        f"kubectl -n {namespace} delete pod {name}"
    )
    return [Finding(NODES, Severity.WARNING, text, remedy)]


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
