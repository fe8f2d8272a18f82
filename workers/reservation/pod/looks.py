"""What one look at a pod remembers for the next: since when it is seen so, by the database's clock alone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.tools import Turn


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when looks have seen this pod: in its state, on a node, running.

    `values` is what the row does not know yet.
    """

    since: datetime
    placed_at: datetime | None
    running_at: datetime | None
    values: dict[str, Any]


def seen(row: Row, pod: PodState, state: str, turn: Turn) -> Seen:
    """`state` is any name of what is seen; a pod that was made anew is seen for the first time."""
    known: dict[str, Any] = row if row.pod_uid == pod.uid else dict.fromkeys(row)
    since = known["pod_state_since"] if known["pod_state"] == state else None
    found: dict[str, Any] = {
        "pod_uid": pod.uid,
        "pod_state": state,
        "pod_state_since": since or turn.now,
        "pod_placed_at": known["pod_placed_at"] or (turn.now if pod.node else None),
        "pod_running_at": known["pod_running_at"] or (turn.now if pod.running else None),
        "pod_node": pod.node,
        **ooms(row, pod),
    }
    values = {name: value for name, value in found.items() if row[name] != value}
    return Seen(found["pod_state_since"], found["pod_placed_at"], found["pod_running_at"], values)


def ooms(row: Row, pod: PodState) -> dict[str, Any]:
    """What its containers were killed for since the last look; a pod made anew may be on a node with another clock."""
    last_at = row.last_oom_at if row.pod_uid == pod.uid else None
    new = [kill for kill in pod.oom_kills if last_at is None or kill[0] > last_at]
    if not new:
        return {}
    last_at, container = new[-1]
    return {"oom_count": row.oom_count + len(new), "last_oom_at": last_at, "oom_container": container}


def ending(pod: PodState) -> dict[str, Any]:
    """How its container ended by itself, if it did, written when that ends the reservation.

    Of one that is started again and again it is the last time.
    """
    last = pod.ended or (pod.crashes.last if pod.crashes else None)
    return {} if last is None else {"exit_code": last.code, "exit_reason": last.reason or None}


def longer(turn: Turn, since: datetime | None, than_s: float) -> bool:
    """Whether it has been so for more than this time, without that in which something outside was away."""
    return since is not None and turn.waited(since) > timedelta(seconds=than_s)


def so_far(turn: Turn, since: datetime | None) -> str:
    """`: 12 min so far`, from the first minute on."""
    minutes = 0 if since is None else int((turn.now - since).total_seconds() // 60)
    return f": {minutes} min so far" if minutes else ""


def clock(moment: datetime) -> str:
    """A time of the database as people read it."""
    return f"{moment.astimezone(UTC):%H:%M} UTC"
