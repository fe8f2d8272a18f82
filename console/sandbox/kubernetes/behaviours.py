"""What a simulated pod does on its node: scripts of timed steps, chosen by its image or a request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.conditions import set_condition
from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfleet.console.sandbox.kubernetes.resources import Object

STARTED = Notice("Normal", "Started", "Started container main", "kubelet")


@dataclass(frozen=True, slots=True)
class Step:
    """After `delay_s`, `apply(pod, now)` changes the status; None removes the pod."""

    delay_s: float
    apply: Callable[[Object, str], None] | None
    notice: Notice | None = None


def first_script(pod: Object, delay_s: float) -> list[Step]:
    """The steps of a pod that starts; an image with `missing` in its name is not found."""
    images = [container["image"] for container in pod["spec"]["containers"]]
    if any("missing" in image for image in images):
        return _image_error(delay_s)
    return [Step(delay_s, running, STARTED)]


def live_step(behaviour: str) -> Step:
    """What a live pod does at once. Raises `RefusedError` (400) for an unknown behaviour."""
    if behaviour not in BEHAVIOURS:
        raise RefusedError(400, f"unknown behaviour {behaviour!r}: one of {', '.join(BEHAVIOURS)} was expected")
    return Step(0, BEHAVIOURS[behaviour], STARTED if behaviour == "ready" else None)


def starting(pod: Object, now: str, *, host_ip: str, pod_ip: str) -> None:
    """What kubelet writes when it has seen the pod."""
    pod["status"] |= {"startTime": now, "hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    pod["status"] |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    set_condition(pod, "Initialized", holds=True, now=now)
    waiting(pod, now, reason="ContainerCreating", message="")


def waiting(pod: Object, now: str, *, reason: str, message: str) -> None:
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    pod["status"]["phase"] = "Pending"
    _set_containers(pod, state, ready=False)
    _set_readiness(pod, now, ready=False)


def running(pod: Object, now: str, *, ready: bool = True) -> None:
    pod["status"]["phase"] = "Running"
    _set_containers(pod, {"running": {"startedAt": now}}, ready=ready)
    _set_readiness(pod, now, ready=ready)


def unready(pod: Object, now: str) -> None:
    running(pod, now, ready=False)


def failed(pod: Object, now: str) -> None:
    _end(pod, now, phase="Failed", exit_code=1, reason="Error")


def succeeded(pod: Object, now: str) -> None:
    _end(pod, now, phase="Succeeded", exit_code=0, reason="Completed")


def oom_killed(pod: Object, now: str) -> None:
    """Restarted at once where the restart policy allows, else the end of the pod."""
    if pod["spec"].get("restartPolicy") == "Never":
        _end(pod, now, phase="Failed", exit_code=137, reason="OOMKilled")
        return
    for status in pod["status"].get("containerStatuses") or ():
        status["lastState"] = _terminated(status, now, exit_code=137, reason="OOMKilled")
        status["restartCount"] += 1
    running(pod, now)


BEHAVIOURS: dict[str, Callable[[Object, str], None] | None] = {
    "never-ready": unready,
    "crash": failed,
    "oom": oom_killed,
    "succeed": succeeded,
    "vanish": None,
    "ready": running,
}


def _image_error(delay_s: float) -> list[Step]:
    pull = partial(waiting, reason="ErrImagePull", message="failed to pull image: not found")
    back_off = partial(waiting, reason="ImagePullBackOff", message="Back-off pulling image")
    return [
        Step(delay_s, pull, Notice("Warning", "Failed", "Failed to pull image: not found", "kubelet")),
        Step(delay_s, back_off, Notice("Normal", "BackOff", "Back-off pulling image", "kubelet")),
    ]


def _end(pod: Object, now: str, *, phase: str, exit_code: int, reason: str) -> None:
    pod["status"]["phase"] = phase
    for status in pod["status"].get("containerStatuses") or ():
        status["state"] = _terminated(status, now, exit_code=exit_code, reason=reason)
        status |= {"ready": False, "started": False}
    _set_readiness(pod, now, ready=False)


def _terminated(status: Object, now: str, *, exit_code: int, reason: str) -> Object:
    started_at = status["state"].get("running", {}).get("startedAt", now)
    return {"terminated": {"exitCode": exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now}}


def _set_containers(pod: Object, state: Object, *, ready: bool) -> None:
    """Keeps the containers' restart counts and last states."""
    known = {status["name"]: status for status in pod["status"].get("containerStatuses") or ()}
    pod["status"]["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": f"sandbox://{container['image']}",
            "restartCount": known.get(container["name"], {}).get("restartCount", 0),
            "lastState": known.get(container["name"], {}).get("lastState", {}),
            "state": state,
            "ready": ready,
            "started": "running" in state,
        }
        for container in pod["spec"]["containers"]
    ]


def _set_readiness(pod: Object, now: str, *, ready: bool) -> None:
    why = ("", "") if ready else ("ContainersNotReady", "containers with unready status")
    for kind in ("Ready", "ContainersReady"):
        set_condition(pod, kind, holds=ready, now=now, why=why)
