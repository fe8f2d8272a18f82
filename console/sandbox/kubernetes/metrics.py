"""The metrics API: what the containers of running pods use, as their annotations say, or half of what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.selectors import parse_selector
from pgfleet.console.sandbox.kubernetes.store import Record, Store, timestamp

if TYPE_CHECKING:
    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.resources import Object

GROUP = "metrics.k8s.io"
GROUP_VERSION = f"{GROUP}/v1beta1"
PREFIX = f"/apis/{GROUP_VERSION}/"
ANNOTATIONS = {"cpu": "sandbox/cpu", "memory": "sandbox/memory"}  # a quantity, passed on as it is
WINDOW = "15s"


def metrics(request: web.BaseRequest, store: Store) -> web.Response:
    """`PodMetricsList` of all namespaces. Raises `RefusedError`."""
    if request.path != f"{PREFIX}pods":
        raise RefusedError(404, "the server could not find the requested resource")
    if request.method != "GET" or request.query.get("watch"):
        raise RefusedError(405, "the metrics of pods are only listed")
    labels, fields = (request.query.get(name, "") for name in ("labelSelector", "fieldSelector"))
    records = store.select("pods", "", parse_selector(labels, fields, RESOURCES["pods"]))
    now = timestamp()
    items = [_pod_metrics(record, now) for record in records if record.fields["status.phase"] == "Running"]
    return answer({"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items})


def _pod_metrics(record: Record, now: str) -> Object:
    """The creation time is that of the sample, not of the pod; labels are left out when there are none."""
    pod = record.body()
    metadata: dict[str, Any] = {"name": record.key[2], "namespace": record.key[1], "creationTimestamp": now}
    if record.labels:
        metadata["labels"] = record.labels
    containers = [
        {"name": container["name"], "usage": _usage(pod, container, is_first=index == 0)}
        for index, container in enumerate(pod["spec"]["containers"])
    ]
    return {"metadata": metadata, "timestamp": now, "window": WINDOW, "containers": containers}


def _usage(pod: Object, container: Object, *, is_first: bool) -> dict[str, str]:
    annotated = pod["metadata"].get("annotations") or {}
    requests = container["resources"].get("requests") or {}
    halves = {"cpu": _half_cpu(requests.get("cpu", 0)), "memory": _half_memory(requests.get("memory", 0))}
    return {
        name: (annotated[annotation] if is_first else "0") if annotation in annotated else halves[name]
        for name, annotation in ANNOTATIONS.items()
    }


def _half_cpu(request: Any) -> str:
    """In thousandths where that is exact, else in billionths."""
    thousandths, rest = divmod(parse_quantity("cpu", request), 2)
    if rest:
        return f"{thousandths * 1_000_000 + 500_000}n"
    return f"{thousandths}m" if thousandths else "0"


def _half_memory(request: Any) -> str:
    kibibytes = parse_quantity("memory", request) // 2048
    return f"{kibibytes}Ki" if kibibytes else "0"
