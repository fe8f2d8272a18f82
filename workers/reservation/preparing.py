"""Preparing -> active | queued | failed: every look finds what is there and does what is missing."""

from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.guarded import UNREACHABLE
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.status.conditions import Place
from pgfleet.workers.reservation.access.names import named
from pgfleet.workers.reservation.completing import complete
from pgfleet.workers.reservation.disk import asks_for_disk, disk_of, home_of
from pgfleet.workers.reservation.gang.starting import activate, waits_for_gang
from pgfleet.workers.reservation.keys import warning_of
from pgfleet.workers.reservation.leaving import back_to_line, leave
from pgfleet.workers.reservation.making import make
from pgfleet.workers.reservation.pod.looks import longer, seen
from pgfleet.workers.reservation.pod.reaching import NoWayError, reached
from pgfleet.workers.reservation.pod.refusals import refused
from pgfleet.workers.reservation.pod.starting import give_up, place, start
from pgfleet.workers.reservation.tools import Turn, failed, pod_of
from pgfleet.workers.runtime.outcomes import Move, Outcome, Wait, wait

# What keeps these from a node is the cluster's, not theirs.
OF_THE_CLUSTER = frozenset({Place.GATED, Place.UNSEEN, Place.SCHEDULER_TROUBLE})


def prepare(row: Row, turn: Turn) -> Outcome:
    """Preparing -> active | queued | failed."""
    if row.pod_name is None:
        # Somebody has written it by hand.
        return Wait("it had no pod's name", turn.now, (Move(row, None, values={"pod_name": pod_of(row, turn)}),))
    pod = turn.tools.pods.look(row.pod_name, turn.view.fingerprints.get(row.reservation_id))
    if row.retry_at is not None:
        return back_to_line(row, turn, pod)
    if longer(turn, row.status_since, turn.tools.settings.preparing_stuck_s) and not waits_for_gang(row, pod):
        return _too_late(row, pod, turn)
    if pod is None:
        return make(row, turn)
    if pod.reservation_id != row.reservation_id:
        return _look_again(row, turn, "Waiting for an older pod of this name to go")
    if pod.deleting:
        return _going(row, pod, turn)
    if pod.ended is not None:
        return _over(row, pod, turn)
    if row.pod_uid != pod.uid:
        # The first look at it: whoever made it may not have lived to make what goes with it.
        complete(row, pod, turn)
    if pod.ready:
        return _ready(row, turn, pod)
    return place(row, pod, turn) if pod.unplaced is not None else start(row, pod, turn)


def _too_late(row: Row, pod: PodState | None, turn: Turn) -> Outcome:
    """Back to the line for what is not the row's.

    Its pod has no scheduler, or a gate before it, or does not go; the cluster lets nothing in that goes with it, or AWS
    drops each volume, which only the row says.
    """
    ours, disk = pod is not None and pod.reservation_id == row.reservation_id, turn.view.held.get(row.reservation_id)
    reason = f"not ready within {turn.tools.settings.preparing_stuck_s / 60:g} minutes"
    shown = row.current_detailed_status or ""
    if shown.startswith(UNREACHABLE) or (disk is not None and disk.volumes_failed):
        return leave(row, turn, shown)
    if pod is None or not ours:
        return failed(row, turn.view, f"{reason}; last: {shown}" if disk is not None else reason)
    if pod.deleting or (pod.unplaced is not None and pod.unplaced.place in OF_THE_CLUSTER):
        return leave(row, turn, row.current_detailed_status)
    return give_up(row, pod, turn, reason)


def _going(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Another is made when it is gone. Who deletes it is told, unless it is we: then the row says why already."""
    if pod.disruption is None:
        return _look_again(row, turn, "Waiting for an older pod to go" if row.pod_uid is None else _told(row))
    why = f"{pod.disruption.taken}: its pod was taken away: {pod.disruption.message}"
    return _look_again(row, turn, f"{why}; a new one follows when it is gone", **seen(row, pod, "going", turn).values)


def _told(row: Row) -> str:
    return row.current_detailed_status or "Waiting for its pod to go"


def _over(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Ended without having run, or by its node or its cluster: that is not the row's. Else its command is over."""
    assert pod.ended is not None  # noqa: S101  # the caller has looked
    if pod.phase == "Failed" and (not pod.ran or pod.ended_by_node or pod.disruption is not None):
        return refused(row, pod, turn)
    return give_up(row, pod, turn, f"its command ended with {pod.ended.text} before SSH answered")


def _ready(row: Row, turn: Turn, pod: PodState) -> Outcome:
    """The way in is looked up: whoever made the pod may not have lived to make the service, or it has gone since."""
    try:
        way_in = reached(row, pod, turn)
    except NoWayError as error:
        return _look_again(row, turn, str(error), **seen(row, pod, "ready", turn).values)
    values = {
        **way_in,
        **named(row, turn.tools.settings),
        **warning_of(row, _without_keys(row, pod, turn)),
        **seen(row, pod, "ready", turn).values,
    }
    if asks_for_disk(row):
        disk = disk_of(row, turn.view)
        if not turn.tools.homes.leads_to(home_of(row, disk)):
            turn.hold()
            turn.tools.pods.delete(pod.name, pod.uid)
            return _look_again(row, turn, "Waiting for a pod with an older volume to go")
        values |= {"ebs_volume_id": disk.ebs_volume_id, "ebs_availability_zone": disk.ebs_availability_zone}
    return activate(row, values, turn)


def _without_keys(row: Row, pod: PodState, turn: Turn) -> list[str]:
    """Whoever made the pod may have been too late to write it down."""
    return turn.tools.pods.without_keys(pod.name, pod.uid) if row.secondary_users else []


def _look_again(row: Row, turn: Turn, shown: str, **values: Any) -> Wait:
    return wait(row, shown, turn.later(turn.tools.settings.pod_poll_s), **values)
