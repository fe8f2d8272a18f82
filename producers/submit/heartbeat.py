"""`pgfleet submit heartbeat`: report for a node as the node itself or a gateway would."""

import math
import os
import re
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pgfleet.producers.heartbeat import heartbeat
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.following import report
from pgfleet.producers.submit.options import named_as_options
from pgfleet.schema.errors import FleetError

EXAMPLE = "Example: pgfleet submit heartbeat --node 17 --config-hash 9f8e7d6c --cpu 40 --pool ocid1.pool.a=3/2"
# The fields of a message, as they are called at the prompt.
OPTIONS = {
    "node_id": "--node",
    "status": "--status",
    "error_message": "--error",
    "config_hash": "--config-hash",
    "metrics": "--metric",
    "pools": "--pool",
    "reply_to": "--reply-to",
    "proof": "--key-file",
    "id": "--id",
}
KEY = "PGFLEET_NODE_KEY"
POOL = re.compile(r"(?P<name>.+)=(?P<current>[0-9]{1,9})/(?P<active>[0-9]{1,9})")


def submit(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    node: Annotated[int | None, typer.Option(help="An autoscaler node, by its number.")] = None,
    cluster_node: Annotated[str | None, typer.Option(help="Or a node of a cluster, by its id.")] = None,
    status: Annotated[str, typer.Option(help="What it says of itself.")] = "ok",
    error: Annotated[str | None, typer.Option(help="Its error; none is none any more.")] = None,
    config_hash: Annotated[str | None, typer.Option(help="The configuration that it runs.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, as often as needed.")] = None,
    cpu: Annotated[float | None, typer.Option(min=0, max=100, help="Percent used; of its pools, too.")] = None,
    memory: Annotated[float | None, typer.Option(min=0, max=100, help="Percent used; of its pools, too.")] = None,
    disk: Annotated[float | None, typer.Option(min=0, max=100, help="Percent used.")] = None,
    load: Annotated[float | None, typer.Option(min=0, help="Its load average.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="OCID=CURRENT/ACTIVE instances, as often as needed.")] = None,
    reply_to: Annotated[str | None, typer.Option(help="Any text: answer in the node's own queue.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The file with the node's key, - for stdin; else $PGFLEET_NODE_KEY.")
    ] = None,
    heartbeat_id: Annotated[str | None, typer.Option("--id", help="A UUID; sent twice it counts once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report for a node; without --cpu and --memory its pools are idle."""
    measured = {
        "cpu_usage_percent": cpu,
        "memory_usage_percent": memory,
        "disk_usage_percent": disk,
        "load_average": load,
    }
    fields = {
        "action": "heartbeat",
        "id": heartbeat_id or str(uuid.uuid4()),
        "sent_at": datetime.now(UTC).isoformat(),
        "status": status,
        "error_message": error,
        "config_hash": config_hash,
        "reply_to": reply_to,
        **_of(node, cluster_node, _metrics(metric or []), measured, pool or []),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    with named_as_options(OPTIONS), connected(chosen_dsn(ctx.obj)) as conn:
        heartbeat(conn, key=_key(key_file), **given)
    report(_sent(given), given["id"], given if as_json else None)


def _key(file: Path | None) -> str | None:
    """The node's key, from where no other user of the machine sees it; None where none is given.

    Raises:
        FleetError: the file can't be read, or is empty.
    """
    try:
        text = os.environ.get(KEY, "") if file is None else _text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"--key-file {file} can't be read: {type(error).__name__}") from None
    if file is not None and not text.strip():
        raise FleetError(f"--key-file {file} has no key.")
    return text.strip() or None


def _text(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")


def _of(
    node: int | None, cluster_node: str | None, metrics: dict[str, float], measured: dict[str, Any], pools: list[str]
) -> dict[str, Any]:
    """The fields that only one of both sources has. An autoscaler node's usage is among its metrics.

    Raises:
        FleetError: it is not one node of one source, or a cluster node with pools.
    """
    if (node is None) == (cluster_node is None):
        raise FleetError("Give one of --node NUMBER and --cluster-node ID.")
    if cluster_node is not None:
        if pools:
            raise FleetError("--pool is for --node: a cluster's node has no pools.")
        return {"source": "cluster", "node_id": cluster_node, "metrics": metrics or None, **measured}
    metrics = {**metrics, **{name: value for name, value in measured.items() if value is not None}}
    reported = [_pool(text, measured) for text in pools]
    return {"source": "autoscaler", "node_id": node, "metrics": metrics or None, "pools": reported or None}


def _metrics(pairs: list[str]) -> dict[str, float]:
    return dict(_metric(pair) for pair in pairs)


def _metric(pair: str) -> tuple[str, float]:
    name, _, number = pair.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise FleetError(f"--metric takes NAME=NUMBER, not {pair!r}")
    return name, value


def _pool(text: str, measured: dict[str, Any]) -> dict[str, Any]:
    found = POOL.fullmatch(text)
    if found is None:
        raise FleetError(f"--pool takes OCID=CURRENT/ACTIVE, such as ocid1.pool.a=3/2, not {text!r}")
    return {
        "oracle_pool_id": found["name"],
        "current_instances": int(found["current"]),
        "active_instances": int(found["active"]),
        "avg_cpu_utilization": measured["cpu_usage_percent"] or 0,
        "avg_memory_utilization": measured["memory_usage_percent"] or 0,
    }


def _sent(given: dict[str, Any]) -> str:
    of_cluster = given["source"] == "cluster"
    node = f"cluster node {given['node_id']}" if of_cluster else f"node {given['node_id']}"
    see = "pgfleet clusters" if of_cluster else "pgfleet nodes"
    status = f"{given['status']}, {given['error_message']}" if "error_message" in given else given["status"]
    return f"sent for {node}: {status}\nSee what became of it: {see}"
