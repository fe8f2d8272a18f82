"""What a service must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.validation.faults import (
    REQUIRED,
    Faults,
    invalid_value,
    unsupported,
    why_no_label,
)
from pgfleet.console.sandbox.kubernetes.validation.metadata import labels_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")


def service_faults(body: Object) -> Faults:
    spec = body["spec"]
    ports = spec.get("ports") or []
    faults = list(labels_faults("spec.selector", spec.get("selector") or {}))
    if spec.get("type", "ClusterIP") not in TYPES:
        faults.append(("spec.type", unsupported(spec["type"], *TYPES)))
    if not ports and spec.get("clusterIP") != "None":
        faults.append(("spec.ports", REQUIRED))
    for index, port in enumerate(ports):
        faults += _port(f"spec.ports[{index}]", port, named=len(ports) > 1)
    return faults


def _port(place: str, port: Object, *, named: bool) -> Iterator[tuple[str, str]]:
    name = port.get("name", "")
    if named and not name:
        yield f"{place}.name", REQUIRED
    if name:
        yield from ((f"{place}.name", invalid_value(name, why)) for why in why_no_label(name))
    if not 0 < port.get("port", 0) < 65_536:
        yield f"{place}.port", invalid_value(port.get("port", 0), "must be between 1 and 65535, inclusive")
    if port["protocol"] not in PROTOCOLS:
        yield f"{place}.protocol", unsupported(port["protocol"], *PROTOCOLS)
