"""A pod's status as its kubelet writes it: phase, conditions, and the state of each container."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.conditions import set_condition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfleet.console.sandbox.kubernetes.resources import Object

KILLED, OUT_OF_MEMORY = 137, 137
LISTS = {"containerStatuses": "containers", "initContainerStatuses": "initContainers"}
NOT_READY = "ContainersNotReady"
# Containers that have never begun end at this time.
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended, as its `terminated` state says."""

    exit_code: int
    reason: str
    message: str = ""
    began: bool = True


COMPLETED = Ending(0, "Completed")
ERROR = Ending(1, "Error")
OOM_KILLED = Ending(OUT_OF_MEMORY, "OOMKilled")
KILLED_BY_SIGNAL = Ending(KILLED, "Error")


def starting(pod: Object, now: str, host_ips: Iterable[str]) -> None:
    """What the kubelet writes first: it has no address for the pod yet."""
    pod["status"] |= {"startTime": now} | _addresses("hostIP", host_ips)
    waiting(pod, now, reason="ContainerCreating", message="")


def with_addresses(pod: Object, pod_ips: Iterable[str]) -> None:
    """The pod's network is there."""
    pod["status"] |= _addresses("podIP", pod_ips)


def waiting(pod: Object, now: str, *, reason: str, message: str) -> None:
    """All containers wait for the same; while there are init containers it is these, and the others for them."""
    pod["status"]["phase"] = "Pending"
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    first = {"waiting": {"reason": "PodInitializing"}}
    has_init = bool(pod["spec"].get("initContainers"))
    _set_states(pod, first if has_init else state, ready=False)
    if has_init:
        _set_states(pod, first if reason == "ContainerCreating" else state, ready=False, listed="initContainerStatuses")
    _set_conditions(pod, now)


def running(pod: Object, now: str, *, ready: bool = True) -> None:
    """Init containers have ended by now."""
    pod["status"]["phase"] = "Running"
    if pod["spec"].get("initContainers"):
        _end_all(pod, now, COMPLETED, listed="initContainerStatuses")
    _set_states(pod, {"running": {"startedAt": now}}, ready=ready)
    _set_conditions(pod, now)


def unready(pod: Object, now: str) -> None:
    running(pod, now, ready=False)


def ended(pod: Object, now: str, ending: Ending) -> None:
    """The end of the pod: none of its containers is started again."""
    _end_all(pod, now, ending)
    pod["status"]["phase"] = "Succeeded" if ending.exit_code == 0 else "Failed"
    _set_conditions(pod, now)


def exited(pod: Object, now: str, ending: Ending) -> None:
    """Its containers have ended and will be started again."""
    _end_all(pod, now, ending)
    pod["status"]["phase"] = "Running"
    _set_conditions(pod, now)


def backing_off(pod: Object, now: str, ending: Ending, pause: str) -> None:
    """CrashLoopBackOff for a `pause` such as 1m20s."""
    pod["status"]["phase"] = "Running"
    for status in pod["status"].get("containerStatuses") or ():
        if "terminated" not in status["state"]:
            status["state"] = _terminated(status, now, ending)
        message = f"back-off {pause} restarting failed container={status['name']} pod={pod_mark(pod)}"
        status["lastState"] = status["state"] if "terminated" in status["state"] else status["lastState"]
        status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        status |= {"ready": False, "started": False}
    _set_conditions(pod, now)


def restarted(pod: Object, now: str, *, ready: bool = True) -> None:
    """Started once more: the count goes up, and how it ended before is kept."""
    for status in pod["status"].get("containerStatuses") or ():
        status["restartCount"] += 1
        if "terminated" in status["state"]:
            status["lastState"] = status["state"]
    running(pod, now, ready=ready)


def failed_for(pod: Object, reason: str, message: str) -> None:
    """The pod as a whole has failed, as it does for an eviction or a node that shuts down."""
    pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}


def disrupted(pod: Object, now: str, reason: str, message: str) -> None:
    set_condition(pod, "DisruptionTarget", holds=True, now=now, why=(reason, message))


def pod_mark(pod: Object) -> str:
    """The pod as the kubelet names it in its messages."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def _addresses(field: str, addresses: Iterable[str]) -> Object:
    found = list(addresses)
    return {field: found[0], f"{field}s": [{"ip": address} for address in found]} if found else {}


def _set_states(pod: Object, state: Object, *, ready: bool, listed: str = "containerStatuses") -> None:
    """Keeps the containers' restart counts and last states."""
    known = {status["name"]: status for status in pod["status"].get(listed) or ()}
    pod["status"][listed] = [
        _status(pod, container, known.get(container["name"], {}), state, ready=ready)
        for container in pod["spec"].get(LISTS[listed]) or ()
    ]


def _status(pod: Object, container: Object, known: Object, state: Object, *, ready: bool) -> Object:
    has_begun = "running" in state or bool(known.get("containerID"))
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    mark = f"{pod['metadata']['uid']}/{container['name']}/{known.get('restartCount', 0)}"
    ids = {"containerID": f"containerd://{hashlib.sha256(mark.encode()).hexdigest()}"} if has_begun else {}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"{container['image'].partition(':')[0]}@sha256:{digest}" if has_begun else "",
        "restartCount": known.get("restartCount", 0),
        "lastState": known.get("lastState", {}),
        "state": state,
        "ready": ready,
        "started": "running" in state,
    } | ids


def _end_all(pod: Object, now: str, ending: Ending, listed: str = "containerStatuses") -> None:
    for status in pod["status"].get(listed) or ():
        if "terminated" not in status["state"] or listed == "containerStatuses":
            status["state"] = _terminated(status, now, ending)
        status |= {"ready": listed == "initContainerStatuses", "started": False}


def _terminated(status: Object, now: str, ending: Ending) -> Object:
    started_at = status["state"].get("running", {}).get("startedAt", now) if ending.began else NEVER
    state = {"exitCode": ending.exit_code, "reason": ending.reason, "startedAt": started_at, "finishedAt": now}
    state |= {"message": ending.message} if ending.message else {}
    return {"terminated": state | ({"containerID": status["containerID"]} if "containerID" in status else {})}


def _set_conditions(pod: Object, now: str) -> None:
    status = pod["status"]
    phase, has_network = status["phase"], "podIP" in status and status["phase"] in ("Pending", "Running")
    set_condition(pod, "PodReadyToStartContainers", holds=has_network, now=now)
    waits = [each["name"] for each in status.get("initContainerStatuses") or () if not each["ready"]]
    incomplete = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waits)}]")
    done = ("PodCompleted", "") if phase == "Succeeded" else ("", "")
    set_condition(pod, "Initialized", holds=not waits, now=now, why=incomplete if waits else done)
    why = _why_unready(pod, phase)
    for kind in ("Ready", "ContainersReady"):
        set_condition(pod, kind, holds=not why[0], now=now, why=why)


def _why_unready(pod: Object, phase: str) -> tuple[str, str]:
    """Reason and message; both empty for a pod that is ready."""
    ends = {"Succeeded": ("PodCompleted", ""), "Failed": ("PodFailed", "")}
    unready_ones = [each["name"] for each in pod["status"].get("containerStatuses") or () if not each["ready"]]
    if phase in ends:
        return ends[phase]
    return (NOT_READY, f"containers with unready status: [{' '.join(unready_ones)}]") if unready_ones else ("", "")
