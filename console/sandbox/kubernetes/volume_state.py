"""What the state of the sandbox says of volumes, their claims and where they are attached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.claims import CLAIMS, VOLUMES, handle_of

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.store import Record


def volume_state(cluster: Cluster) -> dict[str, Any]:
    store, attachments = cluster.store, cluster.attachments
    return {
        "volumes": {record.key[2]: _volume(record) for record in store.select(VOLUMES)},
        "claims": {f"{record.key[1]}/{record.key[2]}": _claim(record) for record in store.select(CLAIMS)},
        "attachments": dict(attachments.nodes),
        "attachment_log": list(attachments.log),
        "executions": cluster.tally.executions,
        "commands": list(cluster.executions.commands),
    }


def _volume(record: Record) -> dict[str, Any]:
    body = record.body()
    reference = body["spec"].get("claimRef") or {}
    claim = f"{reference.get('namespace')}/{reference.get('name')}" if reference else None
    return {"phase": body["status"]["phase"], "handle": handle_of(record), "claim": claim, "deleting": record.deleting}


def _claim(record: Record) -> dict[str, Any]:
    body = record.body()
    volume = body["spec"].get("volumeName")
    return {"phase": body["status"]["phase"], "volume": volume, "deleting": record.deleting}
