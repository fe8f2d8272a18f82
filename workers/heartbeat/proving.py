"""Whether heartbeats are from the nodes that they name.

What a worker or the owner has sent is believed. All else is stamped by the door of the queue with who asks, and counts
for a node if that is the node itself, by its login, or if it carries a proof made with the node's key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from pgfleet.schema.asking import Role
from pgfleet.schema.heartbeat import AutoscalerHeartbeat, ClusterHeartbeat
from pgfleet.schema.nodes.heard import why_unproven
from pgfleet.schema.nodes.keys import valid_keys
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime.task import Task

HEARTBEATS = (AutoscalerHeartbeat, ClusterHeartbeat)

Keys: TypeAlias = tuple[dict[str, list[str]], datetime | None]


def refused(conn: Connection, tasks: Sequence[Task]) -> dict[int, str]:
    """Why messages of strangers don't count, by their places: one question to the database, none without strangers."""
    strangers = [(place, task) for place, task in enumerate(tasks) if task.asked is not None]
    if not strangers:
        return {}
    keys = valid_keys(conn, {str(task.message.node_id) for _, task in strangers if _has_proof(task.message)})
    reasons = {place: _why_not(task, keys) for place, task in strangers}
    return {place: reason for place, reason in reasons.items() if reason is not None}


def _has_proof(message: Any) -> bool:
    return isinstance(message, HEARTBEATS) and message.proof is not None


def _why_not(task: Task, keys: Keys) -> str | None:
    asked = task.asked
    if asked is None:
        return None
    if not isinstance(task.message, HEARTBEATS):
        return f"action: {printable(asked)} may not ask for {task.message.action}"
    node = str(task.message.node_id)
    if asked.role == Role.NODE and asked.by == node:
        return None
    hashes, now = keys
    why = why_unproven(task.claimed.body, task.message.sent_at, hashes.get(node, ()), now)
    return None if why is None else f"proof: node {node}'s heartbeat was sent by {printable(asked)}, and {why}"
