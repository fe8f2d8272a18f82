"""Active -> expired: its time is over, its pod is lost, or nobody uses it."""

import re
from datetime import datetime, timedelta
from typing import Any

import structlog

from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.status.logs import with_last_line
from pgfleet.workers.reservation.access import jupyter
from pgfleet.workers.reservation.active.idle import look_at_use, next_use_at
from pgfleet.workers.reservation.active.warnings import next_warning_at, warn_of_end
from pgfleet.workers.reservation.gang import network
from pgfleet.workers.reservation.pod.looks import ending, longer, seen
from pgfleet.workers.reservation.pod.losses import READY, Trouble, is_guessed, trouble_of
from pgfleet.workers.reservation.pod.reaching import port_values, service_of
from pgfleet.workers.reservation.tools import Turn, hand_out, pod_of
from pgfleet.workers.runtime.outcomes import Move, Outcome, Wait

# What is wrong is looked at again after so long.
SOON_S = 10.0
ON_CORDONED = "Ready, but nobody else may start on its node: "
# What is shown while something outside keeps a row from being looked at (a code, and words), or its node is cordoned.
PASSING = re.compile(f"[A-Z][A-Z_]+: |{ON_CORDONED}")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def watch(row: Row, turn: Turn) -> Outcome:
    """Active -> expired. An API error observes nothing: it is raised, and the row is looked at again."""
    settings = turn.tools.settings
    if None in (row.expires_at, row.launched_at, row.pod_name):
        return _made_whole(row, turn)
    if turn.now > _deadline(row, turn):
        return _expired(row, f"its {_span(row.duration_hours)} are over", {"current_detailed_status": "Expired"})
    first = warn_of_end(row, turn) or look_at_use(row, turn)
    if first is not None:
        return first
    pod = turn.tools.pods.look_after(row.pod_name, turn.view.fingerprints.get(row.reservation_id))
    trouble = trouble_of(row, pod, turn)
    if trouble is not None and trouble.lost is not None:
        return _losing(row, pod, trouble, trouble.lost, turn)
    assert pod is not None  # noqa: S101  # one that is gone is lost
    values = {**_shown(row, pod, trouble, turn), **_way_in(row, pod, turn), **network.kept(row, pod, turn)}
    if trouble is None:
        values |= jupyter.kept(row, pod, turn)
    return _later(row, turn, "active", settings.watch_s if trouble is None else SOON_S, values)


def _made_whole(row: Row, turn: Turn) -> Wait:
    """Whoever has written it by hand has not said until when, as long from now as was asked for, or which pod."""
    until = row.expires_at or turn.now + timedelta(hours=row.duration_hours)
    values = {"launched_at": row.launched_at or turn.now, "expires_at": until, "pod_name": pod_of(row, turn)}
    return Wait("it had no end, or no pod's name", turn.now, (Move(row, None, values=values),))


def _later(row: Row, turn: Turn, reason: str, in_s: float, values: dict[str, Any]) -> Wait:
    """It expires after the deadline, not at it: hence one millisecond more."""
    changed = {name: value for name, value in values.items() if row[name] != value}
    return Wait(reason, _next_look(row, turn, in_s), (Move(row, None, values=changed),) if changed else ())


def _next_look(row: Row, turn: Turn, in_s: float) -> datetime:
    """Whatever comes first: the next look at the pod, at its GPUs, a warning, or the end."""
    look = turn.later(min(in_s, turn.tools.settings.watch_s))
    told = (next_warning_at(row, turn) or look, next_use_at(row, turn) or look)
    return min(look, *told, _deadline(row, turn) + timedelta(milliseconds=1))


def _deadline(row: Row, turn: Turn) -> datetime:
    deadline: datetime = row.expires_at + timedelta(seconds=turn.tools.settings.expiry_grace_s)
    return deadline


def _span(hours: float) -> str:
    """As a person says it: 4 hours, 30 minutes, 6 seconds."""
    for unit, size in (("hours", 1), ("minutes", 60)):
        if hours * size >= 1:
            return f"{hours * size:g} {unit}"
    return f"{hours * 3600:.0f} seconds"


def _expired(row: Row, reason: str, values: dict[str, Any]) -> Outcome:
    return hand_out(Move(row, Status.EXPIRED, reason, values))


def _shown(row: Row, pod: PodState, trouble: Trouble | None, turn: Turn) -> dict[str, Any]:
    """What is wrong, at once; and that it is well again. A row that is well keeps what others show in it."""
    state = READY if trouble is None else trouble.state
    values = {**seen(row, pod, state, turn).values, "pod_missing_since": None, "pod_lost": None}
    if trouble is not None:
        values["current_detailed_status"] = trouble.shown
    elif (cordon := turn.view.cordoned.get(pod.node or "")) is not None:
        values["current_detailed_status"] = f"{ON_CORDONED}{pod.node} {cordon}"
    elif row.pod_state != READY or row.pod_lost is not None or PASSING.match(row.current_detailed_status or ""):
        values["current_detailed_status"] = "Ready"
    return values


def _losing(row: Row, pod: PodState | None, trouble: Trouble, lost: str, turn: Turn) -> Outcome:
    """Two looks in a row, and no guess in the first minutes, before a running reservation is given up."""
    values: dict[str, Any] = {"pod_lost": lost, "current_detailed_status": trouble.shown}
    if pod is not None and pod.reservation_id == row.reservation_id:
        values |= seen(row, pod, trouble.state, turn).values
    if is_guessed(lost) and not longer(turn, row.launched_at, turn.tools.settings.pod_missing_grace_s):
        return _later(row, turn, "its pod is missing, but it is young", SOON_S, values)
    if row.pod_missing_since is None:
        # With a new ticket: a look out of turn leaves that of the row where it is, up to a minute away.
        missing = Move(row, None, values={**values, "pod_missing_since": turn.now})
        return hand_out(missing, _next_look(row, turn, SOON_S))
    return _give_up(row, pod, f"POD_LOST: {lost}", values, turn)


def _give_up(row: Row, pod: PodState | None, reason: str, values: dict[str, Any], turn: Turn) -> Outcome:
    """With the last of what its container wrote, where there is still somebody to ask."""
    ours = pod is not None and pod.reservation_id == row.reservation_id
    logs = turn.tools.pods.logs(row.pod_name) if ours else None
    told = {"current_detailed_status": reason, "failure_reason": with_last_line(reason, logs), "pod_logs": logs}
    return _expired(row, reason, {**values, **told, **(ending(pod) if ours and pod is not None else {})})


def _way_in(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """Its service is made again if somebody has deleted it; its port may be another one then."""
    service, made = service_of(row, pod, turn)
    values = port_values(row.node_ip, service)
    if service.node_port == row.node_port and not made:
        return {}
    log.warning("reservation.service_made", reservation_id=row.reservation_id, port=service.node_port)
    moved = "" if service.node_port == row.node_port else f", on another port: {values['ssh_command']}"
    return {**values, "warning": f"Its service for SSH was gone, and was made again{moved}"}
