"""Addresses of services: node ports from one range, each given once, and cluster IPs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import internal, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Change, Key

PORTS = range(30_000, 32_768)
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
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
        """Raises `RefusedError`: 422 for a port that is taken or out of range, 500 when none is left."""
        spec = body["spec"]
        spec.setdefault("type", "ClusterIP")
        if spec.get("clusterIP") != "None":
            spec["clusterIP"] = str(FIRST_CLUSTER_IP + self._addresses_given)
            self._addresses_given += 1
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec |= {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster"}
        if spec["type"] in WITH_NODE_PORTS:
            self._assign_ports(key, spec)

    def _assign_ports(self, key: Key, spec: Object) -> None:
        """Those that are asked for come first, so that no other port is given their numbers."""
        given: set[int] = set()
        for index, port in enumerate(spec["ports"]):
            if port.get("nodePort"):
                self._check(key, index, port["nodePort"], given)
                given.add(port["nodePort"])
        for port in spec["ports"]:
            if not port.get("nodePort"):
                port["nodePort"] = self._free_port(given)
                given.add(port["nodePort"])

    def _check(self, key: Key, index: int, port: int, given: set[int]) -> None:
        field = f"spec.ports[{index}].nodePort"
        if port not in PORTS:
            span = f"{PORTS.start}-{PORTS.stop - 1}"
            why = f"provided port is not in the valid range. The range of valid ports is {span}"
            raise invalid("Service", key[2], field, f"Invalid value: {port}: {why}")
        if port in self._taken or port in given:
            raise invalid("Service", key[2], field, f"Invalid value: {port}: provided port is already allocated")

    def _free_port(self, given: set[int]) -> int:
        for port in self._from_next():
            if port not in self._taken and port not in given:
                self._next_port = port + 1
                return port
        raise internal("failed to allocate a nodePort: range is full")

    def _from_next(self) -> Iterator[int]:
        """All ports, from the one after the last that was given: one just given back is not the next to be given."""
        yield from range(self._next_port, PORTS.stop)
        yield from range(PORTS.start, self._next_port)


def _node_ports(body: Object) -> list[int]:
    return [port["nodePort"] for port in body["spec"].get("ports") or () if port.get("nodePort")]
