"""Addresses of services: node ports from one range, each given once, and cluster IPs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Change, Key

PORTS = range(30_000, 32_768)
FIRST_CLUSTER_IP = IPv4Address("10.96.0.2")


class ServiceAddresses:
    """Ports in use, learned from the store's changes; `assign` gives a new service its own."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._next_port = PORTS.start
        self._addresses_given = 0

    def watch(self, change: Change) -> None:
        if change.record.key[0] != "services":
            return
        self._taken -= set(_node_ports(change.before.body()) if change.before else ())
        self._taken |= set(_node_ports(change.record.body()) if change.kind != "DELETED" else ())

    def assign(self, key: Key, body: Object) -> None:
        """Raises `RefusedError` (422) when no port is left."""
        spec = body["spec"]
        spec.setdefault("type", "ClusterIP")
        spec["clusterIP"] = str(FIRST_CLUSTER_IP + self._addresses_given)
        spec["clusterIPs"] = [spec["clusterIP"]]
        self._addresses_given += 1
        if spec["type"] == "NodePort":
            for index, port in enumerate(spec["ports"]):
                port["nodePort"] = self._free_port(key, index)

    def _free_port(self, key: Key, index: int) -> int:
        for port in self._from_next():
            if port not in self._taken:
                self._next_port = port + 1
                return port
        why = "Internal error: failed to allocate a nodePort: range is full"
        raise invalid("Service", key[2], f"spec.ports[{index}].nodePort", why)

    def _from_next(self) -> Iterator[int]:
        """All ports, from the one after the last that was given: one just given back is not the next to be given."""
        yield from range(self._next_port, PORTS.stop)
        yield from range(PORTS.start, self._next_port)


def _node_ports(body: Object) -> list[int]:
    return [port["nodePort"] for port in body["spec"].get("ports") or () if port.get("nodePort")]
