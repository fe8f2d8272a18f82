"""What a new or changed object must look like, and the defaults it is given before it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid_in_all
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES, Object
from pgfleet.console.sandbox.kubernetes.validation.data import config_map_faults, secret_faults, with_plain_data
from pgfleet.console.sandbox.kubernetes.validation.fields import Reader
from pgfleet.console.sandbox.kubernetes.validation.metadata import metadata_faults
from pgfleet.console.sandbox.kubernetes.validation.pods import pod_faults
from pgfleet.console.sandbox.kubernetes.validation.services import service_faults
from pgfleet.console.sandbox.kubernetes.volume_checks import check_claim, check_volume, with_volume_defaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfleet.console.sandbox.kubernetes.validation.faults import Faults


def decode(plural: str, body: Object, strictness: str) -> list[str]:
    """Drops fields that Kubernetes does not know, and returns warnings about them.

    Raises `RefusedError` (400) for an object of another kind or with values of other types, and for unknown fields
    where the `strictness` is `Strict`.
    """
    kind, version = RESOURCES[plural].kind, RESOURCES[plural].api_version
    if body.get("kind", kind) != kind:
        raise RefusedError(400, f"{body['kind']} in the request, but {kind} at this address")
    body["kind"], body["apiVersion"] = kind, version
    reader = Reader(kind)
    reader.read(body)
    told = [f'unknown field "{name}"' for name in reader.unknown]
    if told and strictness == "Strict":
        raise reader.refuse(f"strict decoding error: {', '.join(told)}")
    return told if strictness == "Warn" else []


def check(plural: str, body: Object) -> None:
    """Raises `RefusedError` (422) for an object that Kubernetes would not store; it has its defaults by now."""
    name = body["metadata"].get("name", "")
    faults = metadata_faults(plural, body["metadata"])
    faults += FAULTS[plural](body) if plural in FAULTS else []
    if faults:
        raise invalid_in_all(RESOURCES[plural].kind, name, faults)
    if plural in CHECKS:
        CHECKS[plural](name, body)


def with_spec_defaults(plural: str, body: Object) -> None:
    """What the API server adds to every object that is sent."""
    match plural:
        case "pods":
            _default_pod(body.setdefault("spec", {}))
        case "services":
            _default_service(body.setdefault("spec", {}))
        case "secrets":
            with_plain_data(body)
            body.setdefault("type", "Opaque")


def with_status(plural: str, body: Object) -> None:
    """What a new object has in place of the status it was sent with."""
    match plural:
        case "pods":
            body["status"] = {"phase": "Pending", "qosClass": "Burstable"}
        case "nodes":
            body.setdefault("spec", {})
            body.setdefault("status", {})
        case "services":
            body["status"] = {"loadBalancer": {}}
        case "persistentvolumes" | "persistentvolumeclaims":
            with_volume_defaults(plural, body)


def _default_pod(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        resources = container.setdefault("resources", {})
        if resources.get("limits"):
            resources["requests"] = resources["limits"] | (resources.get("requests") or {})


def _default_service(spec: Object) -> None:
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port", 0))


FAULTS: dict[str, Callable[[Object], Faults]] = {
    "pods": pod_faults,
    "services": service_faults,
    "configmaps": config_map_faults,
    "secrets": secret_faults,
}
CHECKS: dict[str, Callable[[str, Object], None]] = {
    "persistentvolumes": check_volume,
    "persistentvolumeclaims": check_claim,
}
