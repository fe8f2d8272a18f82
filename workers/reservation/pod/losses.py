"""What takes an active pod away, and whether that is certain; what else is wrong with one that is still there."""

from dataclasses import dataclass

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import NodeState, PodState
from pgfleet.workers.clients.kubernetes.status.conditions import Taken
from pgfleet.workers.reservation.pod.looks import clock, longer, seen
from pgfleet.workers.reservation.tools import Turn

DELETED = "DELETED"
ENDED = "ENDED"
STOPPED = "STOPPED"
NODE_NOT_READY = "NODE_NOT_READY"
# What somebody outside has done by hand may be seen wrong, or be seen too early; the cluster's own word is no guess.
GUESSED = frozenset({DELETED, Taken.NODE_SILENT.value, NODE_NOT_READY})
READY = "ready"
SAID = {
    Taken.PREEMPTED: "a pod of higher priority took its place",
    Taken.EVICTED: "its pod was evicted",
    Taken.NODE_DELETED: "its node {node} was deleted",
    Taken.NODE_SHUTDOWN: "its node {node} shuts down",
    Taken.NODE_SILENT: "its node {node} does not answer",
    Taken.TAINTED: "its node {node} was emptied by a taint",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a pod: its state as looks remember it, and what is shown. `lost` is the cause of a loss."""

    state: str
    shown: str
    lost: str | None = None


def trouble_of(row: Row, pod: PodState | None, turn: Turn) -> Trouble | None:
    """None for a pod that answers."""
    if pod is None or pod.reservation_id != row.reservation_id:
        return _lost("gone", row.pod_lost or _why_gone(row, turn))
    if pod.deleting:
        # How its container ends then is no news; how it had ended before is.
        by_hand = (
            f"{DELETED}: somebody deletes its pod" if pod.ended is None else f"{STOPPED}: somebody deleted its pod"
        )
        return _lost("deleting", _taken(row, pod, turn) or row.pod_lost or by_hand)
    if pod.ended is not None:
        how = f"its node {pod.node} ended it:" if pod.ended_by_node else "its command ended with"
        return _lost("ended", _taken(row, pod, turn) or f"{ENDED}: {how} {pod.ended.text}")
    return None if pod.ready else _unready(row, pod, turn)


def is_guessed(lost: str) -> bool:
    return lost.partition(":")[0] in GUESSED


def _lost(state: str, cause: str) -> Trouble:
    return Trouble(state, f"Its pod is lost: {cause}", cause)


def _why_gone(row: Row, turn: Turn) -> str:
    """The last look has seen nothing: an event may tell, or its node is gone, too."""
    pods = turn.tools.pods
    told = pods.events.disruption(row.pod_name, row.pod_uid) if row.pod_uid else None
    if told is not None:
        taken = Taken.PREEMPTED if told.startswith("Preempt") else Taken.EVICTED
        return f"{taken}: {SAID[taken]}: {told}"
    if row.pod_node is not None and pods.node(row.pod_node) is None:
        return _cause(Taken.NODE_DELETED, row.pod_node)
    return f"{DELETED}: its pod was deleted by somebody outside"


def _taken(row: Row, pod: PodState, turn: Turn) -> str | None:
    if pod.disruption is None:
        return None
    taken, node = pod.disruption.taken, pod.node or row.pod_node
    if taken is Taken.TAINTED and node is not None and _node_trouble(pod, turn.tools.pods.node(node)):
        # A silent node is tainted, too: that is why, and it is over, since the cluster has given up its pods.
        return f"NODE_LOST: {SAID[Taken.NODE_SILENT].format(node=node)}: {pod.disruption.message}"
    return _cause(taken, node, pod.disruption.message)


def _cause(taken: Taken, node: str | None, message: str = "") -> str:
    said = SAID[taken].format(node=node)
    return ": ".join([taken.value, said, message] if message else [taken.value, said])


def _unready(row: Row, pod: PodState, turn: Turn) -> Trouble:
    """Its node is asked for itself: whether it is silent, or only its pod is."""
    node = None if pod.node is None else turn.tools.pods.node(pod.node)
    if pod.node is not None and node is None:
        return _lost("node_deleted", _cause(Taken.NODE_DELETED, pod.node))
    if _node_trouble(pod, node):
        return _silent(row, pod, node, turn)
    if pod.crashes is not None and not pod.running:
        return Trouble("crashing", f"CRASHING: its container crashed: {pod.crashes.last.text}; it is started again")
    crashed = f"; its container was started again after {pod.crashes.last.text}" if pod.crashes else ""
    return Trouble("unready", f"SSH does not answer: its pod runs, and is not ready{crashed}")


def _node_trouble(pod: PodState, node: NodeState | None) -> str | None:
    if node is not None and node.trouble:
        return node.trouble
    return "its controller has not heard of it" if pod.node_silent else None


def _silent(row: Row, pod: PodState, node: NodeState | None, turn: Turn) -> Trouble:
    """A node may come back, and its pods were never away; for some time that is hoped for."""
    since = seen(row, pod, "node_silent", turn).since
    answers = node is not None and node.trouble is not None and not node.silent
    code, manner = (NODE_NOT_READY, "is not ready") if answers else (Taken.NODE_SILENT.value, "does not answer")
    said = f"{code}: its node {pod.node} {manner} since {clock(since)}: {_node_trouble(pod, node)}"
    lost = said if longer(turn, since, turn.tools.settings.node_silent_s) else None
    return Trouble("node_silent", said, lost)
