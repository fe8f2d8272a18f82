"""The resources the simulator serves, and which of their fields a field selector may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object; `fields` are dotted paths a field selector may use besides name and namespace."""

    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    has_status: bool = True
    deletion_answers_object: bool = True


RESOURCES = {
    resource.plural: resource
    for resource in (
        Resource("namespaces", "Namespace", False, ("ns",), ("status.phase",), deletion_answers_object=False),
        Resource("nodes", "Node", False, ("no",), ("spec.unschedulable",), deletion_answers_object=False),
        Resource("pods", "Pod", True, ("po",), ("spec.nodeName", "status.phase", "spec.restartPolicy")),
        Resource("services", "Service", True, ("svc",), ("spec.clusterIP", "spec.type")),
        Resource(
            "events",
            "Event",
            True,
            ("ev",),
            (*EVENT_FIELDS, "reason", "type", "source"),
            has_status=False,
            deletion_answers_object=False,
        ),
        Resource("persistentvolumes", "PersistentVolume", False, ("pv",)),
        Resource("persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",)),
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
    if path == "source":
        return str(body.get("source", {}).get("component", ""))
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
