"""What the program needs to know of a pod, a service or a node, and nothing else of their models.

No time is in them but those of kills, which only order what one kubelet says: durations are counted from our own looks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from pgfleet.workers.clients.kubernetes.status.conditions import (
    Disruption,
    Unplaced,
    disruption_of,
    node_is_silent,
    unplaced,
)
from pgfleet.workers.clients.kubernetes.status.containers import (
    Crashes,
    Exit,
    Waits,
    crashes_of,
    exit_of,
    exits_of,
    has_run,
    oom_kills,
    runs,
    waits_of,
    words,
)

RESERVATION_ID = "pgfleet/reservation-id"


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as it was when it was read.

    Attributes:
        ready: SSH answers, as its kubelet says and nobody doubts.
        running: its containers run, whether SSH answers or not.
        ran: some container of it ever did.
        unplaced: why it is on no node; None on one.
        waits: what its container waits for, if it does.
        crashes: how often its container crashed, if it did.
        restarts: how often its containers were started again, for whatever reason.
        ended: how it ended; None before.
        ended_by_node: its kubelet has ended it, or has not let it in (again, perhaps, after a restart).
        disruption: who takes it away, and why; None if nobody does.
        node_silent: the cluster has not heard of its node for some time.
        finalizers: who has to agree before it can go.
        oom_kills: when containers were killed for their memory, with the container's name.
    """

    name: str
    uid: str
    reservation_id: str | None
    node: str | None
    phase: str
    ready: bool
    running: bool
    ran: bool
    deleting: bool
    finalizers: tuple[str, ...]
    unplaced: Unplaced | None
    waits: Waits | None
    crashes: Crashes | None
    restarts: int
    ended: Exit | None
    ended_by_node: bool
    disruption: Disruption | None
    node_silent: bool
    oom_kills: tuple[tuple[datetime, str], ...]

    @property
    def finished(self) -> bool:
        return self.ended is not None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as it was when it was read.

    Attributes:
        owner_uid: that of the pod that it goes with.
        family: 4 or 6, the version of IP that it is reached by; None where nobody says.
    """

    name: str
    reservation_id: str | None
    owner_uid: str | None
    node_port: int | None
    family: int | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as it was when it was read.

    Attributes:
        addresses: each with its type, in the node's order.
        trouble: why it is not ready, in the cluster's words; None if it is.
        silent: the cluster has not heard of it for some time.
    """

    name: str
    addresses: tuple[tuple[str, str], ...]
    trouble: str | None
    silent: bool

    @property
    def manner(self) -> str:
        """What a node in trouble does, as it is said of it."""
        return "does not answer" if self.silent else "is not ready"

    def address(self, kinds: Iterable[str], family: int | None) -> str | None:
        """Its first address of the first of these types that it has any of, in this version of IP."""
        for wanted in kinds:
            for kind, address in self.addresses:
                if kind == wanted and family in (None, _family(address)):
                    return address
        return None


def pod_state(pod: Any) -> PodState:
    """The parts of a `V1Pod` that steps look at."""
    status = pod.status
    own = (status.container_statuses if status else None) or []
    statuses = [*((status.init_container_statuses if status else None) or []), *own]
    conditions = {condition.type: condition for condition in (status.conditions if status else None) or []}
    ready = conditions.get("Ready")
    ended = _ended(status, statuses)
    return PodState(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        reservation_id=(pod.metadata.annotations or {}).get(RESERVATION_ID),
        node=pod.spec.node_name,
        phase=(status.phase if status else None) or "Pending",
        ready=ready is not None and ready.status == "True" and ended is None,
        running=runs(own) and ended is None,
        ran=has_run(statuses),
        deleting=pod.metadata.deletion_timestamp is not None,
        finalizers=tuple(pod.metadata.finalizers or ()),
        unplaced=unplaced(pod, conditions),
        waits=waits_of(statuses),
        crashes=crashes_of(statuses),
        restarts=sum(each.restart_count or 0 for each in own),
        ended=ended,
        # A container's exit is no reason of its pod.
        ended_by_node=ended is not None and status.phase == "Failed" and bool(status.reason),
        disruption=disruption_of(status, conditions),
        node_silent=node_is_silent(status, conditions),
        oom_kills=oom_kills(statuses),
    )


def service_state(service: Any) -> ServiceState:
    spec, owners = service.spec, service.metadata.owner_references or []
    ports, families = spec.ports or [], spec.ip_families or []
    return ServiceState(
        name=service.metadata.name,
        reservation_id=(service.metadata.annotations or {}).get(RESERVATION_ID),
        owner_uid=owners[0].uid if owners else None,
        node_port=ports[0].node_port if ports else None,
        family={"IPv4": 4, "IPv6": 6}.get(families[0]) if families else _family(spec.cluster_ip),
    )


def node_state(node: Any) -> NodeState:
    status = node.status
    ready = next((each for each in (status.conditions if status else None) or [] if each.type == "Ready"), None)
    return NodeState(
        name=node.metadata.name,
        addresses=tuple((each.type, each.address) for each in (status.addresses if status else None) or []),
        trouble=None if ready is None else _trouble(ready),
        silent=ready is not None and ready.status == "Unknown",
    )


def _trouble(ready: Any) -> str | None:
    return None if ready.status == "True" else words(f"{ready.reason or ready.status}: {ready.message or 'no details'}")


def _ended(status: Any, statuses: list[Any]) -> Exit | None:
    """A pod's own reason goes before its containers': those were ended with it."""
    if status is None or status.phase not in ("Succeeded", "Failed"):
        return None
    container = next((exit_of(ended) for ended in exits_of(statuses)), Exit(None, "", ""))
    code = container.code if has_run(statuses) else None
    return Exit(code, status.reason or container.reason, words(status.message) or container.message)


def _family(address: str | None) -> int | None:
    try:
        return ip_address(address or "").version
    except ValueError:
        return None
