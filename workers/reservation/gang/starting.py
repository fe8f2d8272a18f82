"""Preparing -> active of a gang: when the pods of all its rows are ready, in one commit."""

from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.gang.rows import nudges, others, rows_of_gang
from pgfleet.workers.reservation.pod.losses import READY
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import Advance, Move, Outcome, Wait, show_reason


def activate(row: Row, values: dict[str, Any], turn: Turn) -> Outcome:
    """A row whose pod is ready, as `values` say: it is active when all of its gang are; until then it waits."""
    rows = rows_of_gang(row, turn.view)
    ready = [row, *(each for each in others(row, turn.view) if _is_ready(each, turn))]
    if len(ready) < len(rows):
        return _wait(row, len(ready), values, turn)
    reason = "the pod is ready" if len(rows) == 1 else "the pods of its gang are ready"
    started = {
        "launched_at": turn.now,
        "expires_at": turn.now + timedelta(hours=row.duration_hours),
        "current_detailed_status": "Ready",
        "schedule_failures": 0,
    }
    moves = [Move(each, Status.ACTIVE, reason, {**started, **(values if each is row else {})}) for each in ready]
    return sum((hand_out(move, _first_look_at(move.row, turn)) for move in moves), Advance())


def _first_look_at(row: Row, turn: Turn) -> datetime:
    """A look at an active pod starts Jupyter in it."""
    soon_s = 0 if row.jupyter_enabled else turn.tools.settings.watch_s
    return turn.later(min(soon_s, row.duration_hours * 3600))


def _wait(row: Row, ready: int, values: dict[str, Any], turn: Turn) -> Wait:
    """Whoever is the last to be ready finds all others: so the others look once more when one has become ready."""
    is_news = row.pod_state != READY or "pod_uid" in values
    shown = f"Ready: waits for its gang, of which {ready} of {row.total_nodes} are ready"
    new = {name: value for name, value in values.items() if row[name] != value}
    then = nudges(others(row, turn.view)) if is_news else ()
    return Wait(shown, turn.later(turn.tools.settings.pod_poll_s), show_reason(row, shown, **new), then)


def waits_for_gang(row: Row, pod: PodState | None) -> bool:
    """Whether it is not this node that keeps its gang from starting."""
    is_its = pod is not None and pod.uid == row.pod_uid and pod.ready
    return bool(row.is_multinode) and is_its and row.pod_state == READY


def _is_ready(row: Row, turn: Turn) -> bool:
    """Its own look has written how to get in; now it is looked at once more."""
    if row.status != Status.PREPARING or row.retry_at is not None or row.pod_state != READY:
        return False
    pod = turn.tools.pods.look(row.pod_name, turn.view.fingerprints.get(row.reservation_id))
    return pod is not None and pod.uid == row.pod_uid and pod.ready and not pod.deleting
