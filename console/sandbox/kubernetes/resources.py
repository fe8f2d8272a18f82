"""The resources the simulator serves, and which of their fields a field selector may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

EVENT_FIELDS = ("involvedObject.name", "involvedObject.uid", "reason")
NAMESPACES = ("default", "gpu-dev")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object; `fields` are dotted paths a field selector may use besides name and namespace."""

    plural: str
    kind: str
    namespaced: bool
    fields: tuple[str, ...] = ()
    has_status: bool = True
    deletion_answers_object: bool = True
    group: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"


RESOURCES = {
    resource.plural: resource
    for resource in (
        Resource("nodes", "Node", False, ("spec.unschedulable",), deletion_answers_object=False),
        Resource("pods", "Pod", True, ("spec.nodeName", "status.phase")),
        Resource("services", "Service", True, ("spec.clusterIP", "spec.type")),
        Resource("events", "Event", True, EVENT_FIELDS, has_status=False, deletion_answers_object=False),
        Resource("configmaps", "ConfigMap", True, has_status=False, deletion_answers_object=False),
        Resource("secrets", "Secret", True, ("type",), has_status=False, deletion_answers_object=False),
        Resource(
            "networkpolicies",
            "NetworkPolicy",
            True,
            has_status=False,
            deletion_answers_object=False,
            group="networking.k8s.io",
        ),
        Resource("persistentvolumes", "PersistentVolume", False),
        Resource("persistentvolumeclaims", "PersistentVolumeClaim", True),
    )
}


def fields_of(resource: Resource, body: Object) -> dict[str, str]:
    """The values field selectors look at; a field that is absent reads as the empty string."""
    metadata = body["metadata"]
    found = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    for path in resource.fields:
        found[path] = _value_at(body, path)
    return found


def _value_at(body: Object, path: str) -> str:
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
