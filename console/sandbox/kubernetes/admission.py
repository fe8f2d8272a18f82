"""What a new or changed object must look like, and the defaults it is given before it is stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES, Object
from pgfleet.console.sandbox.kubernetes.volume_checks import check_claim, check_volume, with_volume_defaults

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
LONGEST_NAME = 253
LONGEST_LABEL = 63


def name_of_new(plural: str, body: Object) -> str:
    """Raises `RefusedError` (422) for a name that Kubernetes does not take."""
    name = str(body.setdefault("metadata", {}).get("name") or "")
    kind = RESOURCES[plural].kind
    if not name:
        raise invalid(kind, "", "metadata.name", "Required value: name is required")
    pattern, longest = (SERVICE_NAME, LONGEST_LABEL) if plural == "services" else (NAME, LONGEST_NAME)
    if len(name) > longest or not pattern.match(name):
        why = f'Invalid value: "{name}": a lowercase RFC name of at most {longest} characters is needed'
        raise invalid(kind, name, "metadata.name", why)
    return name


def check(plural: str, name: str, body: Object) -> None:
    """Raises `RefusedError` (422) for an object that Kubernetes would not store."""
    resource = RESOURCES[plural]
    if body.get("kind", resource.kind) != resource.kind:
        raise RefusedError(400, f"{body['kind']} in the request, but {resource.kind} at this address")
    body["kind"] = resource.kind
    body["apiVersion"] = "v1"
    _check_strings(resource.kind, name, body["metadata"])
    _check_owners(resource.kind, name, body["metadata"])
    if plural in CHECKS:
        CHECKS[plural](name, body)


def with_defaults(plural: str, body: Object) -> None:
    """What the API server adds on creation."""
    match plural:
        case "pods":
            _default_pod(body)
        case "nodes":
            body.setdefault("spec", {})
            body.setdefault("status", {})
        case "services":
            body["spec"].setdefault("sessionAffinity", "None")
            body["status"] = {"loadBalancer": {}}
        case "persistentvolumes" | "persistentvolumeclaims":
            with_volume_defaults(plural, body)


def _check_strings(kind: str, name: str, metadata: Object) -> None:
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            if not isinstance(value, str):
                raise RefusedError(400, f"{kind} {name}: metadata.{field}[{key}] must be a string")
    for key, value in (metadata.get("labels") or {}).items():
        if len(value) > LONGEST_LABEL or not re.fullmatch(r"([A-Za-z0-9]([-\w.]*[A-Za-z0-9])?)?", value):
            raise invalid(kind, name, "metadata.labels", f'Invalid value: "{value}": of label {key}')


def _check_owners(kind: str, name: str, metadata: Object) -> None:
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                place = f"metadata.ownerReferences[{index}].{field}"
                raise invalid(kind, name, place, "Required value: must not be empty")


def _check_pod(name: str, body: Object) -> None:
    containers = (body.get("spec") or {}).get("containers")
    if not containers:
        raise invalid("Pod", name, "spec.containers", "Required value")
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not container.get(field):
                raise invalid("Pod", name, f"spec.containers[{index}].{field}", "Required value")


def _check_service(name: str, body: Object) -> None:
    spec = body.get("spec") or {}
    body["spec"] = spec
    if not spec.get("ports"):
        raise invalid("Service", name, "spec.ports", "Required value")
    for index, port in enumerate(spec["ports"]):
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65_536:
            raise invalid("Service", name, f"spec.ports[{index}].port", "Invalid value: must be 1-65535")
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _default_pod(body: Object) -> None:
    spec = body["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    for container in spec["containers"]:
        resources = container.setdefault("resources", {})
        if resources.get("limits"):
            resources["requests"] = resources["limits"] | (resources.get("requests") or {})
    body["status"] = {"phase": "Pending", "qosClass": "Burstable"}


CHECKS: dict[str, Callable[[str, Object], None]] = {
    "pods": _check_pod,
    "services": _check_service,
    "persistentvolumes": check_volume,
    "persistentvolumeclaims": check_claim,
}
