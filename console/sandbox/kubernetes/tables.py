"""Tables as `kubectl get` prints them: columns and cells chosen by the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record

COLUMNS = {
    "pods": ("Name", "Ready", "Status", "Restarts", "Age", "IP*", "Node*"),
    "nodes": ("Name", "Status", "GPU Type", "GPUs", "Age", "Internal-IP*"),
    "services": ("Name", "Type", "Cluster-IP", "Port(s)", "Age"),
    "events": ("Last Seen", "Type", "Reason", "Object", "Count", "Message"),
    "persistentvolumes": ("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "Age", "Handle*"),
    "persistentvolumeclaims": ("Name", "Status", "Volume", "Capacity", "Access Modes", "Age"),
}  # a star marks what only `-o wide` shows
OTHERS = ("Name", "Status", "Age")


def wants_table(request: web.BaseRequest) -> bool:
    return ";as=Table" in request.headers.get("Accept", "")


def encoded_table(resource: str, records: list[Record], metadata: Object | None = None) -> bytes:
    columns = COLUMNS.get(resource, OTHERS)
    table = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": [_column(name) for name in columns],
        "rows": [_row(resource, record.body()) for record in records],
    }
    return orjson.dumps(table)


def _column(name: str) -> Object:
    return {
        "name": name.rstrip("*"),
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": 1 if name.endswith("*") else 0,
    }


def _row(resource: str, body: Object) -> Object:
    cells = CELLS.get(resource, _other_cells)(body)
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}
    return {"cells": cells, "object": partial}


def _pod_cells(body: Object) -> list[Any]:
    status = body["status"]
    containers = status.get("containerStatuses") or []
    ready = f"{sum(each['ready'] for each in containers)}/{len(body['spec']['containers'])}"
    restarts = sum(each["restartCount"] for each in containers)
    address, node = status.get("podIP", "<none>"), body["spec"].get("nodeName", "<none>")
    return [body["metadata"]["name"], ready, _pod_state(body), restarts, _age(body), address, node]


def _pod_state(body: Object) -> str:
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    for each in body["status"].get("containerStatuses") or ():
        for state in each["state"].values():
            if state.get("reason"):
                return str(state["reason"])
    return str(body["status"]["phase"])


def _node_cells(body: Object) -> list[Any]:
    status = body.get("status", {})
    is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    state = "Ready" if is_ready else "NotReady"
    if body.get("spec", {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    gpus = (status.get("allocatable") or {}).get("nvidia.com/gpu", "0")
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    gpu_type = (body["metadata"].get("labels") or {}).get("GpuType", "<none>")
    internal = addresses.get("InternalIP", "<none>")
    return [body["metadata"]["name"], state, gpu_type, gpus, _age(body), internal]


def _service_cells(body: Object) -> list[Any]:
    spec = body["spec"]
    ports = ",".join(_port(port) for port in spec.get("ports") or ()) or "<none>"
    return [body["metadata"]["name"], spec["type"], spec.get("clusterIP", "<none>"), ports, _age(body)]


def _port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port['protocol']}"


def _event_cells(body: Object) -> list[Any]:
    about = body.get("involvedObject") or {}
    subject = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    seen = _since(body.get("lastTimestamp") or body["metadata"]["creationTimestamp"])
    return [seen, body.get("type"), body.get("reason"), subject, body.get("count", 1), body.get("message")]


def _volume_cells(body: Object) -> list[Any]:
    spec, reference = body["spec"], body["spec"].get("claimRef")
    capacity, modes = spec["capacity"]["storage"], ",".join(map(_short_mode, spec["accessModes"]))
    policy, phase = spec["persistentVolumeReclaimPolicy"], _phase(body)
    claim = f"{reference['namespace']}/{reference['name']}" if reference else ""
    return [body["metadata"]["name"], capacity, modes, policy, phase, claim, _age(body), spec["csi"]["volumeHandle"]]


def _claim_cells(body: Object) -> list[Any]:
    status = body["status"]
    capacity, modes = (status.get("capacity") or {}).get("storage", ""), status.get("accessModes") or ()
    volume = body["spec"].get("volumeName", "")
    return [body["metadata"]["name"], _phase(body), volume, capacity, ",".join(map(_short_mode, modes)), _age(body)]


def _short_mode(mode: str) -> str:
    """RWO for ReadWriteOnce."""
    return "".join(letter for letter in mode if letter.isupper())


def _phase(body: Object) -> str:
    return "Terminating" if "deletionTimestamp" in body["metadata"] else str(body["status"]["phase"])


def _other_cells(body: Object) -> list[Any]:
    return [body["metadata"]["name"], (body.get("status") or {}).get("phase", ""), _age(body)]


CELLS: dict[str, Callable[[Object], list[Any]]] = {
    "pods": _pod_cells,
    "nodes": _node_cells,
    "services": _service_cells,
    "events": _event_cells,
    "persistentvolumes": _volume_cells,
    "persistentvolumeclaims": _claim_cells,
}


def _age(body: Object) -> str:
    return _since(body["metadata"]["creationTimestamp"])


def _since(text: str) -> str:
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
