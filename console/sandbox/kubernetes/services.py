"""Addresses of services: node ports from one range, each given once, and cluster IPs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Change, Key

FIRST_NODE_PORT = 30_000
LAST_NODE_PORT = 32_767
FIRST_CLUSTER_IP = IPv4Address("10.96.0.2")


class ServiceAddresses:
    """Ports in use, learned from the store's changes; `assign` fills in what a service leaves open."""

    def __init__(self, first_port: int = FIRST_NODE_PORT, last_port: int = LAST_NODE_PORT) -> None:
        self._ports = range(first_port, last_port + 1)
        self._owners: dict[int, Key] = {}
        self._next_port = first_port
        self._addresses_given = 0

    def watch(self, change: Change) -> None:
        if change.record.key[0] != "services":
            return
        for port in _node_ports(change.before.body()) if change.before else ():
            self._owners.pop(port, None)
        for port in _node_ports(change.record.body()) if change.kind != "DELETED" else ():
            self._owners[port] = change.record.key

    def assign(self, key: Key, body: Object) -> None:
        """Raises `RefusedError` (422) for a port that is taken or out of range, and when none is left."""
        spec = body["spec"]
        spec.setdefault("type", "ClusterIP")
        spec["clusterIP"] = str(FIRST_CLUSTER_IP + self._addresses_given)
        spec["clusterIPs"] = [spec["clusterIP"]]
        self._addresses_given += 1
        if spec["type"] == "NodePort":
            self._assign_ports(key, spec)

    def _assign_ports(self, key: Key, spec: Object) -> None:
        wanted: set[int] = set()
        for index, port in enumerate(spec["ports"]):
            if port.get("nodePort"):
                self._check(key, index, port["nodePort"], wanted)
                wanted.add(port["nodePort"])
        for index, port in enumerate(spec["ports"]):
            if not port.get("nodePort"):
                port["nodePort"] = self._free_port(key, index, wanted)
                wanted.add(port["nodePort"])

    def _check(self, key: Key, index: int, port: int, wanted: set[int]) -> None:
        field = f"spec.ports[{index}].nodePort"
        if port not in self._ports:
            reason = f"provided port is not in the valid range. The range of valid ports is {self._span()}"
            raise invalid("Service", key[2], field, f"Invalid value: {port}: {reason}")
        if self._owners.get(port, key) != key or port in wanted:
            why = f"Invalid value: {port}: provided port is already allocated"
            raise invalid("Service", key[2], field, why)

    def _free_port(self, key: Key, index: int, wanted: set[int]) -> int:
        for port in self._from_next():
            if port not in self._owners and port not in wanted:
                self._next_port = port + 1
                return port
        why = "Internal error: failed to allocate a nodePort: range is full"
        raise invalid("Service", key[2], f"spec.ports[{index}].nodePort", why)

    def _from_next(self) -> Iterator[int]:
        """All ports, from the one after the last that was given: one just given back is not the next to be given."""
        yield from range(self._next_port, self._ports.stop)
        yield from range(self._ports.start, min(self._next_port, self._ports.stop))

    def _span(self) -> str:
        return f"{self._ports.start}-{self._ports.stop - 1}"


def _node_ports(body: Object) -> list[int]:
    return [port["nodePort"] for port in body["spec"].get("ports") or () if port.get("nodePort")]
