"""Groups of equal nodes, written `h100:2x8`, and the node objects made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.reports import conditions_of_new
from pgfleet.console.sandbox.kubernetes.store import timestamp

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record, Store

GROUP = re.compile(r"^([a-z0-9][a-z0-9.-]*):(\d+)x(\d+)(?:x(\d+)(?:x(\d+))?)?$")
GPU_TYPE_LABEL = "GpuType"
ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class NodeGroup:
    gpu_type: str
    count: int
    gpus: int
    cpu: int = 192
    memory_gb: int = 2048
    zone: str = field(default="us-east-2a", kw_only=True)
    families: str = field(default="ipv4", kw_only=True)  # such as ipv6,ipv4: an internal address of each, in this order
    external: bool = field(default=True, kw_only=True)  # has an external address too, of the first family


def parse_group(text: str) -> NodeGroup:
    """Reads `type:NODESxGPUS[xCPUS[xGB]]`. Raises `ValueError`."""
    found = GROUP.match(text.strip())
    if found is None:
        raise ValueError(f"nodes are written type:countxgpus[xcpu[xmemory_gb]], as in h100:2x8, not {text!r}")
    numbers = [int(number) for number in found.groups()[1:] if number]
    return NodeGroup(found[1], *numbers)


def add_nodes(store: Store, group: NodeGroup) -> list[Record]:
    """Numbers go on from the highest of that type."""
    first = 1 + max((_number(record.key[2], group.gpu_type) for record in store.select("nodes")), default=0)
    index = store.count("nodes")
    return [_add(store, group, first + offset, index + offset) for offset in range(group.count)]


def _number(name: str, gpu_type: str) -> int:
    rest = name.removeprefix(f"{gpu_type}-")
    return int(rest) if rest != name and rest.isdigit() else 0


def _add(store: Store, group: NodeGroup, number: int, index: int) -> Record:
    name = f"{group.gpu_type}-{number}"
    return store.add(("nodes", "", name), _node(name, group, index))


def _node(name: str, group: NodeGroup, index: int) -> Object:
    amounts = {"cpu": str(group.cpu), "memory": f"{group.memory_gb}Gi"}
    if group.gpus:
        amounts["nvidia.com/gpu"] = str(group.gpus)
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": {GPU_TYPE_LABEL: group.gpu_type, "kubernetes.io/hostname": name, ZONE_LABEL: group.zone},
        },
        "spec": {"providerID": f"sandbox:///{name}"},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": conditions_of_new(timestamp()),
            "addresses": _addresses(name, group, index),
        },
    }


def _addresses(name: str, group: NodeGroup, index: int) -> list[Object]:
    inside = {"ipv4": f"10.0.{index // 250}.{index % 250 + 1}", "ipv6": f"fd00::{index // 250:x}:{index % 250 + 1:x}"}
    outside = {
        "ipv4": f"203.0.{113 + index // 250}.{index % 250 + 1}",
        "ipv6": f"2001:db8::{index // 250:x}:{index % 250 + 1:x}",
    }
    families = group.families.split(",")
    found = [{"type": "InternalIP", "address": inside[family]} for family in families]
    found += [{"type": "ExternalIP", "address": outside[families[0]]}] if group.external else []
    return [*found, {"type": "Hostname", "address": name}]
