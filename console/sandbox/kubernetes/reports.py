"""What a kubelet reports of its node, and what the node controller writes when it reports no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.taints import NOT_READY, UNREACHABLE, UNSCHEDULABLE

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

SILENT = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
READY = ("KubeletReady", "kubelet is posting ready status")
NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin"
    " returns error: cni plugin not initialized"
)
BROKEN = ("KubeletNotReady", NO_NETWORK)


@dataclass(frozen=True, slots=True)
class Pressure:
    """Of one resource: its condition, the taint, and reason and message without and with it."""

    condition: str
    taint: str
    none: tuple[str, str]
    some: tuple[str, str]


PRESSURES = {
    "memory": Pressure(
        "MemoryPressure",
        "node.kubernetes.io/memory-pressure",
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "disk": Pressure(
        "DiskPressure",
        "node.kubernetes.io/disk-pressure",
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "pid": Pressure(
        "PIDPressure",
        "node.kubernetes.io/pid-pressure",
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}
PRESSURE_TAINTS = {pressure.condition: pressure.taint for pressure in PRESSURES.values()}
READY_TAINTS = {"Unknown": UNREACHABLE, "False": NOT_READY}
OWN_TAINTS = (*PRESSURE_TAINTS.values(), *READY_TAINTS.values(), UNSCHEDULABLE)


def conditions_of_new(now: str) -> list[Object]:
    quiet = [_condition(each.condition, "False", each.none, now) for each in PRESSURES.values()]
    return [*quiet, _condition("Ready", "True", READY, now)]


def reported(node: Object, now: str, *, ready: bool, pressures: tuple[str, ...]) -> None:
    """What the kubelet posts; `pressures` are names of resources that the node is low on."""
    for name, pressure in PRESSURES.items():
        under = name in pressures
        _set(node, pressure.condition, "True" if under else "False", pressure.some if under else pressure.none, now)
        _beat(node, pressure.condition, now)
    _set(node, "Ready", "True" if ready else "False", READY if ready else BROKEN, now)
    _beat(node, "Ready", now)


def unheard(node: Object, now: str) -> None:
    """All conditions are unknown from now on; when they were last heard stays as it is."""
    for kind in (*PRESSURE_TAINTS, "Ready"):
        _set(node, kind, "Unknown", SILENT, now)


def taints_for(node: Object) -> list[Object]:
    """The taints that go with a node's conditions and with its being cordoned."""
    statuses = {each["type"]: each["status"] for each in node["status"].get("conditions") or ()}
    found = [(taint, "NoSchedule") for kind, taint in PRESSURE_TAINTS.items() if statuses.get(kind) == "True"]
    if statuses.get("Ready") in READY_TAINTS:
        found += [(READY_TAINTS[statuses["Ready"]], effect) for effect in ("NoSchedule", "NoExecute")]
    if node["spec"].get("unschedulable"):
        found.append((UNSCHEDULABLE, "NoSchedule"))
    return [{"key": key, "effect": effect} for key, effect in found]


def _condition(kind: str, status: str, why: tuple[str, str], now: str) -> Object:
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": kind, "status": status, "reason": why[0], "message": why[1]} | times


def _set(node: Object, kind: str, status: str, why: tuple[str, str], now: str) -> None:
    conditions = node["status"].setdefault("conditions", [])
    current = next((each for each in conditions if each["type"] == kind), None)
    if current is None:
        conditions.append(_condition(kind, status, why, now))
        return
    if current.get("status") != status:
        current["lastTransitionTime"] = now
    current |= {"status": status, "reason": why[0], "message": why[1]}


def _beat(node: Object, kind: str, now: str) -> None:
    for condition in node["status"]["conditions"]:
        if condition["type"] == kind:
            condition["lastHeartbeatTime"] = now
