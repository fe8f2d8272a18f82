"""What clients ask before they ask for objects: versions, groups and their resources."""

from __future__ import annotations

from typing import Any

from pgfleet.console.sandbox.kubernetes.metrics import GROUP, GROUP_VERSION
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
POD_EXEC = {
    "name": "pods/exec",
    "singularName": "",
    "namespaced": True,
    "kind": "PodExecOptions",
    "verbs": ["create", "get"],
    "shortNames": [],
}
SERVER_VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0-sandbox",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2025-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


def discovery(path: str) -> Any:
    """The answer to a discovery path, or None when it isn't one."""
    return DOCUMENTS.get(path.rstrip("/"))


def _resource_list() -> dict[str, Any]:
    resources = []
    for resource in RESOURCES.values():
        entry = {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": VERBS,
            "shortNames": list(resource.short_names),
        }
        resources.append(entry)
        if resource.has_status:
            verbs = ["get", "patch", "update"]
            resources.append(entry | {"name": f"{resource.plural}/status", "verbs": verbs, "shortNames": []})
    resources.append(POD_EXEC)
    return {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}


METRICS_VERSION = {"groupVersion": GROUP_VERSION, "version": "v1beta1"}
METRICS_GROUP = {"name": GROUP, "versions": [METRICS_VERSION], "preferredVersion": METRICS_VERSION}
POD_METRICS = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["list"]}
DOCUMENTS: dict[str, Any] = {
    "/version": SERVER_VERSION,
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/api/v1": _resource_list(),
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [METRICS_GROUP]},
    f"/apis/{GROUP}": {"kind": "APIGroup", "apiVersion": "v1"} | METRICS_GROUP,
    f"/apis/{GROUP_VERSION}": {"kind": "APIResourceList", "groupVersion": GROUP_VERSION, "resources": [POD_METRICS]},
    "/openapi/v2": {"swagger": "2.0", "info": {"title": "sandbox", "version": "v1"}, "paths": {}},
    "/openapi/v3": {"paths": {}},
    "/healthz": "ok",
    "/livez": "ok",
    "/readyz": "ok",
}
