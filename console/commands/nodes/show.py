"""`pgfleet nodes`: the autoscaler's nodes, the worst first, with their pools and whether they run what they should."""

from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.commands.nodes import config, cordons, keys, pools, schedules, silence
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.fleet import STYLES, clock, short, status, sweep_notes
from pgfleet.console.pictures.parts import age, cell, counts, table
from pgfleet.console.showing import Watch, show
from pgfleet.producers.submit.commands import AsJson
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import node as reads
from pgfleet.schema.rows.row import Row

app = typer.Typer(cls=ListsByDefault, add_completion=False)


@app.callback(epilog="Example: pgfleet nodes --status offline")
def nodes() -> None:
    """The autoscaler's nodes, their pools and their configuration. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet nodes ls --status offline --watch")
def list_nodes(
    *,
    of_status: Annotated[
        str | None, typer.Option("--status", help="Only these: offline, error, active, inactive.")
    ] = None,
    deleted_too: Annotated[bool, typer.Option("--all", help="Deleted ones, too.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
    watching: Watch = False,
) -> None:
    """List the autoscaler's nodes, the worst first, with their pools and their configuration."""
    wanted = reads.read_node_status(of_status) if of_status else None
    filters = reads.NodeFilters(wanted, deleted_too, most)
    with database() as conn:
        show(lambda: look(conn, filters), picture, as_json=as_json, watching=watching)


def look(conn: Connection, filters: reads.NodeFilters) -> dict[str, Any]:
    found = reads.listing(conn, filters)
    more = reads.count_nodes(conn, filters) - len(found) if len(found) == filters.most else 0
    return {"counts": reads.counts(conn), "sweep": reads.last_sweep(conn, "node"), "nodes": found, "more": more}


def picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [_head(seen["counts"])]
    if any(seen["counts"].values()):
        parts += sweep_notes(seen["sweep"])
    if seen["nodes"]:
        parts += [Text(), node_table(seen["nodes"]), *_errors(seen["nodes"])]
    if seen["more"]:
        parts.append(cell(f"and {seen['more']} more: --limit, or --status", "dim"))
    return Group(*parts)


def _head(number: dict[str, int]) -> Text:
    if not sum(number.values()):
        return cell("no nodes: pgfleet nodes add makes one, its heartbeats do the rest")
    return counts("node", number, STYLES)


def node_table(found: list[Row]) -> Table:
    numbers = ("POOLS", "INSTANCES", "ACTIVE")
    headings = ("ID", "NAME", "REGION", "STATUS", "SEEN", "CLOCK", *numbers, "DRIFT")
    made = table(*headings, right=("ID", *numbers), fold=("NAME", "REGION", "CLOCK", "DRIFT"))
    for node in found:
        known = (cell(node["id"]), cell(node["name"]), cell(node["region"]))
        seen = (_status(node), cell(age(node["seen_s"])), clock(node))
        made.add_row(*known, *seen, *_pools(node["pools"]), _drift(node))
    return made


def _status(node: dict[str, Any]) -> Text:
    return status(node["status"]) if node["deleted_at"] is None else cell(f"{node['status']} (deleted)", "dim")


def _pools(pools: list[Row]) -> tuple[Text, Text, Text]:
    """How many pools; their instances, `3 -> 5` where a schedule asks for so many; how many of those are active."""
    used = [pool for pool in pools if pool["is_active"]]
    if not used:
        return cell(f"0 (+{len(pools)} off)" if pools else ""), Text(), Text()
    now = sum(_instances(pool) for pool in used)
    target = sum(_target(pool) for pool in used)
    scheduled = any(pool["target_instances"] is not None for pool in used)
    active = sum(pool["active_instances"] or 0 for pool in used)
    return _pool_count(used, len(pools)), cell(f"{now} -> {target}" if scheduled else now), cell(active)


def _pool_count(used: list[Row], total: int) -> Text:
    """`2 (+1 off)`, in the colour of the worst status among them."""
    worst = next((name for name in ("error", "warning") if name in {pool["status"] for pool in used}), "")
    off = f" (+{total - len(used)} off)" if total > len(used) else ""
    return status(worst, f"{len(used)}{off}")


def _instances(pool: dict[str, Any]) -> int:
    return int(pool["current_instances"] or 0)


def _target(pool: dict[str, Any]) -> int:
    """How many instances the schedule asks for; without one, as many as there are."""
    return _instances(pool) if pool["target_instances"] is None else int(pool["target_instances"])


def _drift(node: dict[str, Any]) -> Text:
    """`9f8e7d6c, not 1a2b3c4d`: the configuration that it runs, and the one that it should run."""
    if not node["drift"]:
        return Text()
    return cell(f"{short(node['config_hash']) or '?'}, not {short(node['expected_config_hash'])}", "yellow")


def _errors(found: list[Row]) -> list[Text]:
    """The errors that they report; of those that are silent, why they are offline."""
    errors = [
        Text.assemble(cell(node["name"], "bold"), ": ", cell(node["error_message"] or node["status_reason"]))
        for node in found
        if node["error_message"] or node["status"] == "OFFLINE"
    ]
    return [Text(), *errors] if errors else []


app.command("add", epilog="Example: pgfleet nodes add rack-7 --region eu")(keys.add)
app.command("rotate-key", epilog="Example: pgfleet nodes rotate-key 17")(keys.rotate_key)
app.command("revoke-keys", epilog="Example: pgfleet nodes revoke-keys 17")(keys.revoke_keys)
app.command("let", epilog="Example: pgfleet nodes let 17 node_17")(keys.let)
app.command("remove", epilog="Example: pgfleet nodes remove 17")(keys.remove)
app.command("cordon", epilog='Example: pgfleet nodes cordon gpu-7 --until 18:00 --reason "new memory"')(cordons.cordon)
app.command("uncordon", epilog="Example: pgfleet nodes uncordon gpu-7")(cordons.uncordon)
app.command("believe", epilog="Example: pgfleet nodes believe")(silence.believe_nodes)
app.add_typer(config.app, name="config")
app.add_typer(pools.app, name="pools")
app.add_typer(schedules.app, name="schedules")
