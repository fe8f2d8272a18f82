"""`pgfleet clusters` and `pgfleet cluster`: clusters of nodes, who leads them and how healthy they are."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.commands.nodes.silence import believe_nodes_of_clusters
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.fleet import clock, short, status, sweep_notes
from pgfleet.console.pictures.parts import age, block, cell, dated, facts, table
from pgfleet.console.showing import Watch, show
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import cluster as reads
from pgfleet.schema.reads.node import last_sweep
from pgfleet.schema.rows.row import Row

MACHINE = "cluster_node"
WIDE = 140
SEVERITIES = {"warning": "yellow", "error": "red", "critical": "bold red"}
Given = Annotated[str, typer.Argument(metavar="ID", help="A cluster's id or name, or the beginning of it.")]


app = typer.Typer(cls=ListsByDefault, add_completion=False)


@app.callback(epilog="Example: pgfleet clusters --watch")
def clusters() -> None:
    """Clusters of nodes: health, nodes, leaders. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet clusters ls --all")
def list_clusters(
    *,
    ended_too: Annotated[bool, typer.Option("--all", help="Decommissioned ones, too.")] = False,
    as_json: AsJson = False,
    watching: Watch = False,
) -> None:
    """List clusters, the worst first: health, nodes, leaders."""
    with database() as conn:
        show(lambda: look(conn, ended_too=ended_too), picture, as_json=as_json, watching=watching)


app.command("believe", epilog="Example: pgfleet clusters believe")(believe_nodes_of_clusters)


def look(conn: Connection, *, ended_too: bool) -> dict[str, Any]:
    return {"sweep": last_sweep(conn, MACHINE), "clusters": reads.listing(conn, ended_too=ended_too)}


def picture(seen: dict[str, Any]) -> Group:
    if not seen["clusters"]:
        return Group(cell("no clusters: select clusters.create_cluster('a name') makes one"))
    return Group(*_notes(seen), cluster_table(seen["clusters"]))


def _notes(seen: dict[str, Any]) -> list[Text]:
    notes = sweep_notes(seen["sweep"])
    return [*notes, Text()] if notes else []


def cluster_table(found: list[Row]) -> Table:
    numbers = ("HEALTH", "ONLINE", "EPOCH")
    folded = ("NAME", "REGION", "STATUS", "NOT WELL", "PRIMARY", "COORDINATOR")
    headings = ("ID", *folded[:3], "HEALTH", "ONLINE", *folded[3:], "EPOCH", "OLDEST SEEN")
    made = table(*headings, right=numbers, fold=folded)
    for row in found:
        known = (cell(short_id(row["cluster_id"])), cell(row["name"]), cell(row["region"]), _status(row))
        health = (
            cell(f"{row['health_score']:.2f}"),
            cell(f"{row['online_nodes']}/{row['total_nodes']}"),
            _not_well(row),
        )
        made.add_row(*known, *health, _primary(row), cell(row["coordinator_name"]), cell(row["epoch"]), _oldest(row))
    return made


def short_id(cluster_id: str) -> str:
    """The part of the id that differs between clusters; `pgfleet cluster` takes it."""
    return cluster_id.removeprefix("cluster-")[:8]


def _status(row: dict[str, Any]) -> Text:
    """The status, marked where an operator has set it: then it does not follow from the nodes' health."""
    return status(row["status"], f"{row['status']} (operator)" if row["operator_status"] else None)


def _not_well(row: dict[str, Any]) -> Text:
    """`1 warning, 2 offline`; nothing where all are well."""
    counts = {name: row[f"{name}_nodes"] for name in ("warning", "critical", "offline")}
    return Text(", ").join(status(name, f"{number} {name}") for name, number in counts.items() if number)


def _primary(row: dict[str, Any]) -> Text:
    return cell(f"LEADERLESS (was {row['primary_name']})", "red") if row["leaderless"] else cell(row["primary_name"])


def _oldest(row: dict[str, Any]) -> Text:
    return cell(age(row["oldest_seen_s"]) if row["total_nodes"] else "")


@example("pgfleet cluster eu-training")
def cluster(given: Given, *, as_json: AsJson = False, watching: Watch = False) -> None:
    """Show one cluster: its nodes, what to do about them, and what happened last."""
    with database() as conn:
        cluster_id = reads.resolve(conn, given)["cluster_id"]
        show(lambda: look_at(conn, cluster_id), cluster_picture, as_json=as_json, watching=watching)


def look_at(conn: Connection, cluster_id: str) -> dict[str, Any]:
    return {
        **(reads.by_id(conn, cluster_id) or {}),
        "sweep": last_sweep(conn, MACHINE),
        "nodes": reads.nodes_of(conn, cluster_id),
        "recommendations": reads.recommendations(conn, cluster_id),
        "events": reads.last_events(conn, cluster_id),
    }


def cluster_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [*_notes(seen), facts(_facts(seen).items())]
    if seen["nodes"]:
        parts += [Text(), node_table(seen["nodes"])]
    if seen["recommendations"]:
        parts += block("what to do", *map(cell, seen["recommendations"]))
    if seen["events"]:
        parts += block("what happened last", dated(map(_event, seen["events"])))
    return Group(*parts)


def _facts(row: dict[str, Any]) -> dict[str, object]:
    nodes = (
        f"{row['online_nodes']} of {row['total_nodes']} online, {row['warning_nodes']} warning, "
        f"{row['critical_nodes']} critical, {row['offline_nodes']} offline; at most {row['max_nodes']}"
    )
    return {
        "cluster": row["cluster_id"],
        "name": row["name"],
        "region": row["region"],
        "status": Text.assemble(_status(row), ": ", cell(row["status_reason"] or "no reason given")),
        "health": f"{row['health_score']:.2f}",
        "nodes": nodes,
        "primary": _primary(row),
        "coordinator": row["coordinator_name"],
        "epoch": row["epoch"],
        "oldest seen": _oldest(row),
    }


def node_table(found: list[Row]) -> Table:
    """The nodes without their errors, which are recommendations; CONFIG and ID only where the terminal is wide."""
    numbers = ("CPU", "MEM", "DISK", "LOAD", "PRIO")
    headings = ("NAME", "STATUS", "HEALTH", *numbers[:4], "SEEN", "CLOCK", "ROLES", "PRIO", "LEADS")
    more = ("CONFIG", "ID") if out().width >= WIDE else ()
    made = table(*headings, *more, right=numbers, fold=("NAME", "CLOCK", "ROLES", "LEADS"))
    for node in found:
        known = (cell(node["name"]), status(node["status"]), status(node["health_status"]))
        place = (cell(", ".join(node["roles"])), cell(node["priority"]), _leads(node))
        last = (cell(short(node["config_hash"])), cell(node["node_id"])) if more else ()
        made.add_row(*known, *_measured(node), cell(age(node["seen_s"])), clock(node), *place, *last)
    return made


def _measured(node: dict[str, Any]) -> list[Text]:
    names = ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent")
    load = "" if node["load_average"] is None else f"{node['load_average']:.2f}"
    return [*(cell("" if node[name] is None else f"{node[name]:.0f}%") for name in names), cell(load)]


def _leads(node: dict[str, Any]) -> Text:
    led = [name for name in ("primary", "coordinator") if node[f"is_{name}"]]
    return cell(", ".join(led), "bold")


def _event(row: Row) -> tuple[datetime, *tuple[object, ...]]:
    severity = cell(row["severity"], SEVERITIES.get(row["severity"], ""))
    return row["created_at"], severity, row["event_type"], row["message"]
