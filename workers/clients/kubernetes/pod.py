"""What the program needs to know of a pod, a service or a container, and nothing else of their models."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

RESERVATION_ID = "pgfleet/reservation-id"
# Waiting reasons that no time will heal. ErrImagePull is retried by the kubelet and becomes ImagePullBackOff.
CANNOT_START = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as it was when it was read.

    Attributes:
        started_at: when the kubelet took it on; None before.
        unschedulable: the scheduler's words, while it finds no node.
        cannot_start: `reason: message` of a container that can't start.
        oom_kills: when containers were killed for their memory, with the container's name.
    """

    name: str
    uid: str
    reservation_id: str | None
    created_at: datetime
    started_at: datetime | None
    node: str | None
    phase: str
    ready: bool
    deleting: bool
    unschedulable: str | None
    cannot_start: str | None
    oom_kills: tuple[tuple[datetime, str], ...]

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as it was when it was read; `owner_uid` is that of the pod that it goes with."""

    name: str
    reservation_id: str | None
    owner_uid: str | None
    node_port: int | None


def pod_state(pod: Any) -> PodState:
    """The parts of a `V1Pod` that steps look at."""
    status = pod.status
    conditions = {condition.type: condition for condition in (status.conditions if status else None) or []}
    containers = (status.container_statuses if status else None) or []
    scheduled, ready = conditions.get("PodScheduled"), conditions.get("Ready")
    return PodState(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        reservation_id=(pod.metadata.annotations or {}).get(RESERVATION_ID),
        created_at=pod.metadata.creation_timestamp,
        started_at=status.start_time if status else None,
        node=pod.spec.node_name,
        phase=(status.phase if status else None) or "Pending",
        ready=ready is not None and ready.status == "True",
        deleting=pod.metadata.deletion_timestamp is not None,
        unschedulable=_unschedulable(scheduled),
        cannot_start=_cannot_start(containers),
        oom_kills=tuple(_oom_kills(containers)),
    )


def service_state(service: Any) -> ServiceState:
    ports, owners = service.spec.ports or [], service.metadata.owner_references or []
    return ServiceState(
        name=service.metadata.name,
        reservation_id=(service.metadata.annotations or {}).get(RESERVATION_ID),
        owner_uid=owners[0].uid if owners else None,
        node_port=ports[0].node_port if ports else None,
    )


def _unschedulable(condition: Any) -> str | None:
    if condition is None or condition.status == "True" or condition.reason != "Unschedulable":
        return None
    return condition.message or "no node fits"


def _cannot_start(containers: list[Any]) -> str | None:
    for container in containers:
        waiting = container.state.waiting if container.state else None
        if waiting is not None and waiting.reason in CANNOT_START:
            return f"{waiting.reason}: {waiting.message or 'no details'}"[:500]
    return None


def _oom_kills(containers: list[Any]) -> list[tuple[datetime, str]]:
    kills = []
    for container in containers:
        for state in (container.state, container.last_state):
            ended = state.terminated if state else None
            if ended is not None and ended.reason == "OOMKilled" and ended.finished_at is not None:
                kills.append((ended.finished_at, container.name))
    return sorted(set(kills))
