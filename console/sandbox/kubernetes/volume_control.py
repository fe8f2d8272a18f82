"""The part of `/_sandbox` that is about volumes: what is in homes, how slowly they are detached, and what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.claims import CLAIMS, VOLUMES, handle_of
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.store import Record


class VolumeControl:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def answer(self, path: list[str], wanted: dict[str, Any]) -> dict[str, Any]:
        match path:
            case ["contents", namespace, name]:
                self._cluster.executions.order(namespace, name, wanted)
            case ["detaching"]:
                self._cluster.attachments.detach_delay_s = _seconds(wanted.get("delay_s"))
            case _:
                raise RefusedError(404, f"the sandbox has no volumes/{'/'.join(path)}")
        return {}

    def state(self) -> dict[str, Any]:
        store, attachments = self._cluster.store, self._cluster.attachments
        return {
            "volumes": {record.key[2]: _volume(record) for record in store.select(VOLUMES)},
            "claims": {f"{record.key[1]}/{record.key[2]}": _claim(record) for record in store.select(CLAIMS)},
            "attachments": dict(attachments.nodes),
            "attachment_log": list(attachments.log),
            "executions": self._cluster.tally.executions,
        }


def _volume(record: Record) -> dict[str, Any]:
    body = record.body()
    reference = body["spec"].get("claimRef") or {}
    claim = f"{reference.get('namespace')}/{reference.get('name')}" if reference else None
    return {"phase": body["status"]["phase"], "handle": handle_of(record), "claim": claim, "deleting": record.deleting}


def _claim(record: Record) -> dict[str, Any]:
    body = record.body()
    return {
        "phase": body["status"]["phase"],
        "volume": body["spec"].get("volumeName"),
        "deleting": record.deleting,
    }


def _seconds(given: Any) -> float:
    if not isinstance(given, int | float) or given < 0:
        raise RefusedError(400, f"delay_s is a number of seconds, not {given!r}")
    return float(given)
