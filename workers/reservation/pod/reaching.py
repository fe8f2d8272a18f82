"""The way into a pod: its node's address and the port of its service, as SSH is told."""

from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.manifest import ssh_service_body
from pgfleet.workers.clients.kubernetes.pod import PodState, ServiceState
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

OUTSIDE_FIRST = ("ExternalIP", "InternalIP")
# What the cluster has to do by itself is no failed attempt.
SOON_S = 5.0


class NoWayError(Exception):
    """There is no way into a pod that is ready: the cluster has to give it one, or to take the pod away."""


def reached(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """The columns that say how to get in; the service is made if it isn't there.

    Raises:
        NoWayError: nobody could get in.
    """
    if pod.node is None:
        raise NoWayError("Ready, but on no node yet")
    service, _ = service_of(row, pod, turn)
    node = turn.tools.pods.node(pod.node)
    ip = None if node is None else node.address(OUTSIDE_FIRST, service.family)
    if node is None:
        raise NoWayError(f"NODE_DELETED: its node {pod.node} is gone; a new pod follows when this one is")
    if ip is None:
        version = f"IPv{service.family} " if service.family else ""
        raise NoWayError(f"NO_ADDRESS: its node {pod.node} has no {version}address")
    return {
        "node_ip": ip,
        "node_private_ip": node.address(("InternalIP",), service.family),
        **port_values(ip, service),
    }


def service_of(row: Row, pod: PodState, turn: Turn) -> tuple[ServiceState, bool]:
    """The pod's service, and whether it was made now: the one that is there is taken if it is this pod's."""
    # Where it was seen to go, nobody's watch is believed.
    is_there = row.reservation_id in turn.view.fingerprints
    found = turn.tools.pods.service(f"{pod.name}-ssh", seen_too=is_there)
    missing = found is None or found.owner_uid != pod.uid
    if found is None or missing:
        turn.hold()
        found = _made(row, pod, turn)
    if found.node_port is None:
        raise TryAgainError(f"service {found.name} has no port yet", after_s=SOON_S)
    return found, missing


def port_values(ip: str, service: ServiceState) -> dict[str, Any]:
    """SSH takes an IPv6 address as it is, without brackets, since its port is an option."""
    return {"node_port": service.node_port, "ssh_command": f"ssh -p {service.node_port} dev@{ip}"}


def _made(row: Row, pod: PodState, turn: Turn) -> ServiceState:
    """On the port that people know, where the cluster still has it to give."""
    body = ssh_service_body(row, pod.uid, turn.tools.settings.namespace)
    if row.node_port is None:
        return turn.tools.pods.create_service(body)
    wanted = ssh_service_body(row, pod.uid, turn.tools.settings.namespace)
    wanted["spec"]["ports"][0]["nodePort"] = row.node_port
    try:
        return turn.tools.pods.create_service(wanted)
    except NeverError:
        return turn.tools.pods.create_service(body)
